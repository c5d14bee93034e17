"""Safe behaviours: what is published instead of commands, for any message type."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Bool, Float32MultiArray

from og_ros.errors import ConfigError
from og_ros.gate.settings import SafeBehaviour
from og_ros.nodes.safe_motion import SafeMotion, parse_fields

MS = 1_000_000
STAMP = Time(sec=7, nanosec=9)


def motion(kind: Any, behaviour: str, **changes: Any) -> SafeMotion:
    return SafeMotion(SafeBehaviour(behaviour, 100 * MS, 20 * MS, **changes), kind)  # type: ignore[arg-type]


def run(motion: SafeMotion, last: Any, kind: Any, until_ms: int = 200) -> list[Any]:
    motion.start(bytes(serialize_message(last)) if last is not None else None, 0)
    payloads = [motion.next(ms * MS, STAMP) for ms in range(until_ms)]
    return [deserialize_message(payload, kind) for payload in payloads if payload is not None]


def moving() -> TwistStamped:
    message = TwistStamped()
    message.header.frame_id = "base"
    message.twist.linear.x, message.twist.angular.z = 1.0, -2.0
    return message


def test_stop_is_zero_with_a_new_stamp_again_and_again() -> None:
    found = run(motion(TwistStamped, "stop"), moving(), TwistStamped)
    assert len(found) == 10
    assert all(m.header.stamp == STAMP for m in found)
    assert {(m.twist.linear.x, m.twist.angular.z) for m in found} == {(0.0, 0.0)}


def test_hold_repeats_for_its_time_and_then_stops() -> None:
    found = run(motion(TwistStamped, "hold"), moving(), TwistStamped)
    assert [m.twist.linear.x for m in found] == [1.0] * 5 + [0.0] * 5
    assert found[0].header.stamp == STAMP
    assert run(motion(Bool, "hold"), Bool(data=True), Bool)[4:6] == [Bool(data=True), Bool()]


def test_decelerate_scales_every_number_or_the_ones_named() -> None:
    found = run(motion(Twist, "decelerate"), moving().twist, Twist)
    assert [round(m.linear.x, 6) for m in found[:6]] == [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]
    assert [round(m.angular.z, 6) for m in found[:6]] == [-2.0, -1.6, -1.2, -0.8, -0.4, 0.0]
    found = run(motion(Twist, "decelerate", scaled=("linear.x",)), moving().twist, Twist)
    assert [m.angular.z for m in found[:5]] == [-2.0] * 5
    assert found[4].linear.x == pytest.approx(0.2)
    found = run(motion(Float32MultiArray, "decelerate"), Float32MultiArray(data=[1.0, -3.0]), Float32MultiArray)
    assert list(found[2].data) == pytest.approx([0.6, -1.8])
    odometry = Odometry()
    odometry.pose.covariance[0] = 4.0
    found = run(motion(Odometry, "decelerate", scaled=("pose.covariance[0]",)), odometry, Odometry)
    assert found[1].pose.covariance[0] == pytest.approx(3.2)


@pytest.mark.parametrize("behaviour", ["stop", "hold", "decelerate"])
def test_without_a_verified_command_there_is_only_the_neutral_message(behaviour: str) -> None:
    neutral = parse_fields(["data=[0, 0.5]"])
    found = run(motion(Float32MultiArray, behaviour, neutral=neutral), None, Float32MultiArray)
    assert {tuple(m.data) for m in found} == {(0.0, 0.5)}


def test_command_that_cannot_be_read_gives_the_neutral_message() -> None:
    found = motion(Float32MultiArray, "decelerate")
    found.start(b"\0\1\0\0\xff\xff", 0)
    payload = found.next(0, STAMP)
    assert payload is not None
    assert list(deserialize_message(payload, Float32MultiArray).data) == []


def test_off_until_it_starts() -> None:
    found = motion(Twist, "stop")
    assert found.next(10**12, STAMP) is None
    assert found.due_ns() is None
    found.start(None, 5)
    assert found.due_ns() == 5
    found.stop()
    assert found.next(10**12, STAMP) is None


@pytest.mark.parametrize(
    ("kind", "neutral", "scaled", "words"),
    [
        (Twist, {"linear.q": 1.0}, (), "no field linear.q"),
        (Twist, {"linear": 3}, (), "neutral: linear cannot be 3"),
        (Twist, {"linear.x.y": 3}, (), "has no fields"),
        (Twist, {}, ("speed",), "no field speed"),
        (Bool, {"data": "yes"}, (), "data cannot be 'yes'"),
        (Float32MultiArray, {"data[4]": 1.0}, (), "cannot be 1.0"),
    ],
)
def test_fields_that_the_type_does_not_have(kind: Any, neutral: Any, scaled: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("[", r"\[")):
        motion(kind, "stop", neutral=neutral, scaled=scaled)


@pytest.mark.parametrize("text", ["data", "data=[1", "=3"])
def test_neutral_texts_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError):
        motion(Bool, "stop", neutral=parse_fields([text]))
