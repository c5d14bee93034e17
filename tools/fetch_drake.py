"""Fetches drake's SDF parser for the tests: fetch_drake.py FOLDER puts drake there, once, beside nothing that it needs.

Its dependencies are for other things than parsing but numpy, which og_ros has. Exits 2 with one line if it cannot.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The newest release for CPython 3.11 (42 MB to fetch, 170 MB on disk).
WHEEL = "drake==1.51.1"


def fetch(folder: Path) -> None:
    """Install the wheel into ``folder``, which appears only when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        complete = Path(scratch, "complete")
        options = ("--quiet", "--no-deps", "--only-binary=:all:", "--target", str(complete))
        subprocess.run([sys.executable, "-m", "pip", "install", *options, WHEEL], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        complete.rename(folder)


def main() -> int:
    folder = Path(sys.argv[1])
    if (folder / "pydrake").is_dir():
        return 0
    try:
        fetch(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"drake cannot be fetched ({error}); the tests that need it will be skipped", file=sys.stderr)
        return 2
    print(f"drake is in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
