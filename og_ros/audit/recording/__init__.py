"""Reads recordings as they lie on disk: rosbag2 in SQLite and MCAP, sealed or not, whole or damaged, without ROS."""
