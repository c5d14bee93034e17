"""Measures the environment that this Python runs in: its packages, og_ros itself, and what a stage adds to them.

What it cannot see, and docs/concepts/evidence.md says: the kernel, system libraries, and code that a process makes up.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

import og_ros
from og_ros.errors import EvidenceError
from og_ros.evidence.manifest import OG_ROS, Manifest, Package

# Distributions whose files are hashed, with all that they require; of the others, the version is noted.
MEASURED: Final = ("og_ros", "onnxruntime", "opencv-python-headless", "ros-rclpy", "rclpy")
STDLIB: Final = "python-stdlib"
# Variables by which code comes into a Python that is in no package of it.
VARIABLES: Final = (
    "LD_AUDIT", "LD_PRELOAD", "PYTHONHOME", "PYTHONINSPECT", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE",
)  # fmt: skip
_SKIPPED: Final = frozenset({"__pycache__", "site-packages", "dist-packages", "test", "tests", "idle_test"})
_IMAGE: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
# Written by installers, and different where nothing is.
_UNSTABLE: Final = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})


def measure(
    robot: str, stage: str, files: Mapping[str, bytes], *, image: str = "", packages: Iterable[str] = ()
) -> Manifest:
    """Return the manifest of this environment.

    `files` are the stage's own (label to SHA-256); `packages` are distributions to hash beside those of MEASURED, such
    as that of an adapter. Raises EvidenceError for an image that is no digest and for files that cannot be read.
    """
    if image and not _IMAGE.fullmatch(image):
        raise EvidenceError(f"the image {image[:80]!a} is no digest: sha256: and 64 hex digits")
    installed: dict[str, Distribution] = {}
    for found in distributions():  # in the order of sys.path: of two of one name, the first is what Python imports
        if found.metadata["Name"]:
            installed.setdefault(_normalised(found.metadata["Name"]), found)
    deep = _closure(installed, [*MEASURED, *packages])
    noted = {name: Package(it.version, _digest_of(it) if name in deep else b"") for name, it in installed.items()}
    noted[STDLIB] = Package(platform.python_version(), _tree_digest(Path(sysconfig.get_path("stdlib"))))
    own = {f"{OG_ROS}{name}": file_digest(path) for name, path in _files(Path(og_ros.__file__).parent)}
    return Manifest(
        robot=robot,
        stage=stage,
        python=f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}",
        image=image,
        files={**own, "python": file_digest(Path(sys.executable).resolve()), **_loose(), **files},
        packages=noted,
        environment={name: os.environ[name] for name in VARIABLES if os.environ.get(name)},
    )


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file; raises EvidenceError when it cannot be read."""
    state = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                state.update(block)
    except OSError as error:
        raise EvidenceError(f"cannot measure {path}: {error.strerror}") from error
    return state.digest()


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _closure(installed: Mapping[str, Distribution], names: Iterable[str]) -> set[str]:
    """Return the installed distributions of these names, and what they require without extras."""
    waiting, found = [_normalised(name) for name in names], set[str]()
    while waiting:
        name = waiting.pop()
        if name in found or name not in installed:
            continue
        found.add(name)
        for requirement in installed[name].requires or ():
            if "extra ==" not in requirement and (match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)):
                waiting.append(_normalised(match[0]))
    return found


def _digest_of(found: Distribution) -> bytes:
    """Hash the files of a distribution as they are on the disk, whatever its RECORD says of them."""
    state = hashlib.sha256()
    for file in sorted(found.files or (), key=str):
        path = Path(str(found.locate_file(file)))
        if "__pycache__" in file.parts or (file.name in _UNSTABLE and ".dist-info" in str(file.parent)):
            continue
        if file.parts[0] == ".." and "bin" in file.parts:  # scripts begin with the path of this machine's Python
            continue
        _add(state, str(file), path)
    return state.digest()


def _tree_digest(folder: Path) -> bytes:
    state = hashlib.sha256()
    for name, path in _files(folder):
        _add(state, name, path)
    return state.digest()


def _add(state: hashlib._Hash, name: str, path: Path) -> None:
    digest = file_digest(path) if path.is_file() else b"missing"
    state.update(len(name.encode()).to_bytes(4, "big") + name.encode() + digest)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder and all below, by their names in it, in order; without caches, tests and packages."""
    for directory, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(names):
            if not name.endswith((".pyc", ".new")):
                path = Path(directory, name)
                yield path.relative_to(folder).as_posix(), path


def _loose() -> dict[str, bytes]:
    """Return the single files in the folders of packages: .pth files and sitecustomize, which run at every start, and
    modules that may stand before a package of their name.
    """
    places = [Path(place) for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    found = {}
    for number, place in enumerate(dict.fromkeys(places)):
        for path in sorted(place.glob("*")):
            if path.suffix in (".pth", ".py", ".so") and path.is_file():
                found[f"site{number or ''}/{path.name}"] = file_digest(path)
    return found
