"""Runs nodes as child processes: starts them, notices one that dies, and stops them in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from og_ros.errors import ConfigError

STOP_TIMEOUT_S: Final = 15.0
_SHOWN_LINES: Final = 3
# A warning or an error as rclpy logs it: severity, time, node, text.
_COMPLAINT: Final = re.compile(r"^\[(WARN|ERROR|FATAL)\] \[[^\]]*\] \[[^\]]*\]: (.+)$", re.MULTILINE)


class Supervisor:
    """Child processes by name, each with a parameter file and a log file in `directory`."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._read: dict[str, int] = {}

    def start(self, name: str, module: str, parameters: Mapping[str, Any]) -> None:
        """Start `python -m module` as the node `name` with parameters (nested mappings become dotted names)."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump({f"/{name}": {"ros__parameters": dict(parameters)}}, sort_keys=False))
        command = [sys.executable, "-m", module, "--ros-args", "-r", f"__node:={name}", "--params-file", str(file)]
        self._read.pop(name, None)
        with open(self._log(name), "wb") as log:
            self._children[name] = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def check(self) -> None:
        """Raise ConfigError, with the last lines that it wrote, when a child has ended by itself."""
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                raise ConfigError(f"the node {name} ended with exit code {code}: {self._last_words(name)}")

    def complaints(self) -> list[tuple[str, str, str]]:
        """Return what children have warned of since the last call: name, severity (WARN, ERROR or FATAL), text."""
        found = []
        for name in self._children:
            with open(self._log(name), "rb") as log:
                log.seek(self._read.get(name, 0))
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[name] = self._read.get(name, 0) + len(whole)
            found += [(name, *match) for match in _COMPLAINT.findall(whole.decode(errors="replace"))]
        return found

    def stop(self, *names: str) -> dict[str, int]:
        """Stop children with SIGINT (all by default) and wait; returns their exit codes.

        One that does not end in 15 s is killed, and its code is negative.
        """
        chosen = {name: self._children.pop(name) for name in (names or list(self._children))}
        for child in chosen.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        codes = {}
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for name, child in chosen.items():
            try:
                codes[name] = child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                codes[name] = child.wait()
        return codes

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _last_words(self, name: str) -> str:
        try:
            lines = self._log(name).read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote nothing"
        return " / ".join(line.strip() for line in lines[-_SHOWN_LINES:] if line.strip()) or "it wrote nothing"
