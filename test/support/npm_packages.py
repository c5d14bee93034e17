"""Runs the Node.js tools of web/ in tests, which skip with the reason where `make web-deps` could not install them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
TSC = WEB / "node_modules" / "typescript" / "bin" / "tsc"


def node(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Node.js in web/; skips where it or its packages are not here."""
    program = shutil.which("node")
    if program is None or not TSC.is_file():
        pytest.skip("Node.js or the packages of web/ are not here; `make web-deps` installs the packages")
    return subprocess.run(
        [program, *map(str, arguments)], cwd=WEB, env={**os.environ, **environment}, capture_output=True, text=True,
        check=False, timeout=240,
    )  # fmt: skip
