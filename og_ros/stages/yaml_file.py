"""Reads a YAML file strictly and remembers the line of every field, for errors that name it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from og_ros.errors import ConfigError

MAX_FILE_SIZE: Final = 1_048_576
MAX_DEPTH: Final = 32
MAX_NUMBER: Final = 64
"""Characters of a value that is no text; YAML 1.1 has numbers like 1:30:00, which take very long to be long."""

# What PyYAML lets out, too, for a value that its explicit tag does not fit (`!!int ""`), or that no number can hold.
_CONSTRUCTION_ERRORS: Final = (
    yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError, RecursionError,
)  # fmt: skip


class YamlFile:
    """A parsed file: `data` is its top-level mapping; `line_of("a.b")` finds where a field stands."""

    def __init__(self, path: Path) -> None:
        """Read a file; raises ConfigError, naming file and line, for what is no YAML mapping or has a key twice."""
        self.path = path
        self._lines: dict[str, int] = {}
        try:
            with open(path, "rb") as file:
                content = file.read(MAX_FILE_SIZE + 1)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        if len(content) > MAX_FILE_SIZE:
            raise ConfigError(f"{path} is larger than {MAX_FILE_SIZE} bytes")
        self._met: set[int] = set()
        loader: yaml.SafeLoader | None = None
        try:
            loader = yaml.SafeLoader(content)
            node = loader.get_single_node()
            self._note(node, "", 0)
            data: Any = loader.construct_document(node) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{path}:{mark.line + 1}" if mark else str(path)
            raise ConfigError(f"{place}: {error.problem or error.context}") from error
        except _CONSTRUCTION_ERRORS as error:
            problem = " ".join(str(error).split())[:200]
            raise ConfigError(f"{path} is no YAML file: {problem or type(error).__name__}") from error
        finally:
            if loader is not None:
                loader.dispose()
        if not isinstance(data, dict):
            raise ConfigError(f"{path} must hold a mapping (name: value) at its top")
        self.data: dict[Any, Any] = data

    def error(self, error: ConfigError) -> ConfigError:
        """Return an error of a field with the file and, where it is known, the line in front."""
        line = self.line_of(str(error).split(" ", 1)[0].rstrip(":"))
        return ConfigError(f"{self.path}:{line}: {error}" if line else f"{self.path}: {error}")

    def line_of(self, field: str) -> int | None:
        """Return the line, from 1, of a field given by its path, or of the nearest field around it."""
        field = field.partition("[")[0]
        while field:
            if field in self._lines:
                return self._lines[field]
            field = field.rpartition(".")[0]
        return None

    def _check(self, node: yaml.Node) -> None:
        """Refuse what makes a short file long: a value by its alias, and numbers without end."""
        place = f"{self.path}:{node.start_mark.line + 1}"
        if id(node) in self._met:
            raise ConfigError(f"{place}: a value is given by an alias (*name); write it out")
        self._met.add(id(node))
        if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:str" and len(node.value) > MAX_NUMBER:
            raise ConfigError(f"{place}: a value of {len(node.value)} characters is no text; quote it if it should be")

    def _note(self, node: yaml.Node | None, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ConfigError(f"{self.path} is nested more than {MAX_DEPTH} deep")
        if node is not None:
            self._check(node)
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._note(item, path, depth + 1)
        if not isinstance(node, yaml.MappingNode):
            return
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.path}:{key.start_mark.line + 1}: a key must be plain text")
            self._check(key)
            if key.value in seen:
                raise ConfigError(f"{self.path}:{key.start_mark.line + 1}: {key.value} is given twice")
            seen.add(key.value)
            name = f"{path}.{key.value}" if path else key.value
            self._lines[name] = key.start_mark.line + 1
            self._note(value, name, depth + 1)
