"""The gate node with a signed envelope and emergency stop, over real DDS."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import scenario
from envelope_examples import envelope, key, number
from gate_robot import GATE, Ears, Robot, listening
from ros_peer import Peer, node, running, until

from og_ros.audit.records import Record
from og_ros.gate import envelope_format, estop
from og_ros.gate.estop import StopMessage, sign_release, sign_stop
from og_ros.nodes.stop_sender import stop_qos

FLOAT = "std_msgs/msg/Float64"
ENVELOPE = """
name: base
version: 1
not_before: 2026-01-01T00:00:00Z
not_after: 2100-01-01T00:00:00Z
robots: [demo]
topics:
  /wheel_command:
    type: std_msgs/msg/Float64
    bounds: [{field: data, min: -1, max: 1}, {field: data, min: 0, max: 0.05, when: near}]
conditions:
  near: {topic: /near, type: std_msgs/msg/Float32, field: data, below: 2, stale_after: 2.0}
stop: {authorities: {floor: {key_file: floor}}, release: {a: {key_file: a}, b: {key_file: b}}, release_needs: 2}
"""


POSE = "geometry_msgs/msg/PoseStamped"
SLOW = "{field: data, min: 0, max: 0.05, when: corner}"


def pose(x: float, y: float) -> bytes:
    from geometry_msgs.msg import PoseStamped
    from rclpy.serialization import serialize_message

    message = PoseStamped()
    message.header.frame_id = "map"
    message.pose.position.x, message.pose.position.y = x, y
    return bytes(serialize_message(message))


class Limited(Robot):
    """A robot whose commands are numbers, with an envelope of its owner."""

    speed = 0.1
    distance = 5.0
    pose: tuple[float, float] | None = None
    poses: Any = None

    def __init__(self, peer: Peer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(scenario.TYPES, "/wheel_command", FLOAT)
        made = scenario.payload
        monkeypatch.setattr(
            scenario, "payload", lambda t, at, n: self.command(n) if t == "/wheel_command" else made(t, at, n)
        )
        super().__init__(peer, directory)
        self.ears = Ears(peer)
        self.near = peer.publisher("/near", "std_msgs/msg/Float32")
        self.stops = peer.publisher(estop.TOPIC, estop.TYPE, stop_qos())
        self.change = self.tell_distance
        self.file = directory / "base.dsse.json"
        self.write(ENVELOPE)

    def write(self, text: str) -> None:
        self.file.write_bytes(envelope_format.sign(envelope(text), self.run.authority))

    def command(self, value: int) -> bytes:
        return b"\0\1\0\0" + struct.pack("<d", self.speed + (value % 2**20) * 1e-7)  # each one is another

    def tell_distance(self, record: Record) -> list[Record]:
        if record.topic == "/odom":
            self.near.publish(number(self.distance))
            if self.pose is not None:
                self.poses.publish(pose(*self.pose))
        return [record]

    def gate(self, **changes: object) -> list[str]:
        limits: dict[str, object] = {"envelopes": f"['{self.file}']", "state": self.directory / "state"}
        return node(GATE, "gate", **self.parameters(healthy=0.1, bypass="ignore", **{**limits, **changes}))

    def send(self, message: StopMessage) -> None:
        until(lambda: self.stops.get_subscription_count() >= 1, "a gate that listens to stops")
        self.stops.publish(estop.encode(message))

    def release(self) -> None:
        until(lambda: self.challenge(), "a challenge")
        challenge = bytes.fromhex(self.challenge())
        for who in ("a", "b"):
            self.send(sign_release("demo", key(who), 2, time.time_ns(), "checked", challenge))

    def challenge(self) -> str:
        said = re.findall(r"challenge ([0-9a-f]{32})", " ".join(v.message for v in self.ears.verdicts))
        return str(said[-1]) if said else ""

    def passed(self) -> list[float]:
        """The commands that passed: none of the gate's own."""
        return [value for value in (struct.unpack("<d", p[4:])[0] for p in list(self.ears.output)) if value != 0.0]

    def passes(self) -> None:
        count = len(self.passed())
        until(lambda: len(self.passed()) >= count + 3, "commands that pass")

    def stands(self) -> None:
        time.sleep(0.15)  # what was under way
        count = len(self.passed())
        zeros = len(self.ears.output) - count
        until(lambda: len(self.ears.output) - len(self.passed()) >= zeros + 5, "the neutral message")
        assert len(self.passed()) == count


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def robot(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    found = Limited(peer, tmp_path, monkeypatch)
    yield found
    found.stop()


def test_a_command_outside_of_the_envelope_latches(robot: Limited) -> None:
    with running(*robot.gate()):
        listening(robot)
        robot.start()
        robot.passes()
        robot.distance = 1.0  # somebody comes near: 0.1 is too fast then
        until(lambda: any(v.latched and "envelope_exceeded" in v.reasons for v in robot.ears.verdicts), "the latch")
        robot.stands()
        robot.distance = 5.0
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.passes()
        robot.speed = 2.0
        until(lambda: any("2.0" in v.message and v.latched for v in robot.ears.verdicts), "the second latch")
        robot.stands()
        assert max(robot.passed()) < 1.0


def test_a_stop_survives_a_restart_and_takes_release_and_reset(robot: Limited) -> None:
    stop = sign_stop("demo", key("floor"), 1, time.time_ns(), "smoke")
    with running(*robot.gate()) as gate:
        listening(robot)
        robot.start()
        robot.passes()
        robot.send(sign_stop("demo", key("stranger"), 1, time.time_ns(), "for fun"))
        gate.wait_for("stop_invalid")
        robot.passes()
        robot.send(stop)
        until(lambda: any(v.latched and "emergency_stop" in v.reasons for v in robot.ears.verdicts), "the stop")
        robot.stands()
        old = robot.challenge()
        gate.kill()
    count = len(robot.passed())
    with running(*robot.gate()):
        until(lambda: robot.challenge() != old, "a stopped gate with a challenge of its own")
        robot.stands()
        granted, why = robot.ears.reset()
        assert (granted, "smoke" in why) == (False, True)
        robot.release()
        until(lambda: "gate_latched" in robot.ears.verdicts[-1].reasons, "commands that verify, after the release")
        robot.stands()
        assert len(robot.passed()) == count
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.passes()


def test_a_stop_stops_in_monitor_too(robot: Limited) -> None:
    with running(*robot.gate(mode="monitor", safe_behaviour="hold", safe_duration=60.0)):
        listening(robot)
        robot.start()
        robot.speed = 2.0
        robot.passes()
        until(lambda: any(v.forwarded and "envelope_exceeded" in v.reasons for v in robot.ears.verdicts), "a refusal")
        robot.send(sign_stop("*", key("floor"), 1, time.time_ns(), "smoke"))
        until(lambda: any("emergency_stop" in v.reasons for v in robot.ears.verdicts), "the stop")
        robot.stands()
        assert not robot.ears.verdicts[-1].forwarded
        assert not robot.ears.reset()[0]
        robot.release()
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.passes()


RATE = "bounds: [{field: data, min: -1, max: 1, max_rate: 0.5, jitter: 0.05, longest_gap: 0.2}]"


def test_a_command_that_jumps_latches_and_one_that_creeps_passes(robot: Limited) -> None:
    """At 20 Hz, 0.5 a second, and 50 ms of jitter: 0.05 from one command to the next."""
    robot.write(re.sub(r"bounds: .*", RATE, ENVELOPE))
    with running(*robot.gate()):
        listening(robot)
        robot.start()
        robot.passes()
        robot.speed = 0.9
        until(lambda: any("envelope_exceeded" in v.reasons and v.latched for v in robot.ears.verdicts), "the latch")
        robot.stands()
        assert max(robot.passed()) < 0.2
        robot.speed = 0.02
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.passes()
        while robot.speed < 0.3:
            robot.speed += 0.01
            robot.passes()
        assert 0.28 < max(robot.passed()) < 0.4
        assert not robot.ears.verdicts[-1].latched


ZONES = """
pose: {topic: /pose, type: geometry_msgs/msg/PoseStamped, frame: map, stale_after: 1.0}
zones:
  hall: {kind: allowed, polygon: [[0, 0], [10, 0], [10, 10], [0, 10]]}
  pit: {kind: forbidden, polygon: [[8, 8], [9, 8], [9, 9], [8, 9]]}
  corner: {kind: slow, polygon: [[0, 0], [2, 0], [2, 2], [0, 2]]}
"""


def test_zones_hold_where_the_robot_is(robot: Limited, peer: Peer) -> None:
    """Nothing passes in a forbidden zone, only slow commands in a slow one, and none without a fresh pose."""
    robot.write(ENVELOPE.replace("max: 0.05, when: near}", "max: 0.05, when: near}, " + SLOW) + ZONES)
    robot.poses, robot.pose = peer.publisher("/pose", POSE), (5.0, 5.0)
    with running(*robot.gate()):
        listening(robot)
        robot.start()
        robot.passes()
        robot.pose = (8.5, 8.5)
        until(lambda: any("zone_violated" in v.reasons and v.latched for v in robot.ears.verdicts), "the latch")
        robot.stands()
        robot.pose = (1.0, 1.0)
        until(lambda: "envelope_exceeded" in robot.ears.verdicts[-1].reasons, "too fast for the corner")
        robot.speed = 0.01
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.passes()
        robot.pose = None  # nothing is known any more
        until(lambda: robot.ears.verdicts[-1].latched, "the second latch")
        robot.stands()
        robot.pose = (5.0, 5.0)
        until(lambda: robot.ears.reset()[0], "a granted reset")
        robot.speed = 0.2
        robot.passes()
        assert "envelope_exceeded" not in robot.ears.verdicts[-1].reasons


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("robots: [demo]", "robots: [r9]", "not for the robot demo"),
        ("/wheel_command:", "/lift:", "allow no commands on /wheel_command"),
    ],
)
def test_an_envelope_that_does_not_fit_is_one_line(robot: Limited, old: str, new: str, words: str) -> None:
    robot.write(ENVELOPE.replace(old, new))
    with running(*robot.gate()) as gate:
        assert gate.join() == 1
        assert words in gate.output
        assert "Traceback" not in gate.output


def test_an_envelope_of_another_owner_is_one_line(robot: Limited) -> None:
    robot.file.write_bytes(envelope_format.sign(envelope(ENVELOPE), key("stranger")))
    with running(*robot.gate()) as gate:
        assert gate.join() == 1
        assert "who is not the owner" in gate.output
        assert "Traceback" not in gate.output
    with running(*robot.gate(state="''")) as gate:
        assert gate.join() == 1
        assert "state is missing" in gate.output
