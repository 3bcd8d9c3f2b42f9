"""Cameras and the host's own figures, as ROS topics."""
