"""Fetches other DDS and another ROS for the wire tests: fetch_other_ros.py FOLDER puts them there, once.

PyPI has Eclipse Cyclone DDS's rmw for Jazzy, and ROS 2 Humble as a whole, only inside NVIDIA's isaacsim-ros2 wheel.
What is taken from it is Open Robotics', Eclipse's and OpenSSL's own, open source all of it:

  FOLDER/cyclonedds/lib      rmw_cyclonedds_cpp with DDS security, to be preloaded over the Jazzy of extra `ros`
  FOLDER/humble              rclpy and messages of Humble for CPython 3.12, with both rmw and what Python they need

Exits 2 with one line if it cannot; Humble needs a CPython 3.12, which the tests look for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from fetch_ros_launch import DOWNLOAD, WHEEL

INSIDE = re.compile(r"isaacsim/exts/isaacsim\.ros2\.core/(jazzy|humble)/(.+)")
CYCLONE = re.compile(r"lib/lib(ddsc|dds_security_\w+|rmw_cyclonedds_cpp|iceoryx_\w+|ssl|crypto)\.so[.\d]*")
# What rclpy itself and the tests' messages need.
INTERFACES = (
    *("action_msgs", "builtin_interfaces", "geometry_msgs", "nav_msgs", "rcl_interfaces", "rmw_dds_common"),
    *("rosgraph_msgs", "sensor_msgs", "std_msgs", "unique_identifier_msgs", "lifecycle_msgs", "statistics_msgs"),
)
PYTHON = {
    *("ament_index_python", "rclpy", "rosidl_cmake", "rosidl_generator_py", "rosidl_parser", "rpyutils"),
    *INTERFACES,
}
REQUIREMENTS = ("numpy<3", "pyyaml>=6", "lark>=1")
WHEELS = [
    *("--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.12"),
    *("--platform", "manylinux2014_x86_64"),
    *("--platform", "manylinux_2_27_x86_64", "--platform", "manylinux_2_28_x86_64"),
]
MARK = "complete"


def target(name: str) -> str | None:
    """Where a file of the wheel goes below FOLDER, or None."""
    found = INSIDE.fullmatch(name)
    if found is None or name.endswith("/"):
        return None
    distribution, path = found.groups()
    if distribution == "jazzy":
        return f"cyclonedds/{path}" if CYCLONE.fullmatch(path) else None
    kind, _, rest = path.partition("/")
    if kind == "lib":
        interface = re.match(r"lib(\w+?)__rosidl", rest)
        wanted = ".so" in rest and "/" not in rest and (interface is None or interface[1] in INTERFACES)
    else:
        wanted = (kind == "rclpy" and rest.split("/")[0] in PYTHON) or rest.startswith("ament_index/")
    return f"humble/{path}" if wanted else None


def fetch(folder: Path) -> None:
    """Downloads the wheel and unpacks the wanted files into ``folder``, which appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        subprocess.run([sys.executable, *DOWNLOAD, "--dest", scratch, WHEEL], check=True)
        complete = Path(scratch, "complete")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            for name in wheel.namelist():
                if where := target(name):
                    path = complete / where
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(wheel.read(name))
        for needed in ("cyclonedds/lib/librmw_cyclonedds_cpp.so", "humble/rclpy/rclpy/__init__.py"):
            if not (complete / needed).is_file():
                raise FileNotFoundError(f"{WHEEL} has no {needed}")
        # For another Python than this one: nothing of it is run here.
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(complete / "humble" / "python")]
        subprocess.run([*install, *WHEELS, *REQUIREMENTS], check=True)
        (complete / MARK).touch()
        shutil.rmtree(folder, ignore_errors=True)
        complete.rename(folder)


def main() -> int:
    folder = Path(sys.argv[1])
    if (folder / MARK).is_file():
        return 0
    try:
        fetch(folder)
    except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
        print(f"Cyclone DDS and Humble cannot be fetched ({error}); their tests will be skipped", file=sys.stderr)
        return 2
    print(f"Cyclone DDS and ROS 2 Humble are in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
