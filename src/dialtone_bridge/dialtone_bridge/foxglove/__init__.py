"""A server of the Foxglove WebSocket protocol, free of ROS; see docs/decisions/0005."""
