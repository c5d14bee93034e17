"""The wheel driver node: what a motor driver is on a robot, for a simulator that takes a velocity of the whole base."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, Final

from geometry_msgs.msg import Twist
from rclpy.node import Node
from std_msgs.msg import Float32MultiArray

from og_ros.nodes.parameters import declare, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.topics import wait_until_heard
from og_ros.sim.robot import Chassis, Wheels, twist

_CHECKS: Final = 5
"""So many looks at the time in each timeout."""


class WheelDriver(Node):
    """Subscribes wheel_command (left, right; m/s at the rim), publishes cmd_vel (m/s, rad/s) for a differential drive.

    It stops the base on a command that is none, when no command has come for `timeout` seconds of the node's clock, and
    at its own end: a simulator's drive obeys the last velocity for ever.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("wheel_driver", **options)
        body = Chassis()
        base = declare(
            self,
            "wheel_base",
            body.wheel_base,
            describe("distance between the wheels, m", (0.01, 10.0), read_only=True),
        )
        limit = declare(
            self, "max_wheel", body.max_wheel, describe("greatest speed of a rim, m/s", (0.01, 100.0), read_only=True)
        )
        timeout = declare(
            self,
            "timeout",
            0.5,
            describe("seconds without a command after which the base stops", (0.05, 60.0), read_only=True),
        )
        self._chassis = Chassis(wheel_base=base, max_wheel=limit)
        self._timeout_ns = int(timeout * 1e9)
        self._commanded_ns: int | None = None
        self._velocities = self.create_publisher(Twist, "cmd_vel", 10)
        self._commands = self.create_subscription(Float32MultiArray, "wheel_command", self._on_command, 10)
        self._timer = self.create_timer(timeout / _CHECKS, self._watch)

    def close(self) -> None:
        """Stop the base."""
        self._timer.cancel()
        self._velocities.publish(Twist())
        wait_until_heard([self._velocities])

    def _on_command(self, message: Float32MultiArray) -> None:
        if len(message.data) != 2 or not all(math.isfinite(value) for value in message.data):
            self.get_logger().warning(
                f"wheel_command {list(message.data[:4])} is not [left, right] in m/s: wheels stop",
                throttle_duration_sec=5.0,
            )
            self._stop()
            return
        limit = self._chassis.max_wheel
        left, right = (max(-limit, min(limit, value)) for value in message.data)
        velocity = Twist()
        velocity.linear.x, velocity.angular.z = twist(self._chassis, Wheels(left, right))
        self._velocities.publish(velocity)
        self._commanded_ns = self.get_clock().now().nanoseconds

    def _watch(self) -> None:
        now = self.get_clock().now().nanoseconds
        # Earlier than the command: simulated time began anew.
        if self._commanded_ns is not None and not 0 <= now - self._commanded_ns < self._timeout_ns:
            self._stop()

    def _stop(self) -> None:
        self._commanded_ns = None
        self._velocities.publish(Twist())


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(WheelDriver, args)


if __name__ == "__main__":
    sys.exit(main())
