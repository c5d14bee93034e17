"""What a latched gate publishes: the neutral message, or the last verified command repeated or scaled down to zero."""

from __future__ import annotations

import array
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import yaml
from rclpy.serialization import deserialize_message, serialize_message

from og_ros.errors import ConfigError
from og_ros.gate.settings import SafeBehaviour
from og_ros.nodes.topics import has_header

_STEP: Final = re.compile(r"([a-z][a-z0-9_]*)(?:\[(\d+)\])?")
_FLOATING: Final = ("float", "double", "long double")


def parse_fields(texts: Iterable[str]) -> dict[str, object]:
    """Read "field=value" texts, the form of a ROS parameter; values are YAML. Raises ConfigError."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"neutral: {text!a} is not FIELD=VALUE, such as data=[0.0, 0.0]")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"neutral: the value of {name.strip()} cannot be read") from error
    return found


class SafeMotion:
    """Makes the messages of one safe behaviour for one message type. Times are monotonic ns."""

    def __init__(self, behaviour: SafeBehaviour, kind: Any) -> None:
        """Raises ConfigError for a field that the type does not have, or a value that does not fit it."""
        self.behaviour = behaviour
        self._kind, self._stamped = kind, has_header(kind)
        self._neutral = kind()
        _set_fields(self._neutral, behaviour.neutral)
        for name in behaviour.scaled:
            _find(kind(), name)
        self._began_ns = self._due_ns = 0
        self._on = False
        self._last: bytes | None = None

    @property
    def on(self) -> bool:
        """Whether the behaviour is under way."""
        return self._on

    def start(self, last: bytes | None, now_ns: int) -> None:
        """Begin with the last verified command; without one, only the neutral message is published."""
        self._on, self._last = True, last
        self._began_ns = self._due_ns = now_ns

    def stop(self) -> None:
        """End it: commands pass again."""
        self._on, self._last = False, None

    def due_ns(self) -> int | None:
        """Return when the next message is due; None while it is off."""
        return self._due_ns if self._on else None

    def next(self, now_ns: int, stamp: Any) -> bytes | None:
        """Return the message that is due at a time, serialised, or None; `stamp` is for its header, if it has one."""
        if not self._on or now_ns < self._due_ns:
            return None
        self._due_ns = max(self._due_ns + self.behaviour.period_ns, now_ns)
        left = 1.0 - (now_ns - self._began_ns) / self.behaviour.duration_ns
        if self._last is None or left <= 0 or self.behaviour.kind not in ("hold", "decelerate"):
            return self.neutral(stamp)
        if self.behaviour.kind == "hold" and not self._stamped:
            return self._last
        try:
            message = deserialize_message(self._last, self._kind)
        except Exception:  # rclpy has no error of its own for it: a command that verified, and is no such message
            self._last = None
            return self.neutral(stamp)
        if self.behaviour.kind == "decelerate":
            if self.behaviour.scaled:
                for name in self.behaviour.scaled:
                    _scale_field(message, name, left)
            else:
                _scale(message, left)
        return self._serialized(message, stamp)

    def neutral(self, stamp: Any) -> bytes:
        """Return the neutral message, serialised."""
        return self._serialized(self._neutral, stamp)

    def _serialized(self, message: Any, stamp: Any) -> bytes:
        if self._stamped:
            message.header.stamp = stamp
        return bytes(serialize_message(message))


def _steps(name: str) -> list[tuple[str, int | None]]:
    found = [_STEP.fullmatch(step) for step in name.split(".")]
    return [(step[1], int(step[2]) if step[2] else None) for step in found if step]


def _find(message: Any, name: str) -> tuple[Any, str, int | None]:
    """Return the message that holds a field, the field's name, and its index; raises ConfigError if there is none."""
    steps = _steps(name)
    for place, (field, index) in enumerate(steps):
        if field not in message.get_fields_and_field_types():
            raise ConfigError(f"the message has no field {name}")
        if place == len(steps) - 1:
            return message, field, index
        message = getattr(message, field)
        if index is not None:
            if index >= len(message):
                raise ConfigError(f"{name}: there is no element {index}")
            message = message[index]
        if not hasattr(message, "get_fields_and_field_types"):
            raise ConfigError(f"{name}: {field} has no fields")
    raise ConfigError(f"{name!a} is no field")


def _set_fields(message: Any, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        holder, field, index = _find(message, name)
        old = getattr(holder, field)
        try:
            if index is None:
                setattr(holder, field, _fitting(old, value))
            else:
                old[index] = _fitting(old[index], value)
        except (TypeError, ValueError, IndexError, OverflowError, AssertionError) as error:
            raise ConfigError(f"neutral: {name} cannot be {value!a}") from error


def _fitting(old: Any, value: Any) -> Any:
    """Return a value in the form of the one that it replaces; raises TypeError: rclpy itself looks only at names."""
    if isinstance(old, (bool, str, bytes)):
        if type(value) is not type(old):
            raise TypeError
        return value
    if isinstance(old, (int, float)):
        if isinstance(value, bool) or not isinstance(value, (int, type(old))):
            raise TypeError
        return type(old)(value)
    if not isinstance(value, list):
        raise TypeError
    if isinstance(old, array.array):
        return array.array(old.typecode, value)
    if isinstance(old, np.ndarray):
        if len(value) != len(old):
            raise ValueError
        return np.array(value, old.dtype)
    if isinstance(old, list) and all(isinstance(item, (bool, str)) for item in value):
        return value
    raise TypeError


def _scale_field(message: Any, name: str, factor: float) -> None:
    holder, field, index = _find(message, name)
    value = getattr(holder, field)
    if index is not None:
        if index < len(value):
            value[index] *= factor
    elif hasattr(value, "get_fields_and_field_types"):
        _scale(value, factor)
    else:
        setattr(holder, field, _scaled(value, factor))


def _scale(message: Any, factor: float) -> None:
    """Scale every floating number of a message outside its header."""
    for field, kind in message.get_fields_and_field_types().items():
        value = getattr(message, field)
        if kind == "std_msgs/Header":
            continue
        if hasattr(value, "get_fields_and_field_types"):
            _scale(value, factor)
        elif isinstance(value, list) and value and hasattr(value[0], "get_fields_and_field_types"):
            for item in value:
                _scale(item, factor)
        elif any(name in kind for name in _FLOATING):
            setattr(message, field, _scaled(value, factor))


def _scaled(value: Any, factor: float) -> Any:
    if isinstance(value, array.array):
        return array.array(value.typecode, (item * factor for item in value))
    if isinstance(value, np.ndarray):
        return (value * factor).astype(value.dtype)
    if isinstance(value, (list, tuple)):
        return [item * factor for item in value]
    return value * factor
