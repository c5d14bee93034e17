"""A TPM in software (swtpm) of a test's own, on a socket in a directory of its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def missing() -> str:
    """Why there is no swtpm here; empty when there is."""
    try:
        import tpm2_pytss  # noqa: F401
    except ImportError:
        return "tpm2-pytss is not installed"
    return "" if shutil.which("swtpm") else "swtpm is not installed"


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run a fresh TPM until the end of the block; gives what --tcti takes. Keep the path short: it is a socket's."""
    state, socket = folder / "tpm", folder / "tpm.sock"
    state.mkdir()
    process = subprocess.Popen(
        [
            *("swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--server", f"type=unixio,path={socket}"),
            *("--ctrl", f"type=unixio,path={socket}.ctrl", "--flags", "not-need-init,startup-clear"),
        ]
    )
    try:
        end = time.monotonic() + 30
        while not socket.exists():
            assert process.poll() is None, "swtpm ended at once"
            assert time.monotonic() < end, "swtpm did not start"
            time.sleep(0.01)
        yield f"swtpm:path={socket}"
    finally:
        process.terminate()
        process.wait(10)
