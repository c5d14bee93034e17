"""Installs tpm2-pytss (extra `tpm`), which is built against libtss2-dev, unless it is there.

Exits 2 with one line if that cannot be done; the tests that need it then skip themselves, with the reason.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from downloads import Unavailable, fetch_all, reason
from fetch_debian import has_tss

ROOT = Path(__file__).resolve().parent.parent


def install() -> None:
    """Install it at the version of the lock; raises Unavailable."""
    if importlib.util.find_spec("tpm2_pytss"):
        return
    if not has_tss():
        raise Unavailable("no tpm2-pytss: libtss2-dev is not installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "-c", "requirements/constraints.txt", "tpm2-pytss"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode != 0:
        raise Unavailable(f"no tpm2-pytss: {reason(done)}")


if __name__ == "__main__":
    sys.exit(fetch_all([install]))
