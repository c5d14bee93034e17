"""Fetches what the C++ tests need and pip has not: the headers of OpenSSL 3, by apt-get where it may be used.

Exits 2 with one line if they cannot be had; the tests that need them then skip themselves, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGE = "libssl-dev"
PROBE = "#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error too old\n#endif\n"


def has_headers() -> bool:
    """Whether the C++ compiler finds the headers of OpenSSL 3."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return False
    command = [compiler, "-fsyntax-only", "-xc++", "-"]
    return subprocess.run(command, input=PROBE, text=True, capture_output=True, check=False).returncode == 0


def main() -> int:
    """Install the headers unless they are there."""
    if has_headers():
        return 0
    if not shutil.which("apt-get"):
        print(f"no {PACKAGE}, and no apt-get to install it with", file=sys.stderr)
        return 2
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", PACKAGE]):
        done = subprocess.run(
            [*prefix, "apt-get", *command], env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"no {PACKAGE}: apt-get {command[0]}: {last}", file=sys.stderr)
            return 2
    return 0 if has_headers() else 2


if __name__ == "__main__":
    sys.exit(main())
