"""Reads a rosbag2 metadata.yaml: what a recording says of itself, which is checked against its files and not believed.

Versions 1 (Dashing) to 9 (Kilted and later) are known. Times are not read: the storage files tell them. Source:
rosbag2_storage/metadata_io.cpp of ROS 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from og_ros.errors import BagError

NAME: Final = "metadata.yaml"
MAX_VERSION: Final = 9
_MAX_SIZE: Final = 4 * 2**20
_MAX_DEPTH: Final = 32
_COUNT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
# Every scalar as text: no dates, no sexagesimal numbers, no merge keys, no tags.
_Loader: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True)
class Metadata:
    """What metadata.yaml says: its storage plugin, files, compression, and messages and type of each topic."""

    storage: str
    files: tuple[str, ...]
    compression: str
    counts: Mapping[str, int]
    types: Mapping[str, frozenset[str]]
    latched: frozenset[str]


def load(directory: Path) -> Metadata | None:
    """Read the metadata.yaml of a directory; None where there is none. Raises BagError, naming the file."""
    path = directory / NAME
    try:
        if not path.exists() and not path.is_symlink():
            return None
        if not path.is_file():
            raise BagError(f"{path} is no regular file")
        with open(path, "rb") as file:
            content = file.read(_MAX_SIZE + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links, before Python 3.13
        raise BagError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > _MAX_SIZE:
        raise BagError(f"{path} is larger than {_MAX_SIZE} bytes")
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Metadata:
    """Read the text of a metadata.yaml; raises BagError, naming the file and the field."""
    try:
        tree = _load(content)
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())[:200]
        raise BagError(f"{name} is no YAML: {problem}; without this file, the storage files are read alone") from error
    fields = _Fields(name, tree).section("rosbag2_bagfile_information")
    version = fields.count("version")
    if not 1 <= version <= MAX_VERSION:
        raise BagError(f"{name}: version {version} is unknown; 1 to {MAX_VERSION} can be read")
    counts: dict[str, int] = {}
    types: dict[str, frozenset[str]] = {}
    latched = set()
    for entry in fields.sections("topics_with_message_count"):
        topic = entry.section("topic_metadata")
        topic_name = topic.text("name")
        counts[topic_name] = counts.get(topic_name, 0) + entry.count("message_count")
        types[topic_name] = types.get(topic_name, frozenset()) | {topic.text("type")}
        if offers_last_messages(topic.any("offered_qos_profiles")):
            latched.add(topic_name)
    return Metadata(
        storage=fields.text("storage_identifier"),
        files=tuple(_file_name(name, path) for path in fields.texts("relative_file_paths")),
        compression=_compression(name, fields),
        counts=counts,
        types=types,
        latched=frozenset(latched),
    )


def _load(content: bytes | str) -> Any:
    """Load YAML that is not nested deeply: libyaml's composer ends the process when it runs out of stack."""
    depth = 0
    for event in yaml.parse(content, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return yaml.load(content, Loader=_Loader)


def offers_last_messages(profiles: Any) -> bool:
    """Return whether every recorded publisher offered its last messages to late subscribers, as on /tf_static.

    `profiles` is the text of offered_qos_profiles (a YAML list), or that list; what cannot be read offers nothing.
    """
    if isinstance(profiles, str) and profiles:
        try:
            profiles = _load(profiles[:_MAX_SIZE])
        except (yaml.YAMLError, ValueError):
            return False
    if not isinstance(profiles, list) or not profiles:
        return False
    # 1 is RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL; versions from 9 on write the name.
    return all(isinstance(p, dict) and p.get("durability") in ("1", "transient_local") for p in profiles)


def _compression(name: str, fields: _Fields) -> str:
    mode = fields.text("compression_mode", "").lower()
    if mode in ("", "none"):
        return ""
    if mode not in ("file", "message"):
        raise BagError(f"{name}: compression_mode {mode[:40]!r} is unknown; file and message can be read")
    if (kind := fields.text("compression_format", "")) != "zstd":
        raise BagError(f"{name}: compression_format {kind[:40]!r} cannot be read, only zstd")
    return mode


def _file_name(name: str, path: str) -> str:
    """Return the name of a storage file in the recording's directory; versions before 4 put that directory in front."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or len(parts) > 2:
        raise BagError(f"{name} names the file {path[:200]!r}, which is not in the recording's own directory")
    return parts[-1]


class _Fields:
    """A mapping of the file, read field by field; what is missing or of another kind raises BagError."""

    def __init__(self, name: str, tree: Any, field: str = "its content") -> None:
        if not isinstance(tree, dict):
            raise BagError(f"{name}: {field} is no mapping; is this the metadata.yaml of a rosbag2 recording?")
        self._name, self._tree = name, tree

    def any(self, field: str) -> Any:
        return self._tree.get(field)

    def text(self, field: str, default: str | None = None) -> str:
        value = self._tree.get(field, default)
        if not isinstance(value, str):
            raise BagError(f"{self._name}: {field} is missing, or is no text")
        return value

    def count(self, field: str) -> int:
        value = self.text(field)
        if not _COUNT.fullmatch(value):
            raise BagError(f"{self._name}: {field} is {value[:40]!r}; it must be a number, not negative")
        return int(value)

    def texts(self, field: str) -> list[str]:
        return [value for value in self._list(field) if isinstance(value, str) or self._fail(field)]

    def section(self, field: str) -> _Fields:
        return _Fields(self._name, self._tree.get(field), field)

    def sections(self, field: str) -> list[_Fields]:
        return [_Fields(self._name, value, f"an entry of {field}") for value in self._list(field)]

    def _list(self, field: str) -> list[Any]:
        value = self._tree.get(field)
        return value if isinstance(value, list) else self._fail(field)

    def _fail(self, field: str) -> Any:
        raise BagError(f"{self._name}: {field} is missing, or is no list of texts")
