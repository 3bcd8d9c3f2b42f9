"""From command to wire: arbitration, safety, actuators. Only ``node`` and ``ros_*`` import ROS."""
