"""Builds frozen dataclasses from plain mappings (YAML, ROS parameters); every error names the field by its path."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from og_ros.errors import ConfigError

T = TypeVar("T")


def build(kind: type[T], data: object, path: str = "") -> T:
    """Return a dataclass made from a mapping.

    Field types may be str, int, float, bool, Path, Literal, X | None, tuple[X, ...], tuple[X, Y], Mapping[str, X],
    Mapping[str, object] (kept as it is) and dataclasses of these. A field without a default is required, an unknown
    key is refused, an integer is taken for a float and for nothing else.

    Raises ConfigError: "stages.perception.model.path is missing". `path` is what the names begin with.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'the configuration'} must be a mapping, not {_shown(data)}")
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind) if field.init}
    for key in data:
        if key not in known:
            choices = ", ".join(sorted(known)) or "none"
            raise ConfigError(f"{_join(path, key)} is not known; known here: {choices}")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _join(path, name))
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{_join(path, name)} is missing")
    try:
        return cast(T, kind(**values))
    except ConfigError as error:
        raise ConfigError(_behind(path, str(error), known)) from error


def _convert(kind: Any, value: object, path: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path} is {_shown(value)}; it must be one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _sequence(arguments, value, path)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1], value, path)
    if is_dataclass(kind):
        return build(cast(type, kind), value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    if kind is object:
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {str: "text (quote it)", int: "an integer", float: "a number", bool: "true or false", Path: "a path"}
        raise ConfigError(f"{path} is {_shown(value)}; it must be {names[kind]}")
    return value


def _sequence(arguments: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{path} is {_shown(value)}; it must be a list")
    if arguments[-1] is Ellipsis:
        return tuple(_convert(arguments[0], item, f"{path}[{index}]") for index, item in enumerate(value))
    if len(value) != len(arguments):
        raise ConfigError(f"{path} has {len(value)} items; it must have {len(arguments)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_convert(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(pairs))


def _mapping(kind: Any, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path} is {_shown(value)}; it must be a mapping")
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{_join(path, key)}: the key must be text (quote it)")
    return {key: _convert(kind, item, _join(path, key)) for key, item in value.items()}


def _behind(path: str, message: str, known: Collection[str]) -> str:
    """Put a path in front of the message of a dataclass, which begins with the name of a field or does not."""
    begins_with_field = message.split(" ", 1)[0].partition(".")[0].rstrip(":") in known
    return _join(path, message) if begins_with_field or not path else f"{path}: {message}"


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
