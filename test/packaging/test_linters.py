"""Linters as ROS packages run them, in this project's style: ament_flake8, and what ament_cpplint and -lint_cmake wrap.

Not on PyPI, so not run: ament_copyright, ament_lint_cmake, ament_xmllint, ament_cpplint (cpplint and cmakelint, which
two of them wrap, are). ament_uncrustify and ament_cppcheck are, and need programs that are not; ament_pep257 wants
other docstrings than this project writes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ROOT

# As ament_cpplint has them, and: header guards, counted from include/; bodies on one line, as uncrustify has it.
CPPLINT = (
    "-build/c++11", "-build/header_guard", "-build/include_order", "-build/include_subdir", "-legal/copyright",
    "-runtime/references", "-whitespace/braces", "-whitespace/indent", "-whitespace/newline", "-whitespace/parens",
    "-whitespace/semicolon",
)  # fmt: skip
# What ruff's formatter leaves otherwise than pycodestyle has it.
FLAKE8 = "[flake8]\nextend-ignore = E203,E301,E701,E704,W503\nmax-line-length = 120\n"


def tool(name: str) -> str:
    program = Path(sys.executable).parent / name
    if not program.is_file():
        pytest.skip(f"{name} is not installed: make setup")
    return str(program)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_cpplint() -> None:
    filters = f"--filter={','.join(CPPLINT)}"
    folders = ("include", "test/cpp", "test/packaging")
    done = run(tool("cpplint"), "--quiet", filters, "--linelength=120", "--recursive", *folders)
    assert done.returncode == 0, done.stderr[-3000:]


def test_cmakelint() -> None:
    files = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("cmake/**/*.cmake"), ROOT / "CMakeLists.txt")]
    done = run(tool("cmakelint"), "--filter=-linelength", *files)
    assert done.returncode == 0, done.stdout[-3000:]


def test_ament_flake8(tmp_path: Path) -> None:
    (tmp_path / "flake8.ini").write_text(FLAKE8)
    done = run(tool("ament_flake8"), "--config", str(tmp_path / "flake8.ini"), "setup.py", "launch", "og_ros/attest")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
