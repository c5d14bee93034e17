"""Definitions of installed message types as a recording embeds them: .msg text, what it refers to, and type hash."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from og_ros.errors import ConfigError

# What separates the definitions in rosbag2 and MCAP (https://mcap.dev/spec/registry#ros2msg).
_SEPARATOR: Final = "=" * 80
_PARTS: Final = {"srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}


@dataclass(frozen=True)
class InterfaceDefinition:
    """A message type: its definition ("ros2msg"), and its RIHS01 hash (REP 2016)."""

    name: str
    text: str
    type_hash: str


@lru_cache(maxsize=512)
def interface_definition(name: str) -> InterfaceDefinition:
    """Return the definition of an installed type such as "sensor_msgs/msg/Image".

    That may be a part of a service or action, such as "std_srvs/srv/SetBool_Request". It is read from the package's
    share folder (.msg, .srv or .action, and .json, which rosidl puts there), in the prefixes of AMENT_PREFIX_PATH and
    of this Python. Raises ConfigError when a file is missing.
    """
    description = _share_file(_whole(name), ".json")
    try:
        data = json.loads(description.read_text(encoding="utf-8"))
        hashes = {entry["type_name"]: str(entry["hash_string"]) for entry in data["type_hashes"]}
        referenced = _referenced(data["type_description_msg"], name)
        type_hash = hashes[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{description} is no type description of {name}") from error
    parts = [_definition(name)]
    for other in referenced:
        package, _, kind = other.split("/")
        parts.append(f"{_SEPARATOR}\nMSG: {package}/{kind}\n{_definition(other)}")
    return InterfaceDefinition(name, "\n".join(parts), type_hash)


def _whole(name: str) -> str:
    """Return the name of the interface that a message is of: the service, of a request."""
    return name if "/msg/" in name else name.rpartition("_")[0]


def _referenced(description: Any, name: str) -> list[str]:
    """Return the types that a type refers to, and those that they refer to, in a description that has it."""
    every = (description["type_description"], *description["referenced_type_descriptions"])
    fields = {str(entry["type_name"]): entry["fields"] for entry in every}
    found: list[str] = []
    waiting = [name]
    while waiting:
        for field in fields[waiting.pop()]:
            other = str(field["type"]["nested_type_name"])
            if other and other not in found:
                found.append(other)
                waiting.append(other)
    return sorted(found)


def _definition(name: str) -> str:
    if "/msg/" in name:
        return _share_file(name, ".msg").read_text(encoding="utf-8")
    folder, part = name.split("/")[1], name.rpartition("_")[2]
    if part not in _PARTS[folder]:
        raise ConfigError(f"{name} has no definition of its own")
    text = _share_file(_whole(name), f".{folder}").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^---\s*$", text)
    found = parts[_PARTS[folder].index(part)].strip("\n")
    # An empty part travels as one byte, of a field that rosidl adds.
    return found if re.search(r"(?m)^\s*[^#\s]", found) else f"{found}\nuint8 structure_needs_at_least_one_member"


def _share_file(name: str, suffix: str) -> Path:
    package, folder, kind = name.split("/")
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in (*prefixes, Path(sys.prefix)):
        path = prefix / "share" / package / folder / f"{kind}{suffix}"
        if path.is_file():
            return path
    raise ConfigError(f"the definition of {name} ({kind}{suffix}) is not installed: install the package {package}")
