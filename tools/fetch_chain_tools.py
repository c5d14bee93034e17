"""Fetches what the settlement tests need: fetch_chain_tools.py FOLDER gets anvil (npm) and Vyper (PyPI).

anvil (an Ethereum node for development, MIT or Apache-2.0) goes to FOLDER/anvil. Vyper 0.4.3 (Apache-2.0) goes to an
environment of its own, FOLDER/vyper: it needs an older cbor2 than og_ros. Neither is committed nor shipped. Exits 2
with one line a thing that cannot be had; the tests that need it then skip themselves, with the reason.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from downloads import Unavailable, fetch_all, npm_file, reason

ANVIL = "@foundry-rs/anvil-linux-amd64@1.7.1"
ANVIL_SHA256 = "10c1c727d6c1de973aeb160e59875b9a9a23464d6e74149ee8abb30b3500311b"
VYPER = [
    "vyper==0.4.3", "asttokens==3.0.2", "cbor2==5.9.0", "immutables==0.21", "lark==1.3.1", "packaging==26.4",
    "pycryptodome==3.24.1",
]  # fmt: skip


def fetch_anvil(folder: Path) -> None:
    """Put the anvil binary into a folder unless the right one is there; raises Unavailable."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable("no anvil: it is pinned for Linux on x86_64 only")
    npm_file(ANVIL, "package/bin/anvil", ANVIL_SHA256, folder / "anvil", 0o755)


def fetch_vyper(folder: Path) -> None:
    """Make the environment with the Vyper compiler unless it is there; raises Unavailable."""
    home = folder / "vyper"
    if (home / "complete").is_file():
        return
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip=True)
    done = subprocess.run(
        [home / "bin" / "python", "-m", "pip", "install", "--quiet", *VYPER],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode != 0:
        raise Unavailable(f"no Vyper: pip: {reason(done)}")
    (home / "complete").touch()


def main() -> int:
    """Fetch both, whichever of them fails."""
    folder = Path(sys.argv[1])
    return fetch_all([lambda: fetch_anvil(folder), lambda: fetch_vyper(folder)])


if __name__ == "__main__":
    sys.exit(main())
