"""Other DDS and other ROS for tests: environments that run a process over Cyclone DDS, on ROS 2 Humble or on Kilted."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KILTED = ROOT / ".cache" / "kilted"
FETCHED = ROOT / ".cache" / "other_ros"
CYCLONE = "rmw_cyclonedds_cpp"
FAST = "rmw_fastrtps_cpp"


def _fetched() -> None:
    if not (FETCHED / "complete").is_file():
        pytest.skip("Cyclone DDS and Humble are not fetched: `make other-ros`, where the network has them")


def fast_environment() -> dict[str, str]:
    """Return the environment of a process on the ROS of this Python, over its own DDS."""
    if importlib.util.find_spec("rclpy") is None:
        pytest.skip("rclpy is not installed: extra `ros` of og_ros")
    return {**_without_ros(), "RMW_IMPLEMENTATION": FAST}


def cyclone_environment() -> dict[str, str]:
    """Return the environment of a process on the ROS of this Python, over Cyclone DDS.

    PyPI's librcl is linked to Fast DDS's rmw alone, so Cyclone's is preloaded: its functions have the same names and
    come first. Both were built for Jazzy, whose rmw ABI is frozen.
    """
    _fetched()
    env = fast_environment()
    import rclpy

    site = Path(rclpy.__file__).parent.parent
    wheels = sorted(map(str, site.glob("ros_*.libs")))
    if not wheels:
        pytest.skip("ROS is not from PyPI here; install rmw_cyclonedds_cpp beside it and run with RMW_IMPLEMENTATION")
    if not _is_jazzy(site):
        pytest.skip("the fetched Cyclone DDS is built for Jazzy")
    library = FETCHED / "cyclonedds" / "lib"
    return {
        **env,
        "RMW_IMPLEMENTATION": CYCLONE,
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",  # the wheels would start Python anew, with libraries in any order
        "LD_LIBRARY_PATH": os.pathsep.join([str(library), str(Path(sys.prefix, "lib")), *wheels]),
        "LD_PRELOAD": str(library / f"lib{CYCLONE}.so"),
    }


def humble_environment(rmw: str) -> tuple[str, dict[str, str]]:
    """Return the Python and the environment of a process on ROS 2 Humble."""
    _fetched()
    humble = FETCHED / "humble"
    python = _python312()
    if python is None:
        pytest.skip("the fetched ROS 2 Humble is built for CPython 3.12, and there is none here")
    return python, {
        **_without_ros(),
        "RMW_IMPLEMENTATION": rmw,
        "LD_LIBRARY_PATH": str(humble / "lib"),
        "AMENT_PREFIX_PATH": str(humble),
        "PYTHONPATH": os.pathsep.join([str(humble / "rclpy"), str(humble / "python")]),
        "PYTHONNOUSERSITE": "1",
    }


@lru_cache
def kilted_environment() -> tuple[str, dict[str, str]]:
    """Return the Python and the environment of a process on ROS 2 Kilted, with og_ros as it is now."""
    if not (KILTED / "dependencies.sha256").is_file():
        pytest.skip("there is no ROS 2 Kilted: `make kilted`, where the network has it")
    tool = [sys.executable, str(ROOT / "tools" / "make_kilted.py"), str(KILTED)]
    made = subprocess.run(tool, capture_output=True, text=True, check=False, env=_without_ros())
    assert made.returncode == 0, made.stdout + made.stderr
    return str(KILTED / "venv" / "bin" / "python"), {**_without_ros(), "RMW_IMPLEMENTATION": FAST}


def _without_ros() -> dict[str, str]:
    ours = ("AMENT_", "CYCLONEDDS", "FASTRTPS", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "RMW_", "ROS_")
    gone = (*ours, "_ROS_WHEELS")
    return {name: value for name, value in os.environ.items() if not name.startswith(gone)}


def _is_jazzy(site: Path) -> bool:
    return any(site.glob("ros_rclpy-7.1.*.dist-info"))


@lru_cache
def _python312() -> str | None:
    for path in _interpreters():
        ask = [path, "-c", "import sys; print(sys.implementation.name, *sys.version_info[:2])"]
        try:
            told = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=20).stdout.split()
        except (OSError, subprocess.TimeoutExpired):
            continue
        if told == ["cpython", "3", "12"]:
            return path
    return None


def _interpreters() -> Iterator[str]:
    yield sys.executable
    yield "python3.12"
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    yield from sorted(map(str, versions.glob("3.12*/bin/python")))
