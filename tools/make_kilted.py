"""Makes an environment with ROS 2 Kilted and og_ros built for it: make_kilted.py FOLDER.

Jazzy's and Kilted's wheels have the same names, so Kilted has a virtual environment of its own. Only what changed is
made anew. Exits 2 with one line if it cannot.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "requirements" / "kilted.txt"
LOCK = ROOT / "requirements" / "constraints.txt"
TOOLS = ("catkin-pkg", "cmake", "ninja", "setuptools<80", "wheel")
# All that a build reads.
SOURCES = (
    *("CMakeLists.txt", "LICENSE", "README.md", "package.xml", "pyproject.toml", "setup.py"),
    *("cmake", "config", "include", "launch", "msg", "og_ros", "resource", "srv", "tools"),
)


def dependencies(folder: Path) -> None:
    """Makes the environment with all that og_ros needs, unless it is there and current."""
    wanted = subprocess.run(
        [sys.executable, ROOT / "tools" / "requirements.py", "robot"], check=True, capture_output=True, text=True
    ).stdout
    key = hashlib.sha256(f"{sys.version}\n{wanted}".encode() + PINS.read_bytes() + LOCK.read_bytes()).hexdigest()
    stamp = folder / "dependencies.sha256"
    if stamp.is_file() and stamp.read_text() == key:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The lock is Jazzy's: what it says of ROS and of the template engine of ROS's generators is not for Kilted.
    others = [line for line in LOCK.read_text().splitlines() if not line.startswith(("ros-", "empy=="))]
    (folder / "constraints.txt").write_text("\n".join(others))
    (folder / "requirements.txt").write_text("\n".join([wanted, *TOOLS]))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--use-pep517"]
    what = ["-c", folder / "constraints.txt", "-r", PINS, "-r", folder / "requirements.txt"]
    subprocess.run([*pip, *what], check=True)
    stamp.write_text(key)


def build(folder: Path) -> None:
    """Installs og_ros as it is now. The interfaces are built only when they changed."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.rmtree(source / name, ignore_errors=True)
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.new"))
        else:
            shutil.copy2(ROOT / name, source / name)
    # Those of the source tree are Jazzy's.
    for generated in ("msg", "srv"):
        shutil.rmtree(source / "og_ros" / generated, ignore_errors=True)
    pip = [folder.absolute() / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--force-reinstall", source.absolute()]
    environment = {"OG_ROS_WITH_MSGS": "1", "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    subprocess.run([*pip, *options], check=True, env=environment)


def main() -> int:
    folder = Path(sys.argv[1])
    try:
        dependencies(folder)
        build(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"there is no ROS 2 Kilted ({error}); its tests will be skipped", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
