"""An aggregator's process for a test or a measurement, started again as often as it is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from anvil import wait_for
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fleet_robots import FLEET, FLEET_KEY, ORIGIN


class Running:
    """A process with log key, registry, outbox and configuration in a folder; `backends` and `section` are YAML."""

    def __init__(
        self, folder: Path, storage: str, backends: str = "copy: {type: local}", every_seconds: float = 0.2,
        environment: Mapping[str, str] | None = None, section: str = "",
    ) -> None:  # fmt: skip
        self.folder = folder
        self._environment = {**os.environ, **(environment or {})}
        (folder / "fleet_log.pem").write_bytes(
            FLEET_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        (folder / "fleet_log.pem").chmod(0o600)
        self.config = folder / "aggregator.yaml"
        self.config.write_text(
            f"fleet: {FLEET}\naggregator:\n  origin: {ORIGIN}\n  key: fleet_log.pem\n  registry: registry\n"
            f"  storage: '{storage}'\n  port: 0\n  checkpoints_per_minute: 6000\n  burst: 1000\n"
            f"  reads_per_minute: 60000\n{section}"
            f"settlement:\n  state: state\n  every_seconds: {every_seconds}\n  backends:\n    {backends}\n"
        )
        self.start()

    def start(self) -> None:
        self._said = open(self.folder / "said", "wb")  # noqa: SIM115
        command = [sys.executable, "-m", "og_ros.cli.main", "aggregator", "run", "--config", str(self.config)]
        self.process = subprocess.Popen(command, stderr=self._said, env=self._environment)

        def listening() -> re.Match[str] | None:
            assert self.process.poll() is None, self.said()
            return re.search(r"listens on 127\.0\.0\.1:(\d+)", self.said())

        wait_for(listening, "it does not listen")
        found = listening()
        assert found is not None
        self.url = f"http://127.0.0.1:{found[1]}"

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._said.close()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self._said.close()
        return code
