"""Reads fields of a message from its raw CDR bytes, by the definition of its type: no ROS, no generated classes.

A type is compiled once. Runs of numbers of fixed size are read at one stroke, arrays of numbers stay views of the
bytes, so that a large message costs no more than a small one.

A field path names fields by dots, elements of arrays and sequences by an index ([0], [-1] the last) or all of them by
[*]: `twist.linear.x`, `data[0]`, `points[-1].velocities[*]`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, TypeAlias

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from og_ros.errors import EnvelopeError, OgError

Path: TypeAlias = tuple["str | int | None", ...]
"""The steps of a field path: a field's name, an index, or None for every element."""
Tree: TypeAlias = dict[str, Any]
"""The fields of a message by their dotted names; a sequence of messages is a list of such trees."""

_CODES: Final = {
    "bool": "B", "byte": "B", "char": "B", "uint8": "B", "int8": "b", "uint16": "H", "int16": "h", "uint32": "I",
    "int32": "i", "uint64": "Q", "int64": "q", "float32": "f", "float64": "d",
}  # fmt: skip
_SIZES: Final = {"B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4, "Q": 8, "q": 8, "f": 4, "d": 8}
_TIMES: Final = ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration")
_COUNT: Final = (struct.Struct(">I"), struct.Struct("<I"))
_ORDERS: Final = (">", "<")
_MAX_DEPTH: Final = 12
_MAX_LEAVES: Final = 2000
_MAX_PATH: Final = 200
_STEP: Final = re.compile(r"(?:^|\.)([A-Za-z][A-Za-z0-9_]{0,79})|\[(\*|-?\d{1,6})\]", re.ASCII)


class FieldError(OgError):
    """A message that is not of its type, or that lacks a field that was asked for."""


def parse_path(text: str) -> Path:
    """Read a field path; raises EnvelopeError for what is none."""
    steps: list[str | int | None] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or len(text) > _MAX_PATH:
            break
        name, index = match.groups()
        steps.append(name if name is not None else None if index == "*" else int(index))
        at = match.end()
    if at != len(text) or not steps or not isinstance(steps[0], str):
        raise EnvelopeError(f"{text[:80]!a} is no field path like twist.linear.x, data[0] or points[-1].velocities[*]")
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field without fields of its own: its pattern (`points[].velocities[]`), its kind, and whether it is a time.

    `code` is the struct code of its numbers, "" for text; `fixed` is the length of an array, None for a sequence.
    """

    pattern: str
    code: str
    time: bool
    fixed: int | None = None


class _Block:
    """Numbers that follow each other at fixed distances; read at one stroke."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.codes: list[str] = []
        self.structs: tuple[list[struct.Struct | None], ...] = ([None] * 8, [None] * 8)

    def read(self, data: memoryview, at: int, order: int, into: Tree) -> int:
        form = self.structs[order][at & 7] or self._form(at & 7, order)
        into.update(zip(self.names, form.unpack_from(data, at), strict=True))
        return at + form.size

    def _form(self, start: int, order: int) -> struct.Struct:
        text, at = _ORDERS[order], start
        for code in self.codes:
            gap = -at % _SIZES[code]
            text += f"{gap}x{code}" if gap else code
            at += gap + _SIZES[code]
        form = self.structs[order][start] = struct.Struct(text)
        return form


class _Numbers:
    """An array or a sequence of numbers: a view of the message's bytes."""

    def __init__(self, name: str, code: str, fixed: int | None) -> None:
        self.name, self.fixed, self.size = name, fixed, _SIZES[code]
        self.types = tuple(np.dtype(order + code) for order in _ORDERS)

    def read(self, data: memoryview, at: int, order: int, into: Tree) -> int:
        count, at = (self.fixed, at) if self.fixed is not None else _count(data, at, order)
        if count:  # an empty sequence has no padding before its elements
            at += -at % self.size
        end = at + count * self.size
        if end > len(data):
            raise FieldError("the message is truncated")
        into[self.name] = np.frombuffer(data, self.types[order], count, at) if count else ()
        return end


class _Text:
    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, data: memoryview, at: int, order: int, into: Tree) -> int:
        into[self.name], at = _text(data, at, order)
        return at


class _Texts:
    """An array or a sequence of texts."""

    def __init__(self, name: str, fixed: int | None) -> None:
        self.name, self.fixed = name, fixed

    def read(self, data: memoryview, at: int, order: int, into: Tree) -> int:
        count, at = (self.fixed, at) if self.fixed is not None else _count(data, at, order)
        found = []
        for _ in range(count):
            text, at = _text(data, at, order)
            found.append(text)
        into[self.name] = found
        return at


class _Messages:
    """An array or a sequence of messages: a list of trees."""

    def __init__(self, name: str, layout: Layout, fixed: int | None) -> None:
        self.name, self.layout, self.fixed = name, layout, fixed

    def read(self, data: memoryview, at: int, order: int, into: Tree) -> int:
        count, at = (self.fixed, at) if self.fixed is not None else _count(data, at, order)
        found = []
        for _ in range(count):
            tree: Tree = {}
            for part in self.layout.parts:
                at = part.read(data, at, order, tree)
            found.append(tree)
        into[self.name] = found
        return at


