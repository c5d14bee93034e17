"""What og-ros doctor asks of the machine: clock, shared memory, buffers, SROS2, and whether its ROS is of one piece."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import shutil
from pathlib import Path
from typing import Final

# rclpy's major version tells the distribution.
DISTRIBUTIONS: Final = {3: "Humble", 4: "Iron", 7: "Jazzy", 9: "Kilted"}
# Of the wheels on PyPI: those that every node loads, with the beginning of their version in each distribution.
_WHEELS: Final = {
    "ros-rclpy": {"Jazzy": "7.", "Kilted": "9."},
    "ros-rcl": {"Jazzy": "9.", "Kilted": "10."},
    "ros-rmw": {"Jazzy": "7.3.", "Kilted": "7.8."},
    "ros-std-msgs": {"Jazzy": "5.3.", "Kilted": "5.5."},
    "ros-sensor-msgs": {"Jazzy": "5.3.", "Kilted": "5.5."},
    "ros-rosidl-runtime-c": {"Jazzy": "4.6.", "Kilted": "4.9."},
}
# What a few cameras need: Fast DDS has a segment for each participant in /dev/shm, and a burst of fragments must fit
# into a socket's buffer.
_SHARED_MEMORY: Final = 64 << 20
_SOCKET_BUFFER: Final = 2 << 20
_TIME_ERROR: Final = 5  # of adjtimex(2): the clock is not synchronised


class Advice(Exception):
    """Something works and yet needs a hand: the message says what was seen and what to do."""


def distribution() -> str:
    """Return the ROS distribution by rclpy's version; raises Advice where wheels of two distributions are mixed."""
    version = _version("ros-rclpy") or _version("rclpy") or ""
    major = int(version.partition(".")[0]) if version[:1].isdigit() else None
    name = DISTRIBUTIONS.get(major or 0) or os.environ.get("ROS_DISTRO", "an unknown distribution").capitalize()
    foreign = [
        f"{package} {found}"
        for package, beginnings in _WHEELS.items()
        if (found := _version(package)) and name in beginnings and not found.startswith(beginnings[name])
    ]
    if foreign:
        raise Advice(
            f"{name} by rclpy {version}, but {', '.join(foreign)} is of another distribution, and mixed ones crash: "
            "install extra `ros` (Jazzy) or requirements/kilted.txt into a new environment"
        )
    sourced = os.environ.get("ROS_DISTRO", "").lower()
    if sourced and name.lower() != sourced:
        raise Advice(f"rclpy {version} is {name}'s, and {sourced} is sourced: unset one of the two")
    return f"{name}, rclpy {version}".rstrip(", ")


def shared_memory(folder: Path = Path("/dev/shm"), limits: Path = Path("/proc/sys/net/core")) -> str:
    """Say how large messages travel; raises Advice where they will be slow or lost."""
    advice = []
    try:
        free = shutil.disk_usage(folder).free
        if not os.access(folder, os.W_OK):
            advice.append(f"{folder} is not writable: large messages go through sockets")
        elif free < _SHARED_MEMORY:
            advice.append(f"{folder} has {_mib(free)} free: give it {_mib(_SHARED_MEMORY)} (docker: --shm-size=256m)")
        seen = f"{_mib(free)} free in {folder}"
    except OSError as error:
        advice.append(f"{folder}: {error.strerror}: large messages go through sockets")
        seen = f"no {folder}"
    try:
        buffer = int((limits / "rmem_max").read_text())
    except (OSError, ValueError):
        return _told(seen, advice)
    if buffer < _SOCKET_BUFFER:
        advice.append(
            f"sockets buffer at most {buffer >> 10} KiB: images to other machines, or over Cyclone DDS, are sent again "
            f"and again; sysctl -w net.core.rmem_max={_SOCKET_BUFFER}"
        )
    return _told(f"{seen}, socket buffers up to {buffer >> 10} KiB", advice)


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock() -> str:
    """Say how far the wall clock may be off, by the kernel; raises Advice where nothing keeps it right."""
    asked = _Timex(modes=0)  # reads only
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except AttributeError as error:
        raise ImportError("this C library has no adjtimex") from error
    if state < 0:
        raise Advice(f"the kernel does not tell whether the clock is right: {os.strerror(ctypes.get_errno())}")
    return clock_state(state, asked.maxerror)


def clock_state(state: int, error_us: int) -> str:
    """Judge what adjtimex(2) told: its state and the largest error, in microseconds."""
    if state == _TIME_ERROR:
        raise Advice(
            "nothing keeps the wall clock right: attestations, certificates and freshness go by it; run chrony or "
            "systemd-timesyncd (in a container: on its host)"
        )
    return f"synchronised, at most {error_us / 1000:.0f} ms off"


def security(environment: dict[str, str] | None = None) -> str:
    """Say whether SROS2 is on; raises Advice where it is asked for and cannot be, ImportError where it is not on."""
    env = os.environ if environment is None else environment
    if env.get("ROS_SECURITY_ENABLE", "").lower() != "true":
        raise ImportError("SROS2 is off: topics are open to whoever reaches the network (docs/guides/use-sros2.md)")
    keystore = Path(env.get("ROS_SECURITY_KEYSTORE", ""))
    if not (keystore / "enclaves").is_dir():
        raise Advice(f"ROS_SECURITY_KEYSTORE has no enclaves: {keystore}")
    if env.get("ROS_SECURITY_STRATEGY") != "Enforce":
        raise Advice("ROS_SECURITY_STRATEGY is not Enforce: a node without an enclave starts, unprotected")
    return f"SROS2 enforced, keystore {keystore}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return _manifest_version(package)


def _manifest_version(package: str) -> str | None:
    """ROS from apt: package.xml below a sourced prefix."""
    for prefix in filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        try:
            found = re.search(r"<version>\s*([\d.]+)", Path(prefix, "share", package, "package.xml").read_text())
        except OSError:
            continue
        if found:
            return found[1]
    return None


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"


def _told(seen: str, advice: list[str]) -> str:
    if advice:
        raise Advice("; ".join(advice))
    return seen
