"""Fields read from raw CDR are those that another reader finds, in both byte orders; nothing malformed gets through."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import numpy as np
import pytest
from envelope_examples import cdr, store, twist
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.interfaces import Nodetype

from og_ros.errors import EnvelopeError
from og_ros.gate.message_fields import FieldError, MessageTypes, parse_path

TYPES = MessageTypes()
JOINTS = "trajectory_msgs/msg/JointTrajectory"
CHECKED = [
    JOINTS,
    "sensor_msgs/msg/LaserScan",
    "nav_msgs/msg/Odometry",
    "std_msgs/msg/Float64MultiArray",
    "sensor_msgs/msg/JointState",
    "std_msgs/msg/Empty",
    "diagnostic_msgs/msg/DiagnosticArray",
    "sensor_msgs/msg/CameraInfo",
    "shape_msgs/msg/SolidPrimitive",
]


def values(kind: Any, draw: Any) -> Any:
    """Draw a value of a type description of rosbags."""
    node, detail = kind
    if node == Nodetype.NAME:
        fields = store().fielddefs[detail][1]
        return store().types[detail](*(values(inner, draw) for _, inner in fields))
    if node == Nodetype.BASE:
        base = detail[0]
        if base == "string":
            return draw(st.text("abc é", max_size=6))
        if base == "bool":
            return draw(st.booleans())
        if base.startswith("float"):
            return draw(st.floats(width=int(base[5:])))
        bits = int(base.lstrip("uint")) if base[-1].isdigit() else 8
        signed = base.startswith("int")
        if base == "byte":
            return draw(st.integers(0, 127))  # rosbags writes it as a signed number
        return draw(st.integers(-(2 ** (bits - 1)) if signed else 0, 2 ** (bits - signed) - 1))
    (element, what), count = detail
    size = count if node == Nodetype.ARRAY else draw(st.integers(0, 3))
    found = [values((element, what), draw) for _ in range(size)]
    if element == Nodetype.BASE and what[0] != "string":
        names = {"byte": "uint8", "char": "uint8", "bool": "bool"}
        return np.array(found, names.get(what[0], what[0]))
    return found


def flat(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree of the product's with an entry for each value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for number, item in enumerate(value):
                found.update({f"{name}[{number}].{k}": v for k, v in flat(item).items()})
        elif isinstance(value, (list, tuple, np.ndarray)):
            found.update({f"{name}[{n}]": v for n, v in enumerate(value)})
        else:
            found[name] = value
    return found


def flat_message(message: Any, prefix: str = "") -> dict[str, Any]:
    """Return the same of a message of rosbags."""
    found: dict[str, Any] = {}
    for field, _ in store().fielddefs[message.__msgtype__][1]:
        value, name = getattr(message, field), f"{prefix}{field}"
        if hasattr(value, "__msgtype__"):
            found.update(flat_message(value, f"{name}."))
        elif isinstance(value, (list, np.ndarray)):
            for number, item in enumerate(value):
                if hasattr(item, "__msgtype__"):
                    found.update(flat_message(item, f"{name}[{number}]."))
                else:
                    found[f"{name}[{number}]"] = item
        else:
            found[name] = value
    return found


def same(a: Any, b: Any) -> bool:
    return bool(a == b) or (a != a and b != b)


@pytest.mark.parametrize("type", CHECKED)
@pytest.mark.parametrize("little_endian", [True, False])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_every_field_is_what_another_reader_finds(type: str, little_endian: bool, data: Any) -> None:
    message = values((Nodetype.NAME, type), data.draw)
    ours = flat(TYPES.layout(type).read(cdr(message, little_endian)))
    theirs = flat_message(message)
    assert ours.keys() == theirs.keys()
    assert all(same(ours[name], theirs[name]) for name in ours)


def joints(*rows: list[float]) -> bytes:
    t = store().types
    header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](1, 2), "base")
    points = [
        t["trajectory_msgs/msg/JointTrajectoryPoint"](
            np.array(row), np.array(row) * 10, np.array([]), np.array([]), t["builtin_interfaces/msg/Duration"](1, 2)
        )
        for row in rows
    ]
    return cdr(t[JOINTS](header, ["shoulder", "elbow"], points))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("points[-1].velocities[*]", [30.0, 40.0]),
        ("points[*].positions[1]", [2.0, 4.0]),
        ("points[0].positions[0]", [1.0]),
        ("points", [2]),
        ("points[*].accelerations", [0, 0]),
        ("joint_names[1]", ["elbow"]),
        ("joint_names[*]", ["shoulder", "elbow"]),
        ("header.frame_id", ["base"]),
    ],
)
def test_a_path_picks_its_values(path: str, expected: list[Any]) -> None:
    layout = TYPES.layout(JOINTS)
    assert list(layout.field(path).pick(layout.read(joints([1.0, 2.0], [3.0, 4.0])))) == expected


@pytest.mark.parametrize("path", ["points[2].positions[0]", "points[0].positions[2]", "points[-3].positions[*]"])
def test_an_element_that_is_not_there_is_an_error(path: str) -> None:
    layout = TYPES.layout(JOINTS)
    with pytest.raises(FieldError, match="the message has no"):
        layout.field(path).pick(layout.read(joints([1.0, 2.0], [3.0, 4.0])))


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "header",
        "points.positions",
        "points[0]",
        "header.frame_id[0]",
        "points[0].positions[0][0]",
        "a..b",
        "",
    ],
)
def test_a_path_that_the_type_has_not_is_refused(path: str) -> None:
    with pytest.raises(EnvelopeError):
        TYPES.layout(JOINTS).field(path)


def test_a_number_that_is_not_finite_is_named() -> None:
    layout = TYPES.layout(JOINTS)
    assert layout.not_finite(layout.read(joints([1.0], [2.0]))) is None
    assert layout.not_finite(layout.read(joints([1.0], [math.nan]))) == "points[1].positions[]"
    layout = TYPES.layout("geometry_msgs/msg/Twist")
    assert layout.not_finite(layout.read(twist(y=math.inf))) == "linear.y"


@pytest.mark.parametrize("cut", range(52))
def test_a_truncated_message_is_refused(cut: int) -> None:
    with pytest.raises(FieldError):
        TYPES.layout("geometry_msgs/msg/Twist").read(twist(1.0)[:cut])


def test_bytes_after_the_end_are_refused() -> None:
    TYPES.layout("geometry_msgs/msg/Twist").read(twist() + bytes(3))
    with pytest.raises(FieldError, match="after the end"):
        TYPES.layout("geometry_msgs/msg/Twist").read(twist() + bytes(4))


@pytest.mark.parametrize("payload", [b"", b"\0\2\0\0", b"\0\7\0\0" + bytes(48), b"\1\1\0\0" + bytes(48)])
def test_another_encapsulation_is_refused(payload: bytes) -> None:
    with pytest.raises(FieldError, match="plain CDR"):
        TYPES.layout("geometry_msgs/msg/Twist").read(payload)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(CHECKED), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(type: str, body: bytes) -> None:
    layout = TYPES.layout(type)
    with contextlib.suppress(FieldError):
        layout.not_finite(layout.read(b"\0\1\0\0" + body))


def test_a_huge_count_is_refused_before_anything_is_built() -> None:
    body = struct.pack("<iII", 0, 0, 1) + b"\0" + bytes(3) + struct.pack("<I", 2**32 - 1)
    with pytest.raises(FieldError, match="truncated"):
        TYPES.layout(JOINTS).read(b"\0\1\0\0" + body)


def test_a_type_of_ones_own_is_read_by_its_text() -> None:
    types = MessageTypes({"our_msgs/msg/Own": "std_msgs/Header header\nfloat32[2] speed\nour_msgs/Part[] parts",
                          "our_msgs/msg/Part": "int16 count\nfloat64 force"})  # fmt: skip
    names = [leaf.pattern for leaf in types.layout("our_msgs/msg/Own").leaves]
    assert names[-3:] == ["speed[]", "parts[].count", "parts[].force"]


@pytest.mark.parametrize(
    "definitions",
    [
        {"std_msgs/msg/Float64": "int32 data"},
        {"our_msgs/msg/Own": "flaot64 x y z ="},
        {"nonsense": "float64 x"},
        {"our_msgs/msg/Own": "wstring text"},
        {"our_msgs/msg/Own": "other_msgs/Unknown x"},
        {"our_msgs/msg/Own": "our_msgs/Own again"},
    ],
)
def test_a_definition_that_cannot_be_used_is_refused(definitions: dict[str, str]) -> None:
    with pytest.raises(EnvelopeError):
        MessageTypes(definitions).layout("our_msgs/msg/Own")


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(EnvelopeError, match="unknown"):
        TYPES.layout("our_msgs/msg/Own")


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with contextlib.suppress(EnvelopeError):
        parse_path(text)
