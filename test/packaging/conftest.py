"""Fixtures of the packaging tests: a copy of the sources, and copies of this environment to install them into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
# All that a build may read.
SOURCES = (
    *("CMakeLists.txt", "LICENSE", "README.md", "package.xml", "pyproject.toml", "setup.py"),
    *("cmake", "config", "include", "launch", "msg", "og_ros", "resource", "srv", "tools"),
)
# Messages that are built to be tried, not to be fast: the compiler takes a fifth less time.
WITH_MESSAGES = {"OG_ROS_WITH_MSGS": "1", "CMAKE_BUILD_TYPE": "None"}
FOREIGN = ("AMENT_", "CMAKE_", "COLCON", "LD_LIBRARY_PATH", "OG_ROS_", "PYTHON", "ROS_", "VIRTUAL_ENV", "_ROS_WHEELS")


@dataclass(frozen=True)
class Environment:
    """A virtual environment that a test may change."""

    prefix: Path

    @property
    def python(self) -> str:
        return str(self.prefix / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        return next(self.prefix.glob("lib/python3.*/site-packages"))

    def run(self, *arguments: str, **variables: str) -> str:
        """Runs its Python outside the source tree, and returns what it printed."""
        return run([self.python, *arguments], **variables)

    def install(self, source: Path, *options: str, **variables: str) -> str:
        pip = ("-m", "pip", "install", "--verbose", "--no-deps", "--no-index", "--disable-pip-version-check")
        return self.run(*pip, *options, str(source), **variables)


def run(command: list[str], **variables: str) -> str:
    """Runs a command as from a fresh shell: nothing sourced, nothing left over of the Python that runs the tests."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    done = subprocess.run(
        command, env=env | variables, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-8000:]}"
    return done.stdout


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def link_distributions(names: list[str], target: Path) -> None:
    """Links distributions of this environment, and what they require, into the site-packages of another."""
    todo, done = list(names), set()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed")
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (target / top).exists():
                (target / top).symlink_to(found.locate_file(top))
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources alone: no build folders, and none of what an editable install generates."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.new"))
        elif (ROOT / name).is_file():
            shutil.copy2(ROOT / name, folder / name)
    shutil.rmtree(folder / "og_ros" / "msg", ignore_errors=True)
    shutil.rmtree(folder / "og_ros" / "srv", ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A copy of this environment, which has ROS and its message generators, without og_ros."""
    if not Path(sys.prefix, "share", "rosidl_default_generators").is_dir():
        pytest.skip("this Python has no ROS message generators; run the tests with `make test`")
    prefix = tmp_path_factory.mktemp("ros") / "venv"
    shutil.copytree(sys.prefix, prefix, symlinks=True, copy_function=link_or_copy)
    environment = Environment(prefix)
    environment.run("-m", "pip", "uninstall", "--yes", "og_ros")
    return environment


@pytest.fixture
def plain_environment(tmp_path: Path) -> Environment:
    """An environment with what the core requires, and no ROS."""
    venv.create(tmp_path / "venv", symlinks=True)
    environment = Environment(tmp_path / "venv")
    core = ["backports-zstd", "cbor2", "cryptography", "lz4", "numpy", "pyyaml", "rich", "rosbags"]
    link_distributions([*core, "pip", "setuptools", "wheel"], environment.site_packages)
    return environment
