"""Publishes laser scans for a few seconds, as a robot's lidar would: fake_scan.py TOPIC SECONDS SUBSCRIBERS."""

import sys
import time

import rclpy
from sensor_msgs.msg import LaserScan

topic, seconds, subscribers = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rclpy.init()
node = rclpy.create_node("fake_scan")
scans = node.create_publisher(LaserScan, topic, 10)
deadline = time.monotonic() + 60
while scans.get_subscription_count() < subscribers:
    if time.monotonic() > deadline:
        sys.exit(f"{topic} has {scans.get_subscription_count()} subscribers, not {subscribers}")
    time.sleep(0.1)
for tick in range(int(seconds * 10)):
    scan = LaserScan(angle_min=-1.0, angle_max=1.0, angle_increment=2 / 23, range_min=0.05, range_max=4.0)
    scan.header.frame_id = "laser"
    scan.header.stamp = node.get_clock().now().to_msg()
    scan.ranges = [0.3 + 0.01 * ((tick + beam) % 100) for beam in range(24)]
    scans.publish(scan)
    time.sleep(0.1)
