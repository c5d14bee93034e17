"""Field-by-field comparison: what a tolerance forgives, and what it never does."""

from __future__ import annotations

import math

import numpy as np
import pytest
import wire_messages as wire

from og_ros.audit.reexecution.comparison import DEFAULT_TOLERANCE, Tolerance, compare, parse_tolerance
from og_ros.errors import AttestationError, ConfigError

ARRAY, TWIST, IMAGE = "std_msgs/msg/Float32MultiArray", "geometry_msgs/msg/TwistStamped", "sensor_msgs/msg/Image"
NAN, INF = math.nan, math.inf


def floats(*values: float) -> bytes:
    return wire.serialize(wire.floats(np.array(values)))


@pytest.mark.parametrize(
    ("recorded", "computed", "holds"),
    [
        ((1.0, 2.0), (1.0, 2.0), True), ((0.0,), (0.00009,), True), ((0.0,), (0.0002,), False),
        ((1000.0,), (1000.9,), True), ((1000.0,), (1001.2,), False), ((-1000.0,), (-1000.9,), True),
        ((NAN,), (NAN,), True), ((NAN,), (0.0,), False), ((0.0,), (NAN,), False),
        ((INF,), (INF,), True), ((INF,), (-INF,), False), ((3e38,), (INF,), False), ((INF,), (3e38,), False),
        ((-0.0,), (0.0,), True), ((1.0,), (1.0, 1.0), False), ((), (), True),
    ],
)  # fmt: skip
def test_numbers_with_a_fraction(recorded: tuple[float, ...], computed: tuple[float, ...], holds: bool) -> None:
    found = compare(floats(*recorded), floats(*computed), ARRAY, DEFAULT_TOLERANCE)
    assert (found.differing == 0) is holds
    assert (found.worst is None) is holds


def test_the_relative_part_is_of_the_computed_number() -> None:
    """A stage cannot widen its own tolerance by stating a huge number."""
    assert compare(floats(1e9), floats(1.0), ARRAY, Tolerance(0.0, 0.5)).differing == 1
    assert compare(floats(1.4), floats(1.0), ARRAY, Tolerance(0.0, 0.5)).differing == 0


def test_the_worst_field_is_named_with_its_distance() -> None:
    found = compare(
        wire.serialize(wire.twist_stamped((1.0, 0.0, 0.0), (0.0, 0.0, 0.5))),
        wire.serialize(wire.twist_stamped((1.5, 0.0, 0.0), (0.0, 0.0, 0.75))),
        TWIST,
        DEFAULT_TOLERANCE,
    )
    assert (found.differing, found.largest_error) == (2, 0.5)
    assert str(found.worst) == "twist.linear.x is 1, computed 1.5, 0.5 apart"
    assert str(compare(floats(1, 2, 9), floats(1, 2, 3), ARRAY, DEFAULT_TOLERANCE).worst) == (
        "data[2] is 9, computed 3, 6 apart"
    )


def test_stamps_texts_and_integers_must_be_the_same() -> None:
    wide = Tolerance(1e9, 1e9)
    one, other = wire.twist_stamped((1, 0, 0), (0, 0, 0)), wire.twist_stamped((1, 0, 0), (0, 0, 0))
    other.header.stamp.nanosec += 1
    found = compare(wire.serialize(one), wire.serialize(other), TWIST, wide)
    assert (found.differing, found.worst and found.worst.field) == (1, "header.stamp.nanosec")
    other.header.stamp.nanosec -= 1
    other.header.frame_id = "elsewhere"
    found = compare(wire.serialize(one), wire.serialize(other), TWIST, wide)
    assert str(found.worst) == "header.frame_id is 'base', computed 'elsewhere'"
    dark, light = (wire.serialize(wire.image(np.full((2, 2, 3), v, np.uint8), "rgb8")) for v in (0, 1))
    assert compare(dark, light, IMAGE, wide).differing == 12
    layouts = [wire.serialize(wire.floats(np.zeros(4), sizes)) for sizes in ((4,), (2, 2))]
    assert str(compare(*layouts, ARRAY, wide).worst) == "layout.dim is 1 items, computed 2 items"


def test_integers_that_a_float_cannot_hold_are_compared_exactly() -> None:
    definition = {"pkg/msg/Count": "int64 count"}
    head, big = b"\0\1\0\0", 2**60
    one, other = (head + n.to_bytes(8, "little") for n in (big, big + 1))
    assert compare(one, one, "pkg/msg/Count", DEFAULT_TOLERANCE, definition).differing == 0
    assert compare(one, other, "pkg/msg/Count", DEFAULT_TOLERANCE, definition).differing == 1


def test_a_recording_cannot_redefine_a_type_of_ros() -> None:
    """Else every number could be declared to be of no account."""
    hostile = {ARRAY: "uint8 nothing"}
    assert compare(floats(1.0), floats(2.0), ARRAY, DEFAULT_TOLERANCE, hostile).differing == 1
    nested = {"pkg/msg/Own": f"std_msgs/Header header\n{'=' * 80}\nMSG: std_msgs/Header\nuint8 nothing"}
    with pytest.raises(AttestationError, match="the message is no pkg/msg/Own"):
        compare(b"\0\1\0\0\0", b"\0\1\0\0\0", "pkg/msg/Own", DEFAULT_TOLERANCE, nested)


@pytest.mark.parametrize("payload", [b"", b"\0\1\0\0", b"\0\1\0\0" + b"\xff" * 40, b"\0\3\0\0" + bytes(40)])
def test_malformed_messages_are_one_clear_error(payload: bytes) -> None:
    for message_type in (ARRAY, TWIST, IMAGE):
        with pytest.raises(AttestationError, match=f"the message is no {message_type}: "):
            compare(payload, floats(1.0), message_type, DEFAULT_TOLERANCE)


@pytest.mark.parametrize("definition", ["not a definition !!", "pkg/Missing other", "\0", ""])
def test_a_type_that_is_not_known_is_one_clear_error(definition: str) -> None:
    known = {"pkg/msg/Own": definition} if definition else {}
    with pytest.raises(AttestationError, match=r"the definition of|the message is no"):
        compare(b"\0\1\0\0", b"\0\1\0\0", "pkg/msg/Own", DEFAULT_TOLERANCE, known)


def test_tolerances_as_they_are_given() -> None:
    assert parse_tolerance("1e-5,1e-4") == Tolerance(1e-5, 1e-4)
    assert parse_tolerance("0") == Tolerance(0.0, 0.0)
    for text in ("", "a", "1,2,3", "-1", "nan", "inf,0"):
        with pytest.raises(ConfigError, match="is not known; give ABSOLUTE or ABSOLUTE,RELATIVE"):
            parse_tolerance(text)
