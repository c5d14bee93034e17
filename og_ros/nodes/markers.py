"""The markers node: a robot's verdicts in RViz, a ball of the state's colour with two lines of text above it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Vector3
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from og_ros.errors import ConfigError
from og_ros.msg import ChainStatus, Verdict
from og_ros.nodes.process import run_node

PERIOD_S: Final = 0.2
# What is older than this is no longer the robot's state: the ball turns grey.
STALE_S: Final = 3.0
_GREY: Final = (0.55, 0.55, 0.55)
_CHAIN: Final = {
    ChainStatus.NO_DATA: ("no decision yet", _GREY),
    ChainStatus.HOLDS: ("chain holds", (0.1, 0.7, 0.3)),
    ChainStatus.DEGRADED: ("chain not linked", (0.95, 0.7, 0.1)),
    ChainStatus.VIOLATED: ("chain VIOLATED", (0.9, 0.15, 0.1)),
}
_GATE: Final = {Verdict.CLOSED: "closed", Verdict.OPEN: "open", Verdict.LATCHED: "LATCHED"}


class MarkersNode(Node):
    """Subscribes to auditor/status and gate/verdict (remap them), publishes ~/array (visualization_msgs/MarkerArray).

    Markers carry no stamp, so RViz takes the newest transform of `frame`: they need no clock of the robot's.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("markers", **options)
        self.declare_parameter("frame", "base_link", ParameterDescriptor(description="frame that they are shown at"))
        self.declare_parameter("height", 1.0, ParameterDescriptor(description="metres above that frame's origin"))
        self.declare_parameter("size", 0.2, ParameterDescriptor(description="height of the letters, metres"))
        self._frame = str(self.get_parameter("frame").value)
        self._height = self._number("height", -100.0, 100.0)
        self._size = self._number("size", 0.01, 10.0)
        if not self._frame:
            raise ConfigError("parameter frame is empty; name the robot's frame, such as base_link")
        self._status: tuple[ChainStatus, float] | None = None
        self._verdict: tuple[Verdict, float] | None = None
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(ChainStatus, "auditor/status", self._take_status, newest)
        self.create_subscription(Verdict, "gate/verdict", self._take_verdict, newest)
        self._publisher = self.create_publisher(MarkerArray, "~/array", 1)
        self.create_timer(PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _number(self, name: str, low: float, high: float) -> float:
        value = float(self.get_parameter(name).value)
        if not low <= value <= high:
            raise ConfigError(f"parameter {name} is {value:g}; it must be from {low:g} to {high:g}")
        return value

    def _take_status(self, status: ChainStatus) -> None:
        self._status = (status, time.monotonic())

    def _take_verdict(self, verdict: Verdict) -> None:
        self._verdict = (verdict, time.monotonic())

    def _publish(self) -> None:
        self._publisher.publish(markers(*self._fresh(), self._frame, self._height, self._size))

    def _fresh(self) -> tuple[ChainStatus | None, Verdict | None]:
        since = time.monotonic() - STALE_S
        status, verdict = self._status, self._verdict
        return (
            status[0] if status is not None and status[1] > since else None,
            # A gate that has nothing to decide is silent: its last verdict stands while the auditor speaks.
            verdict[0] if verdict is not None and (verdict[1] > since or status is not None) else None,
        )


def markers(
    status: ChainStatus | None, verdict: Verdict | None, frame: str, height: float, size: float
) -> MarkerArray:
    """Return a ball in the colour of the worst state, and what the auditor and the gate say; lengths in metres."""
    words, colour = ("no word from the auditor", _GREY) if status is None else _CHAIN.get(status.state, ("?", _GREY))
    if status is not None and status.state == ChainStatus.VIOLATED and status.recent:
        words += f": {status.recent[0].kind}"
    lines = [words]
    if verdict is not None:
        said = f"gate {_GATE.get(verdict.state, '?')}"
        if verdict.mode == Verdict.MONITOR:
            said += " (monitors only)"
        if verdict.state == Verdict.LATCHED or not verdict.accepted:
            colour = _CHAIN[ChainStatus.VIOLATED][1]
            said += f": {', '.join(verdict.reasons[:3])}" if verdict.reasons else ""
        lines.append(said)
    ball = _marker(frame, 0, Marker.SPHERE, height, Vector3(x=size, y=size, z=size), colour)
    text = _marker(frame, 1, Marker.TEXT_VIEW_FACING, height + 2.0 * size, Vector3(z=size), colour)
    text.text = "\n".join(lines)
    return MarkerArray(markers=[ball, text])


def _marker(
    frame: str, number: int, kind: int, height: float, scale: Vector3, colour: tuple[float, float, float]
) -> Marker:
    red, green, blue = colour
    marker = Marker(
        ns="og_ros", id=number, type=kind, action=Marker.ADD, scale=scale, frame_locked=True,
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        lifetime=Duration(sec=1),  # RViz drops them when this node is gone: no verdict outlives its source
    )  # fmt: skip
    marker.header.frame_id = frame
    marker.header.stamp = Time()
    marker.pose.position = Point(z=height)
    marker.pose.orientation.w = 1.0
    return marker


def main(args: Sequence[str] | None = None) -> int:
    """Run the markers node until it is told to stop."""
    return run_node(MarkersNode, args, events=True)


if __name__ == "__main__":
    sys.exit(main())
