"""Fetches what the tests in a browser need: fetch_web_tools.py FOLDER gets Chromium by apt, the rest from npm.

Chromium is installed only where none is found, by apt-get as root or with a sudo that asks for no password. axe-core
(accessibility rules, MPL-2.0) goes to FOLDER/axe.min.js and is neither committed nor shipped; the packages that web/ is
built and tested with go to web/node_modules, as its lock file pins them. Exits 2 with one line a
thing that cannot be had; the tests that need it then skip themselves, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

WEB = Path(__file__).resolve().parents[1] / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


class Unavailable(Exception):
    """What cannot be had here, and why."""


def fetch_chromium() -> None:
    """Install Chromium unless there is a browser already; raises Unavailable."""
    if os.environ.get("CHROMIUM") or any(shutil.which(name) for name in BROWSERS):
        return
    if not shutil.which("apt-get"):
        raise Unavailable("no Chromium, and no apt-get to install it with")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            [*prefix, "apt-get", *command], env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"no Chromium: apt-get {command[0]}: {last}")


def fetch_axe(folder: Path) -> None:
    """Put axe.min.js into a folder unless the right one is there; raises Unavailable."""
    target = folder / "axe.min.js"
    if target.is_file() and sha256(target.read_bytes()).hexdigest() == AXE_SHA256:
        return
    if not shutil.which("npm"):
        raise Unavailable("no axe-core: npm is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ["npm", "pack", "--silent", AXE], cwd=scratch, capture_output=True, text=True, check=False, timeout=300
        )
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"no axe-core: npm pack: {last}")
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile("package/axe.min.js")
            data = member.read() if member else b""
    if sha256(data).hexdigest() != AXE_SHA256:
        raise Unavailable(f"no axe-core: {AXE} is not the file that was expected")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def fetch_packages() -> None:
    """Install what web/ is built and tested with, as its lock file pins it; raises Unavailable."""
    lock, installed = WEB / "package-lock.json", WEB / "node_modules" / ".og_ros_lock"
    wanted = sha256(lock.read_bytes()).hexdigest()
    if installed.is_file() and installed.read_text() == wanted:
        return
    if not shutil.which("npm"):
        raise Unavailable("no packages for web/: npm is not installed")
    done = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=WEB, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unavailable(f"no packages for web/: npm ci: {last}")
    installed.write_text(wanted)


def main() -> int:
    """Fetch all of them, whichever fails."""
    folder = Path(sys.argv[1])
    code = 0
    for fetch in (fetch_chromium, lambda: fetch_axe(folder), fetch_packages):
        try:
            fetch()
        except (Unavailable, OSError, subprocess.TimeoutExpired) as error:
            print(error, file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
