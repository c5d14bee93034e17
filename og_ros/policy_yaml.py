"""Reads a policy's YAML field by field: every error names file, line and field, and guesses what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from typing import Any

import yaml

from og_ros.errors import PolicyError

_MAX_SIZE = 1_000_000
# What PyYAML's constructors let out for a scalar that its explicit tag does not fit, such as `!!int ""`.
_CONSTRUCTION_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError)
# YAML 1.1 has numbers like 1:30:00, whose reading takes time by the square of their length.
_MAX_NUMBER = 64
_MAX_NODES = 10_000


def read(data: bytes, file: str) -> Section:
    """Return the top mapping of a YAML text; raises PolicyError for what is none, is not UTF-8 or over 1 MB."""
    return Section(file, compose(data, file, _MAX_SIZE), "policy")


def compose(data: bytes, file: str, limit: int) -> yaml.Node | None:
    """Return the nodes of a YAML text; raises PolicyError, naming file and line, for what is none or over a limit."""
    if len(data) > limit:
        raise PolicyError(f"{file} is larger than {limit} bytes")
    try:
        return yaml.compose(data.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise PolicyError(f"{file} is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        problem = " ".join(f"{error.context or ''} {error.problem or ''}".split())
        raise PolicyError(f"{place}: {problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PolicyError(f"{file}: {' '.join(str(error).split())[:200]}") from error


class Section:
    """One YAML mapping, read field by field; whatever was not asked for is an error (`end`)."""

    def __init__(self, file: str, node: yaml.Node | None, name: str) -> None:
        """Take a mapping, or nothing for an empty one; raises PolicyError for any other kind of node."""
        self._file, self._name = file, name
        self._line = _line(node) if node is not None else 1
        self._fields: dict[str, yaml.Node] = {}
        self._asked: dict[str, None] = {}
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
            return
        if not isinstance(node, yaml.MappingNode):
            raise PolicyError(f"{file}:{self._line}: {name} must be a mapping")
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise PolicyError(f"{file}:{_line(key)}: {name} has a key that is no text")
            if key.value in self._fields:
                raise PolicyError(f"{file}:{_line(key)}: {_shown(key.value)} stands twice in {name}")
            self._fields[key.value] = value

    def names(self) -> list[str]:
        """Return the fields that are there."""
        return list(self._fields)

    def has(self, name: str) -> bool:
        """Return whether a field is there, and note that it is known."""
        self._asked[name] = None
        return name in self._fields

    def is_mapping(self, name: str) -> bool:
        """Return whether a field is a mapping."""
        return isinstance(self._fields.get(name), yaml.MappingNode)

    def error(self, name: str, problem: str) -> PolicyError:
        """Return an error about a field."""
        node = self._fields.get(name)
        line = _line(node) if node is not None else self._line
        return PolicyError(f"{self._file}:{line}: {_shown(name)} {problem}")

    def section(self, name: str) -> Section:
        """Return a field as a mapping of its own; an empty one when it is missing."""
        self._asked[name] = None
        return Section(self._file, self._fields.get(name), _shown(name))

    def text(self, name: str) -> str | None:
        """Return a text, None when it is missing."""
        value = self._value(name)
        if value is not None and not isinstance(value, str):
            raise self.error(name, "must be text")
        return value

    def word(self, name: str) -> str:
        """Return a text of one line, or a number as it is written; empty when it is missing."""
        value = self._value(name)
        if value is None:
            return ""
        text = str(self._fields[name].value)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or not text.isprintable():
            raise self.error(name, "must be text of one line, or a number")
        return text

    def written(self, name: str) -> str:
        """Return one value as it is written, such as a time, which YAML would read as it likes; empty when missing."""
        self._asked[name] = None
        node = self._fields.get(name)
        if node is not None and not isinstance(node, yaml.ScalarNode):
            raise self.error(name, "must be one value")
        return "" if node is None else str(node.value)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty when it is missing."""
        found = []
        for item in self._items(name, "texts"):
            if not isinstance(item, yaml.ScalarNode) or not item.value:
                raise self._error_at(item, name, "must be a list of texts")
            found.append(item.value)
        return tuple(found)

    def texts_or_sections(self, name: str) -> Iterator[tuple[str | None, Section]]:
        """Yield the items of a list, each as its text (None for a mapping) and as a section, empty for a text."""
        for number, item in enumerate(self._items(name, "texts or mappings"), 1):
            path = f"{name}[{number}]"
            if isinstance(item, yaml.MappingNode):
                yield None, Section(self._file, item, path)
            elif isinstance(item, yaml.ScalarNode) and item.value:
                empty = Section(self._file, None, path)
                empty._line = _line(item)
                yield item.value, empty
            else:
                raise self._error_at(item, name, "must be a list of texts or mappings")

    def choice(self, name: str, values: Collection[str]) -> str:
        """Return one of some texts."""
        value = self._value(name)
        if value not in values:
            raise self.error(name, f"must be one of: {', '.join(values)}{_guess(value, values)}")
        return str(value)

    def number(self, name: str, default: float | None, low: float = 0.0, high: float = 1e18) -> float:
        """Return a number within bounds; without a default it must be there."""
        value = self._value(name)
        if value is None:
            if default is None or name in self._fields:
                raise self.error(name, "is missing" if name not in self._fields else "has no value")
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.error(name, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def plain(self, name: str) -> Any:
        """Return a field as it is, in dicts by the keys' text, lists and values; None when it is missing."""
        self._asked[name] = None
        node = self._fields.get(name)
        return None if node is None else self._plain(node, name, set())

    def here(self, problem: str) -> PolicyError:
        """Return an error about the section itself."""
        return PolicyError(f"{self._file}:{self._line}: {self._name} {problem}")

    def end(self) -> None:
        """Raise PolicyError for the first field that nobody asked for."""
        for name in self._fields:
            if name not in self._asked:
                raise self.error(name, f"is unknown in {self._name}{_guess(name, self._asked)}")

    def _items(self, name: str, kind: str) -> list[yaml.Node]:
        self._asked[name] = None
        node = self._fields.get(name)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(name, f"must be a list of {kind}")
        return list(node.value)

    def _plain(self, node: yaml.Node, name: str, met: set[int]) -> Any:
        # A node that is met again was given by an alias, with which a short file can be very long.
        if id(node) in met or len(met) >= _MAX_NODES:
            raise self._error_at(node, name, "has an alias (*name), or is too long; write it out")
        met.add(id(node))
        if isinstance(node, yaml.MappingNode):
            section = Section(self._file, node, _shown(name))
            return {key: self._plain(value, key, met) for key, value in section._fields.items()}
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, name, met) for item in node.value]
        return self._constructed(node, name)

    def _error_at(self, node: yaml.Node, name: str, problem: str) -> PolicyError:
        return PolicyError(f"{self._file}:{_line(node)}: {_shown(name)} {problem}")

    def _value(self, name: str) -> Any:
        self._asked[name] = None
        node = self._fields.get(name)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(name, "must be one value")
        return self._constructed(node, name)

    def _constructed(self, node: yaml.Node, name: str) -> Any:
        if node.tag != "tag:yaml.org,2002:str" and len(node.value) > _MAX_NUMBER:
            raise self._error_at(
                node, name, f"is not understood: {len(node.value)} characters are too many for what is no text"
            )
        try:
            return yaml.SafeLoader("").construct_object(node)
        except _CONSTRUCTION_ERRORS as error:
            raise self._error_at(
                node, name, f"is not understood: {_shown(node.value)} is no {node.tag.split(':')[-1]}"
            ) from error


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(text: str) -> str:
    """Return a text from a file so that it fits a one-line error."""
    cut = text[:80]
    return cut if cut.isprintable() and cut else ascii(cut)


def _guess(wrong: object, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(wrong)[:80], known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""
