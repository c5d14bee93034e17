"""Definitions of installed message types as a recording embeds them: .msg text, what it refers to, and type hash."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from og_ros.errors import ConfigError

# What separates the definitions in rosbag2 and MCAP (https://mcap.dev/spec/registry#ros2msg).
_SEPARATOR: Final = "=" * 80


@dataclass(frozen=True)
class InterfaceDefinition:
    """A message type: its definition ("ros2msg"), and its RIHS01 hash (REP 2016)."""

    name: str
    text: str
    type_hash: str


@lru_cache(maxsize=512)
def interface_definition(name: str) -> InterfaceDefinition:
    """Return the definition of an installed type such as "sensor_msgs/msg/Image".

    It is read from the package's share folder (.msg and .json, which rosidl puts there), in the prefixes of
    AMENT_PREFIX_PATH and of this Python. Raises ConfigError when a file is missing.
    """
    description = _share_file(name, ".json")
    try:
        data = json.loads(description.read_text(encoding="utf-8"))
        hashes = {entry["type_name"]: str(entry["hash_string"]) for entry in data["type_hashes"]}
        referenced = [str(entry["type_name"]) for entry in data["type_description_msg"]["referenced_type_descriptions"]]
        type_hash = hashes[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{description} is no type description of {name}") from error
    parts = [_definition(name)]
    for other in referenced:
        package, _, kind = other.split("/")
        parts.append(f"{_SEPARATOR}\nMSG: {package}/{kind}\n{_definition(other)}")
    return InterfaceDefinition(name, "\n".join(parts), type_hash)


def _definition(name: str) -> str:
    return _share_file(name, ".msg").read_text(encoding="utf-8")


def _share_file(name: str, suffix: str) -> Path:
    package, folder, kind = name.split("/")
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in (*prefixes, Path(sys.prefix)):
        path = prefix / "share" / package / folder / f"{kind}{suffix}"
        if path.is_file():
            return path
    raise ConfigError(f"the definition of {name} ({kind}{suffix}) is not installed: install the package {package}")
