"""What an operator's terminal needs: keys, hands, a line to the robot, a picture of it. No ROS."""
