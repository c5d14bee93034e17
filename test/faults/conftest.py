"""What processes of the fault tests are started with: a slow disk and a wrong clock."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import bad_link
import pytest

SOURCE = Path(bad_link.__file__).with_name("bad_system.c")


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that tells processes started from now on how slow their disk and how wrong their clock is."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path / "bad_system.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    file = tmp_path / "faults"
    file.write_text("0 0")
    monkeypatch.setenv("OG_FAULTS", str(file))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    return file
