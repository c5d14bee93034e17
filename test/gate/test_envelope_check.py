"""What an envelope lets through and what it refuses: bounds, rates, conditions, zones, hours."""

from __future__ import annotations

import math

import pytest
from envelope_examples import BASE, MS, NOW, SHIFT, SITE, TWIST, chain, envelope, number, odometry, twist

from og_ros.errors import EnvelopeError
from og_ros.gate.envelope_check import MAX_COMMAND, EnvelopeCheck

T0 = 10**12
DAY = 86_400 * 10**9
NEAR, ODOM = "std_msgs/msg/Float32", "nav_msgs/msg/Odometry"


def started(*texts: str, x: float = 5.0, y: float = 5.0, wall_ns: int = NOW) -> EnvelopeCheck:
    """A check with a robot in the middle of the hall, nobody near, and a standing start."""
    check = EnvelopeCheck(chain(*(texts or (BASE,))).envelopes, "r1", lambda: wall_ns)
    check.observe("/odom", ODOM, odometry(x, y), T0)
    check.observe("/near", NEAR, number(5.0), T0)
    return check


def kind(check: EnvelopeCheck, payload: bytes, now_ns: int = T0, topic: str = "/cmd_vel", type: str = TWIST) -> str:
    refusal = check(topic, type, payload, now_ns)
    return refusal.kind if refusal else ""


def drive(check: EnvelopeCheck, x: float, now_ns: int) -> str:
    """Ask for a command, and forward it if it passes."""
    payload = twist(x)
    refusal = check("/cmd_vel", TWIST, payload, now_ns)
    if refusal:
        return refusal.message
    check.forwarded("/cmd_vel", payload, now_ns)
    return ""


def test_a_command_within_all_bounds_passes() -> None:
    assert kind(started(), twist(0.2, 0.1, 0.5)) == ""


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (twist(1.1), "linear.x is 1.1; at most 1 is allowed"),
        (twist(-1.1), "linear.x is -1.1; at least -1 is allowed"),
        (twist(y=0.6), "linear.y is 0.6"),
        (twist(turn=2.0), "angular.z is 2"),
        (twist(1.0, 0.5), "the magnitude of linear.x, linear.y is 1.11803"),
        (twist(math.nan), "linear.x is not a finite number"),
        (twist(math.inf), "linear.x is not a finite number"),
        (twist(z=math.nan), "linear.z is not a finite number"),
        (twist()[:-8], "truncated"),
        (twist() + bytes(8), "after the end"),
        (b"", "no plain CDR"),
        (b"\0\1\0\0" + bytes(MAX_COMMAND), "are allowed"),
    ],
)
def test_a_command_outside_is_refused_and_told_why(payload: bytes, said: str) -> None:
    check = started()
    refusal = check("/cmd_vel", TWIST, payload, T0)
    assert refusal is not None
    assert refusal.kind == "envelope_exceeded"
    assert said in refusal.message


def test_a_number_listed_as_free_may_be_anything_finite() -> None:
    assert kind(started(), twist(z=1e300)) == ""


def test_another_topic_and_another_type_are_refused() -> None:
    check = started()
    assert kind(check, twist(), topic="/cmd_vel2") == "envelope_exceeded"
    assert kind(check, twist(), type="geometry_msgs/msg/Wrench") == "envelope_exceeded"
    assert kind(check, number(1.0, "std_msgs/msg/Float64"), topic="/lift", type="std_msgs/msg/Float64") == ""


def test_all_reasons_are_given() -> None:
    found = started(x=50.0).refusals("/cmd_vel", TWIST, twist(3.0, 3.0), T0)
    assert {r.kind for r in found} == {"zone_violated", "envelope_exceeded"}
    assert len(found) == 5


