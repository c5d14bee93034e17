"""Builds the ROS interfaces in msg/ and srv/ with CMake, for setup.py: finds ROS, and builds once per environment.

The result is an install tree as ament knows it (lib, include, share). Its key is everything it was made from, so that a
changed .msg file builds anew and an unchanged one costs nothing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

GENERATORS = "share/rosidl_default_generators/cmake/rosidl_default_generatorsConfig.cmake"
INPUTS = ("CMakeLists.txt", "package.xml", "cmake/*.cmake", "msg/*.msg", "srv/*.srv")
STAMP = "og_ros_inputs.sha256"


class MessageBuildError(Exception):
    """The interfaces cannot be built; the message says what is missing."""


@dataclass(frozen=True)
class RosEnvironment:
    """Where ROS is, and the interpreter that its code generators run with."""

    prefixes: tuple[Path, ...]
    python: Path


def find_ros() -> RosEnvironment | None:
    """The ROS environment that this build is for, or None: sourced prefixes first, then the prefix of the interpreter.

    Build front ends that build in a virtual environment of their own (``uv``, ``python -m build``) hide the target's
    prefix; an activated environment still names it in VIRTUAL_ENV, and serves if it runs the same Python version.
    """
    sourced = [
        Path(entry)
        for variable in ("AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH")
        for entry in os.environ.get(variable, "").split(os.pathsep)
        if entry
    ]
    python = Path(sys.executable)
    candidates = [(python.parent.parent, python)]  # not sys.prefix: colcon overrides it
    active = os.environ.get("VIRTUAL_ENV")
    if active and Path(active, "lib", f"python{sysconfig.get_python_version()}").is_dir():
        candidates.append((Path(active), Path(active, "bin", "python")))
    for prefix, python in candidates:
        prefixes = tuple(dict.fromkeys([*sourced, prefix]))
        if any((entry / GENERATORS).is_file() for entry in prefixes):
            return RosEnvironment(prefixes, python)
    return None


def build_messages(source: Path, build_base: Path, ros: RosEnvironment) -> Path:
    """The install tree of the interfaces in ``source``, built below ``build_base`` unless it is there and current."""
    key = _digest(source, ros)
    home = build_base / f"messages-{sysconfig.get_config_var('SOABI')}-{_short(ros)}"
    install = home / "install"
    stamp = home / STAMP
    if stamp.is_file() and stamp.read_text() == key:
        print(f"og_ros messages: up to date in {home}")
        return install
    cmake, ninja = _tool("cmake", ros), _tool("ninja", ros)
    if cmake is None:
        raise MessageBuildError("cmake is missing: pip install cmake ninja (or apt-get install cmake)")
    print(f"og_ros messages: building for ROS in {os.pathsep.join(map(str, ros.prefixes))}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    configure = [
        *(cmake, "-S", str(source), "-B", str(home / "cmake")),
        *(("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}") if ninja else ()),
        f"-DCMAKE_INSTALL_PREFIX={install.resolve()}",
        f"-DPython3_EXECUTABLE={ros.python}",
        "-DBUILD_TESTING=OFF",
    ]
    install_step = [cmake, "--build", str(home / "cmake"), "--target", "install", "--parallel"]
    log = home / "build.log"
    with log.open("wb") as output:
        for command in (configure, install_step):
            done = subprocess.run(command, env=_environment(ros), stdout=output, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                print(log.read_text(errors="replace"), file=sys.stderr)
                raise MessageBuildError(f"the messages do not build; the log above is {log}")
    stamp.write_text(key)
    return install


def _digest(source: Path, ros: RosEnvironment) -> str:
    """What a build depends on: our inputs, and the generators' versions in the ROS environment."""
    inputs = [path for pattern in INPUTS for path in sorted(source.glob(pattern))]
    for prefix in ros.prefixes:
        inputs += sorted(prefix.glob("share/rosidl_*/package.xml"))
        inputs.append(prefix / "share/builtin_interfaces/package.xml")
    digest = hashlib.sha256(f"{sys.version} {ros}".encode())
    for path in filter(Path.is_file, inputs):
        digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _short(ros: RosEnvironment) -> str:
    return hashlib.sha256(str(ros).encode()).hexdigest()[:8]


def _tool(name: str, ros: RosEnvironment) -> str | None:
    beside = ros.python.parent / name
    return str(beside) if beside.is_file() else shutil.which(name)


def _environment(ros: RosEnvironment) -> dict[str, str]:
    """The environment of the code generators: ROS on its paths, and the interpreter as it is installed.

    pip's build isolation and colcon's prefix override each put a folder with a sitecustomize.py on PYTHONPATH.
    """
    env = dict(os.environ)
    entries = filter(None, env.pop("PYTHONPATH", "").split(os.pathsep))
    if kept := [entry for entry in entries if not Path(entry, "sitecustomize.py").is_file()]:
        env["PYTHONPATH"] = os.pathsep.join(kept)
    env["PATH"] = os.pathsep.join([str(ros.python.parent), env.get("PATH", os.defpath)])
    prefixes = os.pathsep.join(map(str, ros.prefixes))
    env["AMENT_PREFIX_PATH"] = prefixes
    env["CMAKE_PREFIX_PATH"] = prefixes
    return env
