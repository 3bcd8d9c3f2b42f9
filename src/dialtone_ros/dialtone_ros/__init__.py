"""The rim between Dialtone and rclpy; the pure packages never import it."""
