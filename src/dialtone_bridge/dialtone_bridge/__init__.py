"""ROS 2 to NATS and Foxglove, both ways: raw bytes out, checked commands in."""
