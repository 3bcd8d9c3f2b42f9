"""The ROS-free kernel: what a sample, a command and a setting are, and how they travel.

Nothing in this package imports rclpy or a message package; ``./dialtone check`` enforces it.
"""

__version__ = "0.1.0"
