"""The wheel driver: a velocity for each command, and a stop without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: extra `ros` of og_ros")

from geometry_msgs.msg import Twist
from rclpy.serialization import deserialize_message
from ros_peer import Peer, matched, node, running, until
from std_msgs.msg import Float32MultiArray

KIND = "std_msgs/msg/Float32MultiArray"
STOPPED = (0.0, 0.0)


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def velocities(heard: list[bytes]) -> list[tuple[float, float]]:
    found = [deserialize_message(payload, Twist) for payload in list(heard)]
    return [(round(twist.linear.x, 6), round(twist.angular.z, 6)) for twist in found]


def command(*values: float) -> Any:
    return Float32MultiArray(data=values)


def test_it_drives_and_stops(peer: Peer) -> None:
    heard = peer.hear("/cmd_vel", "geometry_msgs/msg/Twist")
    wheels = peer.publisher("/wheel_command", KIND)
    arguments = node("og_ros.nodes.wheel_driver", "wheel_driver", wheel_base=0.5, max_wheel=1.0, timeout=0.3)
    with running(*arguments) as driver:
        matched(wheels)
        peer.wait_for_publishers("/cmd_vel")
        until(lambda: wheels.publish(command(0.5, 0.75)) or velocities(heard), "a velocity")
        assert velocities(heard)[0] == (0.625, 0.5)
        # Nobody commands any more.
        until(lambda: velocities(heard)[-1] == STOPPED, "a stop after the timeout")
        # A command beyond the limit is cut, as a motor does.
        wheels.publish(command(-9.0, 9.0))
        until(lambda: (0.0, 4.0) in velocities(heard), "a velocity at the limit")
        until(lambda: velocities(heard)[-1] == STOPPED, "a stop after the timeout")

        for broken in (command(0.1), command(0.1, float("nan")), command(0.1, float("inf")), command(0.1, 0.1, 0.1)):
            count = len(heard)
            wheels.publish(command(0.2, 0.2))
            until(lambda c=count: len(heard) > c, "a velocity")
            wheels.publish(broken)
            until(lambda: velocities(heard)[-1] == STOPPED, "a stop for a command that is none")

        count = len(heard)
        wheels.publish(command(0.2, 0.2))
        until(lambda: len(heard) > count, "a velocity")
        assert driver.stop() == 0
        until(lambda: velocities(heard)[-1] == STOPPED, "a stop at its end")
    assert "is not [left, right] in m/s" in driver.output
