"""Runs nodes as child processes: starts them, notices one that dies, and stops them in order."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from og_ros.errors import ConfigError

STOP_TIMEOUT_S: Final = 15.0
_SHOWN_LINES: Final = 3
# A warning or an error as rclpy logs it: severity, time, node, text.
_COMPLAINT: Final = re.compile(r"^\[(WARN|ERROR|FATAL)\] \[[^\]]*\] \[[^\]]*\]: (.+)$", re.MULTILINE)


@dataclass
class _Beside:
    """A command beside the nodes: how soon it is started again, and when (monotonic s), once it has ended."""

    command: tuple[str, ...]
    restart_s: float
    again_at: float | None = None


class Supervisor:
    """Child processes by name, each with a parameter file and a log file in `directory`."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._environment = {**os.environ, **(environment or {})}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._beside: dict[str, _Beside] = {}
        self._read: dict[str, int] = {}

    def start(self, name: str, module: str, parameters: Mapping[str, Any]) -> None:
        """Start `python -m module` as the node `name` with parameters (nested mappings become dotted names)."""
        self._directory.mkdir(parents=True, exist_ok=True)
        file = self._directory / f"{name}.yaml"
        file.write_text(yaml.safe_dump({f"/{name}": {"ros__parameters": dict(parameters)}}, sort_keys=False))
        command = [sys.executable, "-m", module, "--ros-args", "-r", f"__node:={name}", "--params-file", str(file)]
        self._spawn(name, command, "wb")

    def start_beside(self, name: str, command: Sequence[str], restart_s: float) -> None:
        """Start a command that may end without harm to the nodes: it is started again `restart_s` after its end."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._beside[name] = _Beside(tuple(command), restart_s)
        self._spawn(name, command, "wb")

    def check(self) -> list[str]:
        """Raise ConfigError, with the last lines that it wrote, when a node has ended by itself.

        What runs beside the nodes is started again once it is time; returns a sentence for each that has ended.
        """
        ended = []
        for name, child in self._children.items():
            code = child.poll()
            if code is None:
                continue
            beside = self._beside.get(name)
            if beside is None:
                raise ConfigError(f"the node {name} ended with exit code {code}: {self._last_words(name)}")
            now = time.monotonic()
            if beside.again_at is None:
                beside.again_at = now + beside.restart_s
                ended.append(f"ended with exit code {code}, and is started again: {self._last_words(name)}")
            elif now >= beside.again_at:
                beside.again_at = None
                self._spawn(name, beside.command, "ab")
        return ended

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

    def stop(self, *names: str, timeout_s: float = STOP_TIMEOUT_S) -> dict[str, int]:
        """Stop children with SIGINT (all by default) and wait; returns their exit codes.

        One that does not end in time is killed, and its code is negative.
        """
        chosen = {name: self._children.pop(name) for name in (names or list(self._children))}
        for child in chosen.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        codes = {}
        deadline = time.monotonic() + timeout_s
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

    def _spawn(self, name: str, command: Sequence[str], mode: str) -> None:
        if mode == "wb":
            self._read.pop(name, None)
        with open(self._log(name), mode) as log:
            self._children[name] = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _last_words(self, name: str) -> str:
        try:
            lines = self._log(name).read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote nothing"
        return " / ".join(line.strip() for line in lines[-_SHOWN_LINES:] if line.strip()) or "it wrote nothing"
