"""The live web page: what a robot's auditor and gate say, served read-only to browsers. No ROS in here."""
