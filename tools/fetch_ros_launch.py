"""Fetches ROS launch for the tests: fetch_ros_launch.py FOLDER puts the pure-Python packages there, once.

PyPI has ROS 2 Jazzy's launch, launch_ros and launch_testing only inside NVIDIA's isaacsim-ros2 wheel. The folders named
below are Open Robotics' own, under Apache-2.0; nothing else of that wheel is kept. Exits 2 with one line if it cannot.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "isaacsim-ros2==6.2.0.0"
INSIDE = "isaacsim/exts/isaacsim.ros2.core/jazzy/rclpy/"
PACKAGES = (
    "composition_interfaces",
    "domain_coordinator",
    "launch",
    "launch_ros",
    "launch_testing",
    "launch_testing_ros",
    "launch_xml",
    "launch_yaml",
    "osrf_pycommon",
)
# The wheel is built for one Python version; what is taken from it runs on all.
DOWNLOAD = [
    *("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    *("--implementation", "cp", "--python-version", "3.12", "--platform", "manylinux_2_35_x86_64"),
]


def wanted(name: str) -> bool:
    """Whether a file of the wheel belongs to one of PACKAGES, or to the metadata that its entry points are found by."""
    if not name.startswith(INSIDE) or name.endswith((".so", "/")):
        return False
    top, _, rest = name.removeprefix(INSIDE).partition("/")
    return bool(rest) and (top in PACKAGES or (top.endswith(".egg-info") and top.split("-")[0] in PACKAGES))


def fetch(folder: Path) -> None:
    """Downloads the wheel and unpacks the wanted files into ``folder``, which appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        subprocess.run([sys.executable, *DOWNLOAD, "--dest", scratch, WHEEL], check=True)
        complete = Path(scratch, "complete")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            for name in filter(wanted, wheel.namelist()):
                target = complete / name.removeprefix(INSIDE)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(wheel.read(name))
        if not (complete / "launch" / "__init__.py").is_file():
            raise FileNotFoundError(f"{WHEEL} has no {INSIDE}launch")
        shutil.rmtree(folder, ignore_errors=True)
        complete.rename(folder)


def main() -> int:
    folder = Path(sys.argv[1])
    if (folder / "launch" / "__init__.py").is_file():
        return 0
    try:
        fetch(folder)
    except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
        print(f"ROS launch cannot be fetched ({error}); the tests that need it will be skipped", file=sys.stderr)
        return 2
    print(f"ROS launch is in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
