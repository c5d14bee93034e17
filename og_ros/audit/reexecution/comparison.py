"""Compares two messages of a type field by field: numbers with a fraction within a tolerance, all else exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from og_ros.errors import AttestationError, ConfigError

_MAX_DEPTH: Final = 32
_SHOWN: Final = 80


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may be apart: absolute + relative × |the number that was computed here|."""

    absolute: float = 1e-4
    relative: float = 1e-3

    @property
    def text(self) -> str:
        """The tolerance in words."""
        return f"{self.absolute:g} + {self.relative:g} × |value|"


DEFAULT_TOLERANCE: Final = Tolerance()


def parse_tolerance(text: str) -> Tolerance:
    """Read "ABSOLUTE" (relative: 0) or "ABSOLUTE,RELATIVE", such as "1e-5,1e-4"; raises ConfigError otherwise."""
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or not all(math.isfinite(n) and n >= 0 for n in numbers):
        raise ConfigError(f"the tolerance {text[:40]!a} is not known; give ABSOLUTE or ABSOLUTE,RELATIVE (1e-5,1e-4)")
    return Tolerance(numbers[0], numbers[1] if len(numbers) == 2 else 0.0)


@dataclass(frozen=True)
class Difference:
    """A field that is further apart than it may be; `error` is the distance, infinite where there is none."""

    field: str
    recorded: str
    computed: str
    error: float

    def __str__(self) -> str:
        apart = f", {self.error:.3g} apart" if math.isfinite(self.error) else ""
        return f"{self.field} is {self.recorded}, computed {self.computed}{apart}"


@dataclass(frozen=True)
class Comparison:
    """The outcome: the largest distance of two numbers, how many fields differ too much, and the worst of them."""

    largest_error: float
    differing: int
    worst: Difference | None


def compare(
    recorded: bytes | memoryview,
    computed: bytes | memoryview,
    message_type: str,
    tolerance: Tolerance,
    definitions: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare a recorded message with the one that was computed.

    Numbers with a fraction (float32, float64) may differ within the tolerance, not-a-number equals itself. Integers,
    texts, booleans, stamps and the lengths of arrays must be the same; bytes that stand for numbers, such as the data
    of an image, count as integers. `definitions` holds the .msg text of types that are not ROS 2's own.

    Raises AttestationError when a message cannot be decoded, or its type is not known.
    """
    store = _store(message_type, definitions)
    ours, theirs = (_decode(store, payload, message_type) for payload in (computed, recorded))
    largest, count, worst = 0.0, 0, None
    for path, a, b in _pairs(theirs, ours, "", 0):
        error, differing, difference = _leaf(path, a, b, tolerance)
        largest = max(largest, error) if math.isfinite(error) else largest
        count += differing
        if difference is not None and (worst is None or difference.error > worst.error):
            worst = difference
    return Comparison(largest, count, worst)


@lru_cache(maxsize=1)
def _own_types() -> Typestore:
    return get_typestore(Stores.ROS2_JAZZY)


def _store(message_type: str, definitions: Mapping[str, str] | None) -> Typestore:
    """Return a type store that knows a type; ROS 2's own types are never taken from a recording."""
    own = _own_types()
    if message_type in own.fielddefs:
        return own
    text = (definitions or {}).get(message_type)
    if text is None:
        raise AttestationError(f"the definition of {message_type} is not known, so its fields cannot be compared")
    store = get_typestore(Stores.ROS2_JAZZY)
    try:
        found = get_types_from_msg(text, message_type)
        store.register({name: value for name, value in found.items() if name not in own.fielddefs})
    except Exception as error:  # rosbags' grammar raises what it likes on a robot's text
        raise AttestationError(f"the definition of {message_type} cannot be read: {_line(error)}") from error
    return store


def _decode(store: Typestore, payload: bytes | memoryview, message_type: str) -> Any:
    try:
        return store.deserialize_cdr(payload, message_type)
    except Exception as error:  # struct, index, Unicode and numpy errors on bytes of anybody's choice
        raise AttestationError(f"the message is no {message_type}: {_line(error)}") from error


def _pairs(recorded: Any, computed: Any, path: str, depth: int) -> Iterator[tuple[str, Any, Any]]:
    """Yield each leaf of two messages of a type: numbers, texts, arrays of numbers, lists that differ in length."""
    if depth > _MAX_DEPTH:
        raise AttestationError(f"the message is nested more than {_MAX_DEPTH} deep")
    if is_dataclass(recorded):
        for field in fields(recorded):
            if field.name != "__msgtype__":
                name = f"{path}.{field.name}" if path else field.name
                yield from _pairs(getattr(recorded, field.name), getattr(computed, field.name), name, depth + 1)
    elif isinstance(recorded, list) and len(recorded) == len(computed):
        for index, (a, b) in enumerate(zip(recorded, computed, strict=True)):
            yield from _pairs(a, b, f"{path}[{index}]", depth + 1)
    else:
        yield path, recorded, computed


def _leaf(path: str, recorded: Any, computed: Any, tolerance: Tolerance) -> tuple[float, int, Difference | None]:
    """Return the largest distance, how many numbers are too far apart, and the worst of them."""
    if isinstance(recorded, list):
        return _inexact(path, f"{len(recorded)} items", f"{len(computed)} items")
    if isinstance(recorded, str):
        return (0.0, 0, None) if recorded == computed else _inexact(path, repr(recorded), repr(computed))
    a, b = np.asarray(recorded), np.asarray(computed)
    if a.shape != b.shape:
        return _inexact(path, f"{a.size} numbers", f"{b.size} numbers")
    if not a.size:
        return 0.0, 0, None
    with np.errstate(all="ignore"):
        x, y = a.astype(np.float64), b.astype(np.float64)
        same = (a == b) | (np.isnan(x) & np.isnan(y))
        distance = np.where(same, 0.0, np.abs(x - y))
        distance[np.isnan(distance)] = np.inf
        beyond = ~same
        if a.dtype.kind == "f":
            # Not within any distance: a number that is infinite, or none, on one side only.
            beyond &= ~((distance <= tolerance.absolute + tolerance.relative * np.abs(y)) & np.isfinite(distance))
    finite = distance[np.isfinite(distance)]
    largest = float(finite.max()) if finite.size else 0.0
    count = int(beyond.sum())
    if not count:
        return largest, 0, None
    at = np.unravel_index(int(np.argmax(np.where(beyond, distance, -1.0))), distance.shape)
    name = f"{path}[{at[0]}]" if at else path
    return largest, count, Difference(name, _number(a[at]), _number(b[at]), float(distance[at]))


def _inexact(path: str, recorded: str, computed: str) -> tuple[float, int, Difference]:
    return math.inf, 1, Difference(path, recorded[:_SHOWN], computed[:_SHOWN], math.inf)


def _number(value: Any) -> str:
    return f"{value:.9g}" if value.dtype.kind == "f" else str(value)


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
