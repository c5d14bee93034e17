"""Reads a fleet file: the robots that fleet.launch.py starts, each a namespace with arguments of bringup.launch.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import ConfigError
from og_ros.stages.yaml_file import YamlFile

_NAMESPACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*", re.ASCII)
_FILES: Final = ("pipeline", "parameters")
_KNOWN: Final = (
    *_FILES,
    *("relative_topics", "use_sim_time", "clock", "autostart", "auditor", "gate", "record", "respawn", "required"),
    "log_level",
)
# Its file usually names the topics of a lone robot.
_DEFAULTS: Final = {"relative_topics": "true"}


@dataclass(frozen=True)
class Robot:
    """One robot of a fleet: its namespace, and the arguments of bringup.launch.py, that namespace among them."""

    namespace: str
    arguments: Mapping[str, str]


def load_fleet(path: Path) -> list[Robot]:
    """Read a fleet file; paths in it are relative to it.

    Raises ConfigError, naming file, line and field, for a namespace that ROS would not take, an argument that
    bringup.launch.py does not have, or two robots that share a pipeline file: their keys and logs would be the same.
    """
    file = YamlFile(path)
    try:
        return _robots(file)
    except ConfigError as error:
        raise file.error(error) from error


def _robots(file: YamlFile) -> list[Robot]:
    unknown = sorted(str(name) for name in file.data if name != "robots")
    if unknown:
        raise ConfigError(f"{unknown[0]} is not known; a fleet file has robots")
    robots = file.data.get("robots")
    if not isinstance(robots, dict) or not robots:
        raise ConfigError("robots is missing: a mapping with one namespace a robot")
    found: list[Robot] = []
    owners: dict[str, str] = {}
    for namespace, given in robots.items():
        robot = _robot(file.path.resolve().parent, namespace, given)
        other = owners.setdefault(robot.arguments["pipeline"], robot.namespace)
        if other != robot.namespace:
            raise ConfigError(
                f"robots.{namespace}.pipeline is that of {other}; each robot has its own keys and its own log"
            )
        found.append(robot)
    return found


def _robot(base: Path, namespace: object, given: object) -> Robot:
    where = f"robots.{namespace}"
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(f"{where}: the namespace must be letters, digits and _, such as robot_1 or site/robot_1")
    if not isinstance(given, dict):
        raise ConfigError(f"{where} must be a mapping of arguments of bringup.launch.py")
    if "pipeline" not in given:
        raise ConfigError(f"{where}.pipeline is missing: the robot's pipeline file")
    arguments = {"namespace": namespace, **_DEFAULTS}
    for name, value in given.items():
        if name not in _KNOWN:
            raise ConfigError(f"{where}.{name} is not known; known: {', '.join(_KNOWN)}")
        if not isinstance(value, str | bool):
            raise ConfigError(f"{where}.{name} is {value!r}; it must be a text, true or false")
        text = str(value).lower() if isinstance(value, bool) else value
        arguments[name] = str((base / text).resolve()) if name in _FILES else text
    return Robot(namespace, arguments)
