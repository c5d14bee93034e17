"""Fetches from npm what the tests in a browser need: fetch_web_tools.py FOLDER; Chromium is fetch_debian.py's.

axe-core (accessibility rules, MPL-2.0) goes to FOLDER/axe.min.js and is neither committed nor shipped; the packages
that web/ is built and tested with go to web/node_modules, as its lock file pins them. Exits 2 with one line a thing
that cannot be had; the tests that need it then skip themselves, with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from downloads import Unavailable, fetch_all, npm_file, reason

WEB = Path(__file__).resolve().parents[1] / "web"
AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


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
        raise Unavailable(f"no packages for web/: npm ci: {reason(done)}")
    installed.write_text(wanted)


def main() -> int:
    """Fetch both, whichever fails."""
    axe = Path(sys.argv[1]) / "axe.min.js"
    return fetch_all([lambda: npm_file(AXE, "package/axe.min.js", AXE_SHA256, axe), fetch_packages])


if __name__ == "__main__":
    sys.exit(main())
