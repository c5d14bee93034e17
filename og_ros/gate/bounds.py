"""The limits of an envelope, compiled for a message type: each looks at a command and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, inf
from typing import Any, Final, Protocol

import numpy as np

from og_ros.errors import EnvelopeError
from og_ros.gate.envelope import Bound
from og_ros.gate.message_fields import Field, Layout, Tree

_ROUNDING: Final = 1e-9
"""Part by which a change may exceed its limit: what adding up 64-bit numbers costs, and far below any actuator."""


class Limit(Protocol):
    """One limit on a command. It changes only when a command was forwarded."""

    def problem(self, tree: Tree, now_ns: int) -> str | None:
        """Return what is wrong with a command at a monotonic time; None when nothing is. Raises FieldError."""

    def forwarded(self, tree: Tree, now_ns: int) -> None:
        """Take note of a command that went to the motors."""


def compile_bound(bound: Bound, layout: Layout) -> list[Limit]:
    """Return the limits of a bound for a type; raises EnvelopeError when they do not fit its fields."""
    fields = [layout.field(text) for text in bound.fields]
    first = fields[0]
    if bound.max_length is not None:
        if not first.is_sequence:
            raise EnvelopeError(f"max_length: {first.path} of {layout.type} is no array or sequence")
        return [_Range(first, -inf, bound.max_length, "elements in")]
    if bound.one_of:
        if first.code or first.is_sequence:
            raise EnvelopeError(f"one_of: {first.path} of {layout.type} is no text")
        return [_OneOf(first, bound.one_of)]
    for field in fields:
        if not field.code:
            raise EnvelopeError(f"{field.path} of {layout.type} is no number")
        if (len(fields) > 1 or bound.has_rate) and not field.single:
            raise EnvelopeError(f"{field.path} names many values; a magnitude or a rate is of single ones")
    if len(fields) > 1:
        return [_Magnitude(fields, bound.maximum or 0.0)]
    found: list[Limit] = []
    if bound.minimum is not None or bound.maximum is not None:
        low = -inf if bound.minimum is None else _as(first.code, bound.minimum)
        high = inf if bound.maximum is None else _as(first.code, bound.maximum)
        found.append(_Range(first, low, high))
    if bound.max_rate is not None:
        found.append(_Rate(first, bound.max_rate, bound))
    if bound.max_rise is not None:
        found.append(_Rise(first, bound.max_rise, bound))
    return found


def _as(code: str, value: float) -> float:
    """Return a bound as a field of 32 bits can hold it: 0.1 is 0.10000000149 there, and no more than 0.1."""
    return float(np.float32(value)) if code == "f" else value


class _Range:
    def __init__(self, field: Field, low: float, high: float, what: str = "") -> None:
        self._key, self._pick, self._low, self._high = field.key, field.pick, low, high
        self._name = f"{what} {field.path}".strip()

    def problem(self, tree: Tree, now_ns: int) -> str | None:
        if self._key is not None:
            value = tree[self._key]
            return None if self._low <= value <= self._high else self._text(value)
        values = self._pick(tree)
        if not len(values):
            return None
        least, most = least_of(values), most_of(values)
        if self._low <= least and most <= self._high:
            return None
        return self._text(least if not self._low <= least else most)

    def forwarded(self, tree: Tree, now_ns: int) -> None:
        pass

    def _text(self, value: float) -> str:
        limit = f"at least {self._low:g}" if value < self._low else f"at most {self._high:g}"
        return f"{self._name} is {value:g}; {limit} is allowed"


class _Magnitude:
    def __init__(self, fields: Sequence[Field], high: float) -> None:
        self._picks = [field.pick for field in fields]
        self._high = _as("f", high) if all(field.code == "f" for field in fields) else high
        self._name = ", ".join(field.path for field in fields)

    def problem(self, tree: Tree, now_ns: int) -> str | None:
        value = hypot(*(pick(tree)[0] for pick in self._picks))
        if value <= self._high:
            return None
        return f"the magnitude of {self._name} is {value:g}; at most {self._high:g} is allowed"

    def forwarded(self, tree: Tree, now_ns: int) -> None:
        pass


class _OneOf:
    def __init__(self, field: Field, allowed: Sequence[str]) -> None:
        self._field, self._allowed = field, frozenset(allowed)

    def problem(self, tree: Tree, now_ns: int) -> str | None:
        for text in self._field.pick(tree):
            if text not in self._allowed:
                return f"{self._field.path} is {text[:80]!a}, which is not one of those allowed"
        return None

    def forwarded(self, tree: Tree, now_ns: int) -> None:
        pass


class _Rate:
    """The change of a value, either way: within any span of T s, at most rate * (T + jitter).

    It keeps the least and the greatest value that every earlier command leaves room for, which move apart at the rate.
    So a flood of commands gains nothing.
    """

    def __init__(self, field: Field, rate: float, bound: Bound) -> None:
        self._field, self._rate, self._bound = field, rate, bound
        self._room: tuple[float, float] | None = None
        self._last_ns = 0
        self._slack = rate * bound.jitter_s + _ROUNDING * (1 + rate)

    def problem(self, tree: Tree, now_ns: int) -> str | None:
        room = self._room_at(now_ns)
        if room is None:
            return None
        value = float(self._field.pick(tree)[0])
        if room[0] - self._slack <= value <= room[1] + self._slack:
            return None
        return f"{self._field.path} changes to {value:g} faster than {self._rate:g} a second: {self._shown(room)}"

    def forwarded(self, tree: Tree, now_ns: int) -> None:
        value = float(self._field.pick(tree)[0])
        room = self._room_at(now_ns)
        self._room = self._after(value, room)
        self._last_ns = now_ns

    def _room_at(self, now_ns: int) -> tuple[float, float] | None:
        if self._room is None:
            return None
        more = self._rate * min(max(now_ns - self._last_ns, 0) * 1e-9, self._bound.longest_gap_s)
        return self._room[0] - more, self._room[1] + more

    def _after(self, value: float, room: tuple[float, float] | None) -> tuple[float, float]:
        return (value, value) if room is None else (max(room[0], value), min(room[1], value))

    def _shown(self, room: tuple[float, float]) -> str:
        return f"{room[0] - self._slack:.6g} to {room[1] + self._slack:.6g} is in reach"


class _Rise(_Rate):
    """The change away from zero. After a silence longer than the longest gap, a robot counts as standing still."""

    def _room_at(self, now_ns: int) -> tuple[float, float]:
        gap = self._bound.longest_gap_s
        silent = max(now_ns - self._last_ns, 0) * 1e-9
        low, high = self._room if self._room is not None and silent <= gap else (0.0, 0.0)
        more = self._rate * min(silent, gap) if self._room is not None else self._rate * gap
        return low - more, high + more

    def _after(self, value: float, room: tuple[float, float] | None) -> tuple[float, float]:
        assert room is not None
        return max(room[0], min(value, 0.0)), min(room[1], max(value, 0.0))


def least_of(values: Any) -> float:
    """Return the least of some numbers; NaN if one is, for an array."""
    return float(values.min() if isinstance(values, np.ndarray) else min(values))


def most_of(values: Any) -> float:
    """Return the greatest of some numbers; NaN if one is, for an array."""
    return float(values.max() if isinstance(values, np.ndarray) else max(values))
