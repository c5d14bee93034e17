"""Fetches what checks our log and witness and is not ours: fetch_log_tools.py FOLDER gets packages of Debian sid.

torchwood (spicy-torchwood, litewitness, BSD-3-Clause) and Sigsum's log and tools (BSD-2-Clause): programs without
dependencies but libc, which apt-get downloads and checks by Debian's signature. They are put into FOLDER and not
installed, committed or shipped. Exits 2 with one line if they cannot be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from downloads import Unavailable, fetch_all, reason

PACKAGES = ("torchwood", "sigsum-go", "sigsum-log-go")
PROGRAMS = ("spicy-torchwood", "litewitness", "witnessctl", "sigsum-key", "sigsum-submit", "sigsum-verify",
            "sigsum-log-primary")  # fmt: skip
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def mirror() -> str:
    """Return the mirror of Debian that this system is set up with; raises Unavailable."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    for line in done.stdout.splitlines():
        if line.rstrip("/").endswith("/debian"):
            return line
    raise Unavailable(f"no {', '.join(PACKAGES)}: no mirror of Debian is among this system's sources")


def fetch(folder: Path) -> None:
    """Put the programs into a folder, unless all programs are there; raises Unavailable."""
    if all((folder / program).is_file() for program in PROGRAMS):
        return
    names = ", ".join(PACKAGES)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and KEYRING.is_file()):
        raise Unavailable(f"no {names}: they are Debian's, and this system has no apt-get with Debian's keys")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        for part in ("lists/partial", "archives/partial"):
            (home / part).mkdir(parents=True)
        (home / "status").touch()
        # A list of its own: the system's sources stay as they are.
        (home / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} sid main\n")
        settings = {
            "Dir::State::Lists": home / "lists", "Dir::State::status": home / "status",
            "Dir::Cache::archives": home / "archives", "Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": "",
            "Dir::Etc::sourcelist": home / "sources.list", "Dir::Etc::sourceparts": "-",
            "Acquire::Languages": "none", "APT::Sandbox::User": "root",
        }  # fmt: skip
        options = [f"-o{name}={value}" for name, value in settings.items()]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["download", "-q", *PACKAGES]):
            done = subprocess.run(
                ["apt-get", *options, *command],
                cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=600,
            )  # fmt: skip
            if done.returncode != 0:
                raise Unavailable(f"no {names}: apt-get {command[0]}: {reason(done)}")
        unpacked = home / "unpacked"
        for package in home.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True, timeout=120)
        missing = [program for program in PROGRAMS if not (unpacked / "usr" / "bin" / program).is_file()]
        if missing:
            raise Unavailable(f"no {', '.join(missing)}: the packages do not have them any more")
        folder.mkdir(parents=True, exist_ok=True)
        for program in PROGRAMS:
            shutil.copy(unpacked / "usr" / "bin" / program, folder / program)


if __name__ == "__main__":
    sys.exit(fetch_all([lambda: fetch(Path(sys.argv[1]))]))
