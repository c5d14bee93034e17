"""The house stands: rooms import downwards only, and none below the nodes imports ROS."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "og_ros"
# From the ground up; rooms on one floor do not import each other.
FLOORS = (
    {"bounded_server", "errors", "paths", "policy_yaml"},
    {"attest", "sim"},
    {"evidence"},
    {"log", "registry"},
    {"stages"},
    {"settlement"},
    {"audit", "aggregator"},
    {"gate", "watch"},
    {"nodes"},
    {"cli"},
)
ROS = {"rclpy", "launch", "launch_ros", "ament_index_python", "rosidl_runtime_py", "std_msgs", "sensor_msgs"}
# What `make setup` generates.
GENERATED = {"msg", "srv"}


def names(node: ast.AST) -> Iterator[str]:
    """Yield the modules that one statement imports."""
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module
        if node.module == "og_ros":
            yield from (f"og_ros.{name.name}" for name in node.names)


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        yield from names(node)


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def rooms() -> list[str]:
    found = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    return sorted(found - GENERATED)


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_downwards_only(room: str) -> None:
    own = floor_of(room)
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for module in imports(path):
            parts = module.split(".")
            if parts[0] != "og_ros" or len(parts) < 2 or parts[1] in {room, "__version__"}:
                continue
            if parts[1] in GENERATED:
                assert room in {"nodes", "cli"}, f"{path} imports {module}"
            else:
                assert floor_of(parts[1]) < own, f"{path} imports {module}"


@pytest.mark.parametrize("room", [room for room in rooms() if room not in {"nodes", "cli"}])
def test_no_room_below_the_nodes_imports_ros(room: str) -> None:
    for path in sorted((PACKAGE / room).rglob("*.py")):
        assert not {module.split(".")[0] for module in imports(path)} & ROS, path


def test_a_command_imports_ros_only_when_it_runs() -> None:
    for path in sorted((PACKAGE / "cli").glob("*.py")):
        at_once = {module for node in ast.parse(path.read_text()).body for module in names(node)}
        assert not {module.split(".")[0] for module in at_once} & ROS, path
        assert not any(module.startswith(("og_ros.nodes", "og_ros.msg", "og_ros.srv")) for module in at_once), path
