"""Strict JSON: one meaning for one text. Duplicate keys, NaN and floats out of range are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from og_ros.errors import RegistryError


def loads(data: bytes, what: str, limit: int) -> Any:
    """Read JSON (RFC 8259) of at most `limit` bytes of UTF-8; raises RegistryError, naming `what`."""
    if len(data) > limit:
        raise RegistryError(f"{what} is {len(data)} bytes long; {limit} are allowed")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RegistryError(f"{what} is not UTF-8") from error
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise RegistryError(f"{what} is malformed JSON: {error}") from error


def dumps(tree: Any) -> bytes:
    """Return compact JSON in ASCII with sorted keys."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def fields(tree: Any, what: str, kinds: Mapping[str, type], *, open_ended: bool = False) -> dict[str, Any]:
    """Return a JSON object that has each field of `kinds` with a value of that very type.

    Unknown fields are refused unless `open_ended`. Raises RegistryError, naming `what` and the field.
    """
    if type(tree) is not dict:
        raise RegistryError(f"{what} is not a JSON object")
    for name, kind in kinds.items():
        if name not in tree:
            raise RegistryError(f"{what} lacks the field {name!r}")
        if type(tree[name]) is not kind:  # not isinstance: true is no integer
            raise RegistryError(f"{what}: the field {name!r} is no {kind.__name__}")
    unknown = sorted(tree.keys() - kinds.keys())
    if unknown and not open_ended:
        raise RegistryError(f"{what} has the unknown field {unknown[0][:40]!a}")
    return tree


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:40]!a} stands there twice")
    return tree


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value