class TestRates:
    def test_it_speeds_up_no_faster_than_allowed_and_brakes_freely(self) -> None:
        check = started()
        assert drive(check, 0.3, T0) == ""  # 2 m/s² over the longest gap of 0.1 s, and 0.05 s of jitter
        assert "faster than 2 a second" in drive(check, 0.5, T0 + 20 * MS)
        assert drive(check, 0.34, T0 + 20 * MS) == ""
        assert drive(check, 0.0, T0 + 40 * MS) == ""
        assert "faster" in drive(check, -0.34, T0 + 41 * MS)

    def test_a_flood_of_commands_gains_nothing(self) -> None:
        check = started()
        speed = 0.0
        for step in range(1000):  # 10 kHz for 0.1 s
            now = T0 + step * MS // 10
            while drive(check, speed + 0.01, now) == "":
                speed += 0.01
        assert speed <= 2 * (0.1 + 0.1 + 0.05) + 0.01

    def test_a_ramp_at_the_limit_passes_whatever_the_jitter(self) -> None:
        check = started()
        now = T0
        for step in range(40):
            late = (step * 7919) % 20  # up to 19 ms late
            now = T0 + step * 20 * MS + late * MS
            check.observe("/odom", ODOM, odometry(5.0, 5.0), now)
            check.observe("/near", NEAR, number(5.0), now)
            assert drive(check, min(1.0, 2 * step * 0.02), now) == "", step

    def test_after_a_silence_it_counts_as_standing(self) -> None:
        check = started()
        for step in range(4):
            assert drive(check, 0.3 + step * 0.1, T0 + step * 50 * MS) == ""
        assert "faster" in drive(check, 0.6, T0 + 450 * MS)

    def test_a_refused_command_does_not_count(self) -> None:
        check = started()
        for step in range(10):
            assert drive(check, 0.9, T0 + step * MS) != ""

    def test_time_that_goes_back_gives_no_room(self) -> None:
        check = started()
        assert drive(check, 0.3, T0) == ""
        assert "faster" in drive(check, 0.45, T0 - 10**9)

    def test_a_rate_bounds_both_ways_from_the_first_command_on(self) -> None:
        check = started()
        first = twist(turn=0.9)
        assert check("/cmd_vel", TWIST, first, T0) is None
        check.forwarded("/cmd_vel", first, T0)
        assert kind(check, twist(turn=0.0), T0 + 10 * MS) == "envelope_exceeded"
        assert kind(check, twist(turn=0.87), T0 + 10 * MS) == ""


class TestConditions:
    @pytest.mark.parametrize(("distance", "expected"), [(1.9, "envelope_exceeded"), (2.0, ""), (2.1, "")])
    def test_slower_near_people(self, distance: float, expected: str) -> None:
        check = started()
        check.observe("/near", NEAR, number(distance), T0)
        assert kind(check, twist(0.25)) == expected
        assert kind(check, twist(0.2)) == ""

    def test_what_is_not_known_is_taken_as_the_worst(self) -> None:
        check = started()
        assert kind(check, twist(0.25), T0 + 500 * MS) == ""
        check.observe("/odom", ODOM, odometry(5.0, 5.0), T0 + 501 * MS)
        assert kind(check, twist(0.25), T0 + 501 * MS) == "envelope_exceeded"

    @pytest.mark.parametrize("payload", [number(math.nan), b"", number(9.0)[:6], number(9.0) + bytes(4)])
    def test_a_message_that_says_nothing_does_not_widen(self, payload: bytes) -> None:
        check = started()
        check.observe("/near", NEAR, payload, T0 + MS)
        assert kind(check, twist(0.25), T0 + MS) == "envelope_exceeded"

    def test_a_message_of_another_type_does_not_widen(self) -> None:
        check = started()
        check.observe("/near", "std_msgs/msg/Float64", number(9.0, "std_msgs/msg/Float64"), T0 + MS)
        assert kind(check, twist(0.25), T0 + MS) == "envelope_exceeded"

    def test_nothing_heard_yet_is_the_worst(self) -> None:
        check = EnvelopeCheck(chain(BASE).envelopes, "r1", lambda: NOW)
        check.observe("/odom", ODOM, odometry(5.0, 5.0), T0)
        assert kind(check, twist(0.25)) == "envelope_exceeded"


class TestPlaces:
    @pytest.mark.parametrize(
        ("x", "y", "expected"),
        [
            (5.0, 5.0, ""),
            (10.0, 10.0, ""),
            (10.01, 5.0, "zone_violated"),
            (8.5, 8.5, "zone_violated"),
            (math.nan, 5.0, "zone_violated"),
            (math.inf, 5.0, "zone_violated"),
        ],
    )
    def test_allowed_and_forbidden_zones(self, x: float, y: float, expected: str) -> None:
        assert kind(started(x=x, y=y), twist(0.2)) == expected

    def test_a_slow_zone(self) -> None:
        check = started(x=1.0, y=1.0)
        for step in range(5):
            drive(check, 0.1 * step, T0 + step * 50 * MS)
        assert "at most 0.4 is allowed" in drive(check, 0.45, T0 + 250 * MS)

    def test_a_pose_that_is_stale_or_of_another_frame_is_no_pose(self) -> None:
        check = started()
        assert kind(check, twist(), T0 + 501 * MS) == "zone_violated"
        check.observe("/odom", ODOM, odometry(5.0, 5.0, "map"), T0)
        assert kind(check, twist()) == "zone_violated"
        assert kind(EnvelopeCheck(chain(BASE).envelopes, "r1", lambda: NOW), twist()) == "zone_violated"


