"""Feeds a stage from a process of its own: `python feeder.py RATE COUNT`."""

from __future__ import annotations

import sys
import time

import numpy as np
import rclpy
import wire_messages as wire

from og_ros.nodes.topics import message_class


def main() -> None:
    rate, count = float(sys.argv[1]), int(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("feeder")
    publisher = node.create_publisher(message_class("std_msgs/msg/Float32MultiArray"), "/x", 1000)
    while not publisher.get_subscription_count():
        time.sleep(0.05)
    for number in range(count):
        publisher.publish(wire.serialize(wire.floats(np.array([number, 2.0]))))
        time.sleep(1 / rate)
    print("fed", flush=True)
    time.sleep(600)


main()
