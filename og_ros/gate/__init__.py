"""Verify, then trust: what stands between a command and the motors. No ROS here; nodes/ carries the messages."""
