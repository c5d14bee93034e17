"""Run in a sourced colcon workspace: a node of three og_ros lines, and a stranger who verifies what it attests."""

import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

import rclpy
from geometry_msgs.msg import Twist
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import LaserScan

import og_ros
from og_ros.attest import decode_attestation, digest, keys, verify
from og_ros.msg import Attestation
from og_ros.nodes.attested import Attestor

FOLDER = Path(tempfile.mkdtemp())
KEY = FOLDER / "planning.pem"


class Planner(Node):
    """An engineer's own node; the lines that end in a mark are what og_ros asks for."""

    def __init__(self) -> None:
        super().__init__("planner")
        self.attest = Attestor(self, stage="planning", model=__file__, key=KEY)  # 1
        self.commands = self.attest.create_publisher(Twist, "/cmd_vel", 10)  # 2
        self.attest.create_subscription(LaserScan, "/scan", self.on_scan, 10)  # 3

    def on_scan(self, scan: LaserScan) -> None:
        """Go slowly where something is near."""
        command = Twist()
        command.linear.x = min(scan.ranges) / 2
        self.commands.publish(command)


def main() -> None:
    """Send scans, collect commands and attestations, verify them; exits 0 when all of it holds."""
    key = keys.generate()
    keys.save_private(key, KEY)
    rclpy.init()
    planner, stranger = Planner(), rclpy.create_node("stranger")
    sent, commands, records = [], [], []
    stranger.create_subscription(LaserScan, "/scan", sent.append, 10, raw=True)
    stranger.create_subscription(Twist, "/cmd_vel", commands.append, 10, raw=True)
    stranger.create_subscription(Attestation, "/cmd_vel/attestation", records.append, 10, raw=True)
    scans = stranger.create_publisher(LaserScan, "/scan", 10)
    executor = SingleThreadedExecutor()
    executor.add_node(planner)
    executor.add_node(stranger)
    end = time.monotonic() + 60
    while len(records) < 5 and time.monotonic() < end:
        scans.publish(LaserScan(ranges=[1.0, 0.5 + len(records)]))
        # A scan has four callbacks. Were they left to wait, the queues of ten would drop what came first.
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            executor.spin_once(timeout_sec=0.02)
    assert len(records) >= 5, f"{len(records)} attestations for {len(commands)} commands"
    read, wrote = {digest(m) for m in sent}, {digest(m) for m in commands}
    # A subscriber that is discovered late misses the first ones; from then on there is no gap.
    first = decode_attestation(records[0]).statement.sequence
    for number, record in enumerate(records[:5], first):
        attestation = decode_attestation(record)
        verify(attestation, key.public_key())
        statement = attestation.statement
        heard = [decode_attestation(r).statement.sequence for r in records]
        assert (statement.stage, statement.sequence) == ("planning", number), f"{statement.stage} {heard}"
        assert statement.model.digest == hashlib.sha256(Path(__file__).read_bytes()).digest()
        assert statement.inputs[0].digest in read
        assert statement.outputs[0].digest in wrote
    planner.attest.close()
    print("verified", len(records), "attestations by", Path(og_ros.__file__).parent)
    sys.stdout.flush()
    os._exit(0)


main()
