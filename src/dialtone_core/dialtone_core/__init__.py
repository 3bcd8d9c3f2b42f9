"""The ROS-free kernel: what a sample, a command and a setting are, and how they travel.

Nothing in this package imports rclpy or a message package; ``./dialtone check`` enforces it.
"""

from dialtone_core.later import defer

__version__ = "0.1.0"

# Here, because every process of Dialtone comes by before it imports nats-py; see ``later``.
defer("aiohttp")
