"""Messages of any type with every field set, as CDR bytes written by rosbags: og_ros's own types, and ROS's."""

from __future__ import annotations

from typing import Any

import numpy as np
from bag_writer import MESSAGES, typestore
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore


def og_ros_types() -> list[str]:
    """Return the names of og_ros's message types."""
    return [f"og_ros/msg/{path.stem}" for path in sorted(MESSAGES.glob("*.msg"))]


def payload(name: str, store: Stores = Stores.ROS2_JAZZY, **fields: Any) -> bytes:
    """Return the CDR bytes of a message whose fields all differ from their defaults, but for those that are given."""
    types = typestore(store)
    return bytes(types.serialize_cdr(_message(types, name, fields), name))


def _message(types: Typestore, name: str, fields: dict[str, Any]) -> Any:
    made = {}
    for number, (field, definition) in enumerate(types.fielddefs[name][1]):
        made[field] = fields.get(field, _value(types, definition, number + 1))
    return types.types[name](**made)


def _value(types: Typestore, definition: Any, seed: int) -> Any:
    kind, detail = definition
    if kind == Nodetype.NAME:
        return _message(types, detail, {})
    if kind == Nodetype.BASE:
        return _scalar(detail[0], seed)
    inner, count = detail
    # Sequences of three: what follows them is out of step with every alignment.
    length = count if kind == Nodetype.ARRAY else min(count, 3) if count else 3
    if inner[0] == Nodetype.BASE and inner[1][0] != "string":
        return np.array([_scalar(inner[1][0], seed + i) for i in range(length)], dtype=_dtype(inner[1][0]))
    return [_value(types, inner, seed + i) for i in range(length)]


def _dtype(name: str) -> str:
    return {"octet": "uint8", "char": "uint8"}.get(name, name)


def _scalar(name: str, seed: int) -> Any:
    if name == "string":
        return "s" * (seed % 5 + 1)
    if name == "bool":
        return True
    return seed + 0.25 if name.startswith("float") else seed % 100
