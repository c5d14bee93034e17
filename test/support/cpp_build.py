"""Builds test programs in C++ with the headers of include/, once per content; skips without compiler or OpenSSL."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "include"
CACHE = ROOT / "build" / "cpp-tests"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiler() -> str:
    """The C++ compiler; skips the test without one, or without the headers of OpenSSL 3."""
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if found is None:
        pytest.skip("no C++ compiler")
    probe = "#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error OpenSSL 3 is needed\n#endif\n"
    done = subprocess.run(
        [found, "-fsyntax-only", "-xc++", "-"], input=probe, text=True, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no headers of OpenSSL 3: `make debian-deps` or `apt-get install libssl-dev` installs them")
    return found


def build(source: Path, options: Sequence[str], libraries: Sequence[str] = ("-lcrypto", "-pthread")) -> Path:
    """Compile and link one source file, unless that was done; returns the program."""
    command = [compiler(), "-std=c++17", *WARNINGS, *options, f"-I{INCLUDE}", str(source)]
    key = hashlib.sha256(repr((command, libraries)).encode())
    for path in (source, *sorted(INCLUDE.rglob("*.hpp"))):
        key.update(path.read_bytes())
    program = CACHE / f"{source.stem}-{key.hexdigest()[:16]}"
    if not program.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = program.with_suffix(f".{os.getpid()}")
        done = subprocess.run([*command, "-o", str(partial), *libraries], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-6000:]
        for old in CACHE.glob(f"{source.stem}-*"):
            if old != partial:
                old.unlink(missing_ok=True)
        partial.rename(program)
    return program


def check_syntax(source: Path, options: Sequence[str]) -> str:
    """Compile a file without making a program; returns what the compiler says, which is nothing where it holds."""
    command = [compiler(), "-std=c++17", *WARNINGS, *options, f"-I{INCLUDE}", "-fsyntax-only", str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr
