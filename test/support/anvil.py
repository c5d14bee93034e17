"""A real Ethereum node for a test: anvil from `make chain-deps`, on a port of its own, mining when it is told to."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".cache" / "chain"
BINARY = TOOLS / "anvil"
# Keys of anvil's test mnemonic, known to everybody.
KEYS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)


class Anvil:
    """A running node; `rpc` talks to it. `automine(False)` lets transactions wait."""

    def __init__(self, *options: str, port: int = 0) -> None:
        if not BINARY.is_file():
            pytest.skip("anvil is not there: make chain-deps")
        from og_ros.settlement.rpc import Rpc

        command = [str(BINARY), "--hardfork", "osaka", "--port", str(port), *options]
        # A file: a pipe that nobody reads would stop the node once it is full.
        self._log = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(command, stdout=self._log)

        def listening() -> re.Match[str] | None:
            assert self._process.poll() is None, "anvil ended"
            return re.search(r"Listening on 127\.0\.0\.1:(\d+)", Path(self._log.name).read_text())

        wait_for(listening, "anvil does not listen")
        found = listening()
        assert found is not None
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.rpc = Rpc(self.url)

    def mine(self, blocks: int = 1) -> None:
        self.rpc.call("anvil_mine", hex(blocks))

    def automine(self, on: bool) -> None:
        self.rpc.call("evm_setAutomine", on)

    def stop(self) -> None:
        self.rpc.close()
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()


def wait_for(condition: Any, what: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:g} s: {what}"
        time.sleep(0.02)
