"""Installs what tests need of Debian's or Ubuntu's packages, in one run of apt-get: only what is not there yet.

Exits 2 with one line if that cannot be done; the tests that need it then skip themselves, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from downloads import apt_install, fetch_all

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
OPENSSL = "#include <openssl/opensslv.h>\n#if OPENSSL_VERSION_MAJOR < 3\n#error too old\n#endif\n"


def has_browser() -> bool:
    """Whether there is a Chromium for the tests of pages."""
    return bool(os.environ.get("CHROMIUM")) or any(shutil.which(name) for name in BROWSERS)


def has_openssl() -> bool:
    """Whether the C++ compiler finds the headers of OpenSSL 3."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        return False
    command = [compiler, "-fsyntax-only", "-xc++", "-"]
    return subprocess.run(command, input=OPENSSL, text=True, capture_output=True, check=False).returncode == 0


def has_postgresql() -> bool:
    """Whether there is a PostgreSQL server, which Debian keeps off the PATH."""
    return bool(shutil.which("initdb")) or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def has_softhsm() -> bool:
    """Whether there is a PKCS#11 token in software."""
    return shutil.which("softhsm2-util") is not None


def has_tss() -> bool:
    """Whether there is what tpm2-pytss is built against, and what speaks with swtpm."""
    probe = ["pkg-config", "--exists", "tss2-esys", "tss2-tcti-swtpm"]
    return bool(shutil.which(probe[0])) and subprocess.run(probe, check=False).returncode == 0


# Each package, and whether what it is for is there already.
PACKAGES: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("chromium", has_browser),
    ("libssl-dev", has_openssl),
    ("postgresql", has_postgresql),
    ("softhsm2", has_softhsm),
    ("swtpm", lambda: shutil.which("swtpm") is not None),
    ("swtpm-tools", lambda: shutil.which("swtpm_localca") is not None),
    ("tpm2-tools", lambda: shutil.which("tpm2_checkquote") is not None),
    ("libtss2-dev", has_tss),
    ("pkg-config", lambda: shutil.which("pkg-config") is not None),
)


def main() -> int:
    """Install what is missing."""
    missing = [package for package, there in PACKAGES if not there()]
    return fetch_all([lambda: apt_install(missing)])


if __name__ == "__main__":
    sys.exit(main())
