"""Reads a policy's reference values for one format: a mapping of known fields, each with its kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from og_ros.errors import PolicyError
from og_ros.evidence.interface import AppraisalPolicy


class ReferenceValues:
    """The reference values of one format, read field by field; `end` refuses what nobody asked for."""

    def __init__(self, policy: AppraisalPolicy, evidence_format: str) -> None:
        """Take a format's part of a policy, which may be absent; raises PolicyError if it is no mapping."""
        values = policy.reference_values.get(evidence_format, {})
        if not isinstance(values, Mapping):
            raise PolicyError(f"reference_values.{evidence_format} must be a mapping")
        self._values, self._name = values, f"reference_values.{evidence_format}"
        self._asked: set[str] = set()

    def _get(self, field: str) -> Any:
        self._asked.add(field)
        return self._values.get(field)

    def _error(self, field: str, problem: str) -> PolicyError:
        return PolicyError(f"{self._name}.{field} {problem}")

    def digests(self, field: str, size: int) -> tuple[str, ...]:
        """Return the allowed values of a measurement as lower-case hex of `size` bytes: one, or a list of them."""
        return self._digests(field, self._get(field), size)

    def registers(self, field: str, count: int, size: int) -> dict[int, tuple[str, ...]]:
        """Return the allowed values of numbered registers."""
        value = self._get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not value:
            raise self._error(field, "must be a mapping from a register's number to its value")
        found = {}
        for number, item in value.items():
            index = int(number) if str(number).isdecimal() and len(str(number)) < 4 else -1
            if not 0 <= index < count:
                raise self._error(field, f"has {str(number)[:20]!a}; a register is numbered 0 to {count - 1}")
            found[index] = self._digests(f"{field}.{index}", item, size)
        return found

    def texts(self, field: str, default: Collection[str], allowed: Collection[str] | None = None) -> tuple[str, ...]:
        """Return a list of texts, each of the allowed ones."""
        value = self._get(field)
        if value is None:
            return tuple(default)
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not items or not all(isinstance(item, str) for item in items):
            raise self._error(field, "must be a text or a list of texts")
        if allowed is not None and (wrong := [item for item in items if item not in allowed]):
            raise self._error(field, f"must be of: {', '.join(allowed)}; not {wrong[0][:40]!a}")
        return tuple(items)

    def numbers(self, field: str, default: Collection[int], high: int) -> tuple[int, ...]:
        """Return a list of integers from 0 to `high`; one alone counts as a list."""
        value = self._get(field)
        if value is None:
            return tuple(default)
        items = value if isinstance(value, (list, tuple)) else [value]
        if not items or not all(type(item) is int and 0 <= item <= high for item in items):
            raise self._error(field, f"must be integers from 0 to {high}")
        return tuple(items)

    def flag(self, field: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._error(field, "must be true or false")
        return value

    def least(self, field: str, names: Collection[str]) -> dict[str, int]:
        """Return the least versions of named parts."""
        value = self._get(field)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(
            name in names and type(number) is int and 0 <= number <= 255 for name, number in value.items()
        ):
            raise self._error(field, f"must give versions from 0 to 255 for: {', '.join(names)}")
        return dict(value)

    def end(self) -> None:
        """Raise PolicyError for the first field that nobody asked for: a misspelt demand must not count for nothing."""
        for name in self._values:
            if name not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise PolicyError(f"{self._name}.{str(name)[:40]} is unknown; known: {known}")

    def _digests(self, field: str, value: object, size: int) -> tuple[str, ...]:
        if value is None:
            return ()
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not items:
            raise self._error(field, "must be a value in hex, quoted, or a list of them")
        found = []
        for item in items:
            text = item.removeprefix("0x").lower() if isinstance(item, str) else ""
            try:
                good = len(text) == 2 * size and len(bytes.fromhex(text)) == size
            except ValueError:
                good = False
            if not good:
                raise self._error(field, f"must be {size} bytes in hex, quoted")
            found.append(text)
        return tuple(found)