class TestTimes:
    @pytest.mark.parametrize(
        ("wall_ns", "expected"),
        [
            (NOW, ""),
            (NOW + DAY, ""),
            (NOW + 2 * DAY, "envelope_not_in_force"),  # a Wednesday
            (NOW + 9 * 3600 * 10**9, "envelope_not_in_force"),  # 20:13
            (NOW - 63 * DAY, "envelope_not_in_force"),
            (NOW + 308 * DAY, "envelope_not_in_force"),
        ],
    )
    def test_shift_hours_and_validity(self, wall_ns: int, expected: str) -> None:
        assert kind(started(wall_ns=wall_ns), twist()) == expected

    def test_the_narrowest_hours_of_the_chain_count(self) -> None:
        assert kind(started(BASE, SITE, wall_ns=NOW + DAY), twist()) == "envelope_not_in_force"


class TestChains:
    def test_the_narrowest_bound_counts_and_those_above_stay(self) -> None:
        check = started(BASE, SITE, SHIFT)
        assert kind(check, twist(0.25)) == ""
        assert kind(check, twist(0.25, 0.6)) == "envelope_exceeded"  # only the owner speaks of linear.y
        assert kind(check, twist(0.31)) == "envelope_exceeded"
        assert kind(check, twist(-0.1)) == "envelope_exceeded"

    def test_a_topic_that_one_leaves_out_is_closed(self) -> None:
        assert dict(started(BASE, SITE).topics) == {"/cmd_vel": TWIST}

    def test_another_robot_is_refused(self) -> None:
        EnvelopeCheck(chain(BASE).envelopes, "r2")
        with pytest.raises(EnvelopeError, match="not for the robot r2"):
            EnvelopeCheck(chain(BASE, SITE).envelopes, "r2")
        with pytest.raises(EnvelopeError, match="not for the robot r3"):
            EnvelopeCheck(chain(BASE).envelopes, "r3")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("free: [linear.z, angular.x, angular.y]", "free: [linear.z]", "angular.x of .* has no bound"),
        ("{field: linear.y, min: -0.5, max: 0.5}", "{field: linear.y, max: 0.5}", ""),  # the magnitude bounds it
        (
            "{field: angular.z, min: -1, max: 1, max_rate: 4}",
            "{field: angular.z, max: 1}",
            "angular.z of .* has no bound",
        ),
        ("min: -1, max: 1, max_rate", "min: -1, max: 1, when: near, max_rate", "angular.z of .* has no bound"),
        ("{field: linear.y, min", "{field: linear.w, min", "no field linear.w"),
        ("when: near", "when: far", "'far' is no condition"),
        ("geometry_msgs/msg/Twist", "our_msgs/msg/Twist", "is unknown"),
        ("type: nav_msgs/msg/Odometry", "type: std_msgs/msg/Float32", "no pose.position"),
        ("field: data, below", "field: dat, below", "no field dat"),
        ("{topic: /near,", "{topic: /odom,", "two types"),
        ("{field: data, min: 0, max: 2}", "{field: data, min: 0, max: 2}, {field: data, one_of: [a]}", "no text"),
        ("{field: data, min: 0, max: 2}", "{field: data, min: 0, max: 2}, {field: data, max_length: 1}", "no array"),
    ],
)
def test_an_envelope_that_does_not_fit_its_types_is_refused(old: str, new: str, said: str) -> None:
    assert old in BASE
    made = [envelope(BASE.replace(old, new))]
    if not said:
        EnvelopeCheck(made, "r1")
        return
    with pytest.raises(EnvelopeError, match=said):
        EnvelopeCheck(made, "r1")


ARRAY = """
name: arm
version: 1
not_before: 2026-01-01T00:00:00Z
not_after: 2027-01-01T00:00:00Z
robots: ["*"]
topics:
  /joints:
    type: std_msgs/msg/Float64MultiArray
    free: [layout]
    bounds: [%s]
"""


@pytest.mark.parametrize(
    ("bounds", "complete"),
    [
        ('{field: "data[*]", min: -1, max: 1}', True),
        ('{field: "data[0]", min: -1, max: 1}', False),
        ('{field: "data[0]", min: -1, max: 1}, {field: data, max_length: 1}', True),
        ('{field: "data[0]", min: -1, max: 1}, {field: data, max_length: 2}', False),
        ('{field: "data[-1]", min: -1, max: 1}, {field: data, max_length: 1}', False),
    ],
)
def test_every_element_of_a_sequence_must_be_bounded(bounds: str, complete: bool) -> None:
    made = [envelope(ARRAY % bounds)]
    if complete:
        assert EnvelopeCheck(made, "any").topics
    else:
        with pytest.raises(EnvelopeError, match=r"data\[\] of .* has no bound"):
            EnvelopeCheck(made, "any")
