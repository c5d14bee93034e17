"""Policy: what a relying party demands of a run, in YAML, checked with errors that point to the line."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from og_ros.audit.levels import AXES
from og_ros.errors import PolicyError

VERSION: Final = 1
_MAX_SIZE: Final = 1_000_000


@dataclass(frozen=True)
class Policy:
    """A relying party's demands; the defaults demand what every honest run has.

    `stages` maps a stage that must be present to its minimum level on each axis ("*": every stage). Times in ns.
    `max_loss` is the share of records (0 to 1) that a topic may miss.
    """

    digest: str = ""
    registry_root: str | None = None
    decisions: tuple[str, ...] = ()
    stages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    max_loss: float = 0.01
    max_clock_skew_ns: int = 10 * 10**9
    max_chain_latency_ns: int | None = None

    def minimum(self, stage: str) -> dict[str, str]:
        """Return the minimum level on each axis for a stage."""
        return {**self.stages.get("*", {}), **self.stages.get(stage, {})}

    @property
    def required_stages(self) -> list[str]:
        """The stages that a run must have."""
        return [stage for stage in self.stages if stage != "*"]


def load_policy(path: Path) -> Policy:
    """Read a policy file; raises PolicyError as `parse_policy` does, or when the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"cannot read the policy {path}: {error.strerror}") from error
    return parse_policy(data, str(path))


def parse_policy(data: bytes, name: str = "policy") -> Policy:
    """Read a policy; raises PolicyError naming file, line and field for anything unknown or out of range."""
    if len(data) > _MAX_SIZE:
        raise PolicyError(f"{name} is larger than {_MAX_SIZE} bytes")
    try:
        root = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name} is not UTF-8 text") from error
    except (yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split())
        raise PolicyError(f"{name}: {problem}") from error
    except ValueError as error:
        raise PolicyError(f"{name}: {error}") from error
    top = _Section(name, root, "policy")
    version = top.number("version", None)
    if version != VERSION:
        raise top.error("version", f"must be {VERSION}")
    policy = Policy(
        digest=hashlib.sha256(data).hexdigest(),
        registry_root=top.text("registry_root"),
        decisions=top.texts("decisions"),
        stages=_stages(top),
        max_loss=top.number("max_loss", 0.01, 0.0, 1.0),
        max_clock_skew_ns=int(top.number("max_clock_skew_s", 10.0, 0.0, 1e6) * 1e9),
        max_chain_latency_ns=_milliseconds(top, "max_chain_latency_ms"),
    )
    top.end()
    return policy


def _milliseconds(section: _Section, name: str) -> int | None:
    return int(section.number(name, 0.0, 0.0, 1e9) * 1e6) if section.has(name) else None


def _stages(top: _Section) -> dict[str, dict[str, str]]:
    stages = {}
    section = top.section("stages")
    for stage in section.names():
        levels = section.section(stage)
        stages[stage] = {axis: levels.choice(axis, AXES[axis]) for axis in AXES if levels.has(axis)}
        levels.end()
    section.end()
    return stages


class _Section:
    """One YAML mapping, read field by field; whatever was not asked for is an error."""

    def __init__(self, file: str, node: yaml.Node | None, name: str) -> None:
        self._file, self._name = file, name
        self._line = node.start_mark.line + 1 if node is not None else 1
        self._fields: dict[str, yaml.Node] = {}
        self._asked: set[str] = set()
        if node is None or (isinstance(node, yaml.ScalarNode) and node.value == ""):
            return
        if not isinstance(node, yaml.MappingNode):
            raise PolicyError(f"{file}:{self._line}: {name} must be a mapping")
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise PolicyError(f"{file}:{key.start_mark.line + 1}: {name} has a key that is no text")
            if key.value in self._fields:
                raise PolicyError(f"{file}:{key.start_mark.line + 1}: {key.value} stands twice in {name}")
            self._fields[key.value] = value

    def names(self) -> list[str]:
        return list(self._fields)

    def has(self, name: str) -> bool:
        return name in self._fields

    def error(self, name: str, problem: str) -> PolicyError:
        node = self._fields.get(name)
        line = node.start_mark.line + 1 if node is not None else self._line
        return PolicyError(f"{self._file}:{line}: {name} {problem}")

    def _scalar(self, name: str) -> Any:
        self._asked.add(name)
        node = self._fields.get(name)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(name, "must be one value")
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(name, f"is not understood: {error}") from error

    def section(self, name: str) -> _Section:
        if name in self._fields:
            self._asked.add(name)
        return _Section(self._file, self._fields.get(name), name)

    def text(self, name: str) -> str | None:
        value = self._scalar(name)
        if value is not None and not isinstance(value, str):
            raise self.error(name, "must be text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        self._asked.add(name)
        node = self._fields.get(name)
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode) or not all(isinstance(n, yaml.ScalarNode) for n in node.value):
            raise self.error(name, "must be a list of texts")
        return tuple(n.value for n in node.value)

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        value = self._scalar(name)
        if value not in values:
            raise self.error(name, f"must be one of: {', '.join(values)}")
        return str(value)

    def number(self, name: str, default: float | None, low: float = 0.0, high: float = 1e18) -> float:
        value = self._scalar(name)
        if value is None:
            if default is None:
                raise self.error(name, "is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise self.error(name, f"must be a number from {low:g} to {high:g}")
        return float(value)

    def end(self) -> None:
        for name in self._fields:
            if name not in self._asked:
                raise self.error(name, f"is unknown in {self._name}")
