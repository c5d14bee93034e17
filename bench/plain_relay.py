"""A node that passes commands on and does nothing else: what a gate of any kind costs at least."""

from __future__ import annotations

import sys

from rclpy.node import Node

from og_ros.nodes.process import run_node
from og_ros.nodes.topics import message_class


class Relay(Node):
    """Publishes the bytes that it hears."""

    def __init__(self) -> None:
        super().__init__("relay")
        kind = message_class(sys.argv[1])
        publisher = self.create_publisher(kind, "/bench/relayed", 10)
        self.create_subscription(kind, "/bench/relay", publisher.publish, 10, raw=True)


if __name__ == "__main__":
    raise SystemExit(run_node(Relay, [], events=True))