_Part: TypeAlias = "_Block | _Numbers | _Text | _Texts | _Messages"


def _count(data: memoryview, at: int, order: int) -> tuple[int, int]:
    at += -at % 4
    count: int = _COUNT[order].unpack_from(data, at)[0]
    at += 4
    if count > len(data) - at:  # an element has at least one byte: refuse before anything is built
        raise FieldError("the message is truncated")
    return count, at


def _text(data: memoryview, at: int, order: int) -> tuple[str, int]:
    size, at = _count(data, at, order)
    raw = bytes(data[at : at + size])
    if raw.find(0) != size - 1:
        raise FieldError("the message has a string that does not end in its only NUL")
    try:
        return raw[:-1].decode(), at + size
    except UnicodeDecodeError as error:
        raise FieldError("the message has a string that is not UTF-8") from error


class Layout:
    """How a message type lies in CDR, compiled; `read` gives a message's fields."""

    def __init__(self, type: str) -> None:
        self.type = type
        self.parts: list[_Part] = []
        self.leaves: list[Leaf] = []
        self._numbers: list[str] = []
        self._arrays: list[str] = []
        self._messages: list[_Messages] = []

    def read(self, payload: bytes | bytearray | memoryview) -> Tree:
        """Return a message's fields from its CDR payload; raises FieldError when it is not of this type."""
        data = memoryview(payload)
        if len(data) < 4 or data[0] != 0 or data[1] > 1:
            raise FieldError("the message is no plain CDR")
        order, body, at = data[1], data[4:], 0
        tree: Tree = {}
        try:
            for part in self.parts:
                at = part.read(body, at, order, tree)
        except struct.error as error:
            raise FieldError("the message is truncated") from error
        if len(body) - at > 3:
            raise FieldError(f"the message has {len(body) - at} bytes after the end of a {self.type}")
        return tree

    def not_finite(self, tree: Tree) -> str | None:
        """Return the first number of a message that is NaN or infinite, None when there is none."""
        for name in self._numbers:
            if not isfinite(tree[name]):
                return name
        for name in self._arrays:
            if not np.isfinite(tree[name]).all():
                return f"{name}[]"
        for part in self._messages:
            for number, inner in enumerate(tree[part.name]):
                found = part.layout.not_finite(inner)
                if found is not None:
                    return f"{part.name}[{number}].{found}"
        return None

    def field(self, text: str) -> Field:
        """Return a field by its path; raises EnvelopeError when the type has no such field."""
        path = parse_path(text)
        name, found, used = "", None, 0
        for step in path:
            if not isinstance(step, str):
                break
            name = f"{name}.{step}" if name else step
            found, used = self._part(name), used + 1
            if found is not None:
                break
        if found is None:
            raise EnvelopeError(f"{self.type} has no field {text}")
        return _field(self, found, name, path[used:], text)

    def _part(self, name: str) -> _Part | None:
        for part in self.parts:
            if name in part.names if isinstance(part, _Block) else name == part.name:
                return part
        return None

    def add(self, name: str, types: Typestore, kind: Any, depth: int, time: bool) -> None:
        """Add a field of a type description of rosbags; for `MessageTypes` only."""
        node, detail = kind
        if node == Nodetype.NAME:
            if depth > _MAX_DEPTH or detail not in types.fielddefs:
                raise EnvelopeError(f"{self.type} has a field of the unknown type {detail[:80]!a}")
            for inner, description in types.fielddefs[detail][1]:
                self.add(f"{name}.{inner}" if name else inner, types, description, depth + 1, time or detail in _TIMES)
            return
        if node == Nodetype.BASE:
            self._add_single(name, detail[0], time)
        else:
            (element, what), count = detail
            self._add_many(name, types, element, what, count if node == Nodetype.ARRAY else None, depth, time)
        if len(self.leaves) > _MAX_LEAVES:
            raise EnvelopeError(f"{self.type} has more than {_MAX_LEAVES} fields")

    def _add_single(self, name: str, base: str, time: bool) -> None:
        if base == "string":
            self.parts.append(_Text(name))
            self.leaves.append(Leaf(name, "", time))
            return
        code = self._code(base)
        if not self.parts or not isinstance(self.parts[-1], _Block):
            self.parts.append(_Block())
        block = self.parts[-1]
        assert isinstance(block, _Block)
        block.names.append(name)
        block.codes.append(code)
        self.leaves.append(Leaf(name, code, time))
        if code in "fd":
            self._numbers.append(name)

    def _add_many(
        self, name: str, types: Typestore, node: Any, what: Any, fixed: int | None, depth: int, time: bool
    ) -> None:
        if node == Nodetype.NAME:
            if depth > _MAX_DEPTH:
                raise EnvelopeError(f"{self.type} is nested too deep")
            layout = Layout(self.type)
            layout.add("", types, (node, what), depth + 1, time)
            part = _Messages(name, layout, fixed)
            self.parts.append(part)
            self._messages.append(part)
            self.leaves += [Leaf(f"{name}[].{x.pattern}", x.code, x.time, x.fixed) for x in layout.leaves]
        elif what[0] == "string":
            self.parts.append(_Texts(name, fixed))
            self.leaves.append(Leaf(f"{name}[]", "", time, fixed))
        else:
            code = self._code(what[0])
            self.parts.append(_Numbers(name, code, fixed))
            self.leaves.append(Leaf(f"{name}[]", code, time, fixed))
            if code in "fd":
                self._arrays.append(name)

    def _code(self, base: str) -> str:
        if base not in _CODES:
            raise EnvelopeError(f"{self.type} has a field of the type {base}, which cannot be read here")
        return _CODES[base]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type that a path names: `pick` returns its values in a message, raising FieldError if it lacks it.

    `key` is set for a single number outside of sequences: `tree[key]` is its value. `code` as in Leaf. `single` says
    that the path names one value; `sizes` returns the lengths of the sequences for a path that ends at one.
    """

    path: str
    key: str | None
    code: str
    single: bool
    pick: Callable[[Tree], Sequence[Any]]
    is_sequence: bool = False


def _field(layout: Layout, part: _Part, name: str, rest: Path, text: str) -> Field:
    wrong = EnvelopeError(f"{text} is no field of {layout.type} that can be bounded")
    if isinstance(part, (_Block, _Text)):
        if rest:
            raise wrong
        code = part.codes[part.names.index(name)] if isinstance(part, _Block) else ""
        return Field(text, name if code else None, code, True, lambda tree: (tree[name],))
    if not rest:  # a sequence itself, to bound its length
        return Field(text, None, "", True, lambda tree: (len(tree[name]),), is_sequence=True)
    index = rest[0]
    if isinstance(index, str):
        raise wrong
    if isinstance(part, _Messages):
        inner = part.layout.field(_format(rest[1:])) if len(rest) > 1 else None
        if inner is None:
            raise wrong
        pick, single = inner.pick, inner.single and index is not None
        if index is None:
            return Field(
                text, None, inner.code, single, lambda tree: _joined([pick(i) for i in tree[name]]), inner.is_sequence
            )
        return Field(
            text, None, inner.code, single, lambda tree: pick(_element(tree[name], index, text)), inner.is_sequence
        )
    if len(rest) > 1:
        raise wrong
    code = part.types[1].char if isinstance(part, _Numbers) else ""
    if index is None:
        return Field(text, None, code, False, lambda tree: tree[name])
    if isinstance(part, _Numbers):
        return Field(text, None, code, True, lambda tree: (_element(tree[name], index, text).item(),))
    return Field(text, None, code, True, lambda tree: (_element(tree[name], index, text),))


def _joined(values: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Return the values of all elements as one sequence; arrays stay an array, which is fast to compare."""
    if any(isinstance(part, np.ndarray) for part in values):
        return np.concatenate([part for part in values if len(part)])  # type: ignore[return-value]
    return [value for part in values for value in part]


