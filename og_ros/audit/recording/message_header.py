"""Tells which message types begin with a std_msgs/Header, from ROS's own types and from a recording's definitions."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from rosbags.typesys import Stores, get_typestore

_HEADER: Final = "std_msgs/msg/Header"
_HEADER_NAMES: Final = ("Header", "std_msgs/Header", _HEADER, "std_msgs::msg::Header")
_CONSTANT: Final = re.compile(r"\S+\s+\w+\s*=")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_MAX_DEFINITION: Final = 2**20


@cache
def _ros_types() -> dict[str, bool]:
    """Return each message type of ROS 2 Jazzy, and whether it begins with a header."""
    types = get_typestore(Stores.ROS2_JAZZY).fielddefs
    return {name: bool(fields) and str(fields[0][1][1]) == _HEADER for name, (_, fields) in types.items()}


def begins_with_header(type_name: str, definition: str, language: str) -> bool:
    """Return whether messages of a type begin with a header.

    What ROS knows is believed first: a recording that redefines sensor_msgs/Image lies. `definition` is the text of
    another type in `language` (ros2msg, ros2idl, omgidl); a text that cannot be read means no header.
    """
    known = _ros_types().get(type_name)
    if known is not None:
        return known
    text = definition[:_MAX_DEFINITION]
    return _first_idl_type(text, type_name) if language.endswith("idl") else _first_msg_type(text)


def _first_msg_type(text: str) -> bool:
    """The definition itself comes first; those of its fields' types follow after lines of "="."""
    for line in text.splitlines():
        field = line.partition("#")[0].strip()
        if field.startswith("==="):
            return False
        if field and not field.startswith("MSG:") and not _CONSTANT.match(field):
            return field.split()[0] in _HEADER_NAMES
    return False


def _first_idl_type(text: str, type_name: str) -> bool:
    """The first member of the struct of that name; annotations (@verbatim (...)) before it are left out."""
    text = _COMMENT.sub(" ", text)
    match = re.search(rf"\bstruct\s+{re.escape(type_name.rpartition('/')[2])}\s*{{", text)
    if match is None:
        return False
    rest = text[match.end() : match.end() + 65_536].lstrip()
    while rest.startswith("@"):
        annotation = re.match(r'@\w+\s*(\((?:[^()"]|"(?:[^"\\]|\\.)*")*\))?\s*', rest)
        if annotation is None:
            return False
        rest = rest[annotation.end() :]
    return rest.split(None, 1)[:1] in [[name] for name in _HEADER_NAMES]
