"""Drives straight on, and stops before an obstacle."""

import json
import math
import sys

from geometry_msgs.msg import Twist
from rclpy.node import Node
from sensor_msgs.msg import LaserScan

from og_ros.nodes.attested import Attestor
from og_ros.nodes.process import run_node


class Brake(Node):
    def __init__(self):
        super().__init__("brake")
        with open("brake.json") as file:
            self.model = json.load(file)
        self.attest = Attestor(  # 1
            self, robot="my-robot", stage="planning", key="keys/brake.pem",
            model="brake.json", model_name="brake", model_version="1.0.0",
        )
        self.commands = self.attest.create_publisher(Twist, "/cmd_vel", 10)  # 2
        self.attest.create_subscription(LaserScan, "/scan", self.on_scan, 10)  # 3

    def on_scan(self, scan):
        nearest = min((r for r in scan.ranges if math.isfinite(r)), default=0.0)
        command = Twist()
        command.linear.x = self.model["speed"] if nearest > self.model["distance"] else 0.0
        self.commands.publish(command)

    def close(self):
        self.attest.close()  # sign and publish what is due, before the node leaves


sys.exit(run_node(Brake))
