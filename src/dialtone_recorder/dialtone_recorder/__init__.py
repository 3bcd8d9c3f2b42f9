"""Episodes: durable MCAP recording that ros2 bag and rosbags read."""
