"""A simulated MAVLink rover and the scene that its cameras see; no ROS in it."""
