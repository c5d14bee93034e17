"""Programs that others wrote, which check our log and witness: on the PATH, or where `make log-deps` puts them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "log_tools"


def log_tool(name: str) -> str:
    """The path of a program; skips the test where it is not to be had."""
    found = shutil.which(name) or shutil.which(name, path=str(FOLDER))
    if found is None:
        pytest.skip(f"{name} is not here: `make log-deps` fetches it (Debian's torchwood and sigsum packages)")
    return found
