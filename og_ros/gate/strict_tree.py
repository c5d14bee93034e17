"""Reads mappings, lists and values field by field, from YAML or from JSON; an error names the line and the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import yaml

from og_ros.errors import EnvelopeError, PolicyError, RegistryError
from og_ros.policy_yaml import compose
from og_ros.registry import strict_json

MAX_SIZE: Final = 1_000_000
_MAX_NODES: Final = 50_000
_MAX_SCALAR: Final = 64


class Fields:
    """One mapping; whatever was not asked for is an error (`end`)."""

    def __init__(self, tree: Any, path: str, where: Callable[[str], str]) -> None:
        """`where` gives the place of a path, such as "file.yaml:12"; raises EnvelopeError for what is no mapping."""
        self._path, self._where = path, where
        if type(tree) is not dict:
            raise self.error("", "must be a mapping")
        self._tree: dict[str, Any] = tree
        self._asked: set[str] = set()

    def error(self, name: str, problem: str) -> EnvelopeError:
        """Return an error about a field, or about the mapping itself."""
        path = _join(self._path, name)
        shown = path if len(path) <= 120 and path.isprintable() else ascii(path[:120])
        return EnvelopeError(f"{self._where(path)}: {shown or 'the envelope'} {problem}")

    def has(self, name: str) -> bool:
        """Return whether a field is there, and note that it is known."""
        self._asked.add(name)
        return name in self._tree

    def text(self, name: str, default: str | None = None, limit: int = 255) -> str:
        """Return a text of one line that prints; without a default it must be there."""
        value = self._value(name, default)
        if type(value) is not str or len(value) > limit or not value.isprintable():
            raise self.error(name, f"must be text of one line and at most {limit} characters")
        return value

    def block(self, name: str, limit: int) -> str:
        """Return a text of any number of lines."""
        value = self._value(name, None)
        if type(value) is not str or len(value) > limit:
            raise self.error(name, f"must be text of at most {limit} characters")
        return value

    def number(self, name: str, low: float = -1e15, high: float = 1e15) -> float | None:
        """Return a number within bounds, None when it is missing."""
        if not self.has(name):
            return None
        return self._number(name, self._tree[name], low, high)

    def needed_number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """Return a number within bounds that must be there, or else its default."""
        return self._number(name, self._value(name, default), low, high)

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """Return a whole number within bounds."""
        value = self._value(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.error(name, f"must be a whole number from {low} to {high}")
        return value

    def texts(self, name: str, limit: int = 64) -> tuple[str, ...]:
        """Return a list of texts, no text twice; empty when it is missing."""
        items = self.items(name, limit)
        for item in items:
            if type(item) is not str or not item or len(item) > 255 or not item.isprintable():
                raise self.error(name, "must be a list of texts")
        if len(set(items)) != len(items):
            raise self.error(name, "has an entry twice")
        return tuple(items)

    def points(self, name: str, least: int, limit: int) -> tuple[tuple[float, float], ...]:
        """Return a list of pairs of numbers."""
        items = self.items(name, limit)
        if len(items) < least:
            raise self.error(name, f"must have {least} points or more, each [x, y]")
        found = []
        for item in items:
            if type(item) is not list or len(item) != 2:
                raise self.error(name, "must be a list of points, each [x, y]")
            found.append((self._number(name, item[0], -1e7, 1e7), self._number(name, item[1], -1e7, 1e7)))
        return tuple(found)

    def items(self, name: str, limit: int = 256) -> list[Any]:
        """Return a list of at most `limit` items, empty when it is missing."""
        if not self.has(name):
            return []
        value = self._tree[name]
        if type(value) is not list or len(value) > limit:
            raise self.error(name, f"must be a list of at most {limit} items")
        return value

    def each(self, name: str, limit: int = 256) -> Iterator[Fields]:
        """Yield the mappings of a list; none when it is missing."""
        for number, item in enumerate(self.items(name, limit)):
            yield Fields(item, f"{_join(self._path, name)}[{number}]", self._where)

    def named(self, name: str, limit: int = 256) -> Iterator[tuple[str, Fields]]:
        """Yield the entries of a mapping of mappings; none when it is missing."""
        if not self.has(name):
            return
        value = self._tree[name]
        if type(value) is not dict or len(value) > limit:
            raise self.error(name, f"must be a mapping of at most {limit} entries")
        for key, item in value.items():
            yield key, Fields(item, _join(_join(self._path, name), key), self._where)

    def section(self, name: str) -> Fields | None:
        """Return a mapping, None when it is missing."""
        return Fields(self._tree[name], _join(self._path, name), self._where) if self.has(name) else None

    def names(self) -> list[str]:
        """Return the names of the fields that are there."""
        return list(self._tree)

    def end(self) -> None:
        """Raise EnvelopeError for the first field that nobody asked for."""
        for name in self._tree:
            if name not in self._asked:
                raise self.error(name, f"is unknown; known here: {', '.join(sorted(self._asked))}")

    def _value(self, name: str, default: Any) -> Any:
        if self.has(name):
            return self._tree[name]
        if default is None:
            raise self.error(name, "is missing")
        return default

    def _number(self, name: str, value: Any, low: float, high: float) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise self.error(name, f"must be a number from {low:g} to {high:g}")
        return float(value) + 0.0  # -0.0 becomes 0.0: one form of one number


def from_json(data: bytes, what: str) -> Fields:
    """Read JSON strictly; raises EnvelopeError, naming `what`."""
    try:
        tree = strict_json.loads(data, what, MAX_SIZE)
    except RegistryError as error:
        raise EnvelopeError(str(error)) from error
    return Fields(tree, "", lambda _: what)


def from_yaml(data: bytes, file: str) -> Fields:
    """Read YAML: mappings with text keys, lists, texts, numbers; raises EnvelopeError, naming file and line.

    No tags, no anchors. A time of day such as 06:00 and a date are texts, whatever YAML 1.1 makes of them.
    """
    try:
        root = compose(data, file, MAX_SIZE)
    except PolicyError as error:
        raise EnvelopeError(str(error)) from error
    reader = _Yaml(file)
    return Fields(reader.tree(root, "", 0), "", reader.where)


class _Yaml:
    """Turns YAML nodes into plain values, and remembers the line of each path."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[str, int] = {}
        self._seen: set[int] = set()

    def where(self, path: str) -> str:
        """Return file and line of a path, or of what it would stand in."""
        while path and path not in self._lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return f"{self._file}:{self._lines.get(path, 1)}"

    def tree(self, node: yaml.Node | None, path: str, depth: int) -> Any:
        if node is None:
            return {}
        self._lines[path] = int(node.start_mark.line) + 1
        if id(node) in self._seen:
            raise EnvelopeError(f"{self.where(path)}: an alias (*name) is not allowed; write it out")
        self._seen.add(id(node))
        if depth > 16 or len(self._seen) > _MAX_NODES:
            raise EnvelopeError(f"{self.where(path)}: too deep or too large")
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value in found:
                    line = int(key.start_mark.line) + 1
                    raise EnvelopeError(f"{self._file}:{line}: a key is no text, or there twice")
                found[key.value] = self.tree(value, _join(path, key.value), depth + 1)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self.tree(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: str) -> Any:
        text = str(node.value)
        kind = node.tag.rpartition(":")[2]
        if kind in ("str", "timestamp") or (kind in ("int", "float") and ":" in text):
            return text
        if kind in ("int", "float") and len(text) <= _MAX_SCALAR:
            try:
                value = yaml.SafeLoader("").construct_object(node)
            except (ValueError, LookupError, OverflowError, yaml.YAMLError) as error:
                raise EnvelopeError(f"{self.where(path)}: {text[:40]!a} is no number") from error
            if type(value) is int or (type(value) is float and math.isfinite(value)):
                return value
        raise EnvelopeError(f"{self.where(path)}: {text[:40]!a} is neither text nor a finite number")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name