def _element(values: Sequence[Any], index: int, text: str) -> Any:
    if not -len(values) <= index < len(values):
        raise FieldError(f"the message has no {text}: there are {len(values)} elements")
    return values[index]


def _format(path: Path) -> str:
    text = ""
    for step in path:
        text += (f".{step}" if text else step) if isinstance(step, str) else f"[{'*' if step is None else step}]"
    return text


class MessageTypes:
    """The known message types: those that come with ROS 2 Jazzy, and others by the text of their .msg files."""

    def __init__(self, definitions: Mapping[str, str] | None = None) -> None:
        """`definitions` gives .msg texts by type ("our_msgs/msg/Own"); raises EnvelopeError for what is none."""
        self._types = get_typestore(Stores.ROS2_JAZZY)
        self._layouts: dict[str, Layout] = {}
        found: dict[str, Any] = {}
        for name, text in (definitions or {}).items():
            if name in self._types.fielddefs:
                raise EnvelopeError(f"{name} comes with ROS and cannot be defined anew")
            try:
                found.update({k: v for k, v in get_types_from_msg(text, name).items() if k == name})
            except Exception as error:  # the parser's own errors are of many kinds
                reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise EnvelopeError(f"the definition of {name[:80]!a} cannot be read: {reason}") from error
            if name not in found:
                raise EnvelopeError(f"{name[:80]!a} is no message type like our_msgs/msg/Own")
        try:
            self._types.register(found)
        except Exception as error:
            raise EnvelopeError(f"the definitions do not fit together: {str(error)[:200]}") from error

    def layout(self, type: str) -> Layout:
        """Return the compiled layout of a type; raises EnvelopeError for an unknown type."""
        layout = self._layouts.get(type)
        if layout is None:
            if type not in self._types.fielddefs:
                raise EnvelopeError(f"the message type {type[:80]!a} is unknown; give its .msg text under definitions")
            layout = Layout(type)
            layout.add("", self._types, (Nodetype.NAME, type), 0, False)
            self._layouts[type] = layout
        return layout
