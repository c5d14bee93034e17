"""The state of a fleet's audit on disk: one JSON file a recording, and its rows, so that a second run goes on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from og_ros.audit.fleet.sightings import Rows, read_rows
from og_ros.audit.fleet.task import FORMAT, Outcome
from og_ros.errors import ConfigError

_ROWS: Final = ".rows.npy"


class State:
    """A directory of outcomes by task identity. It is the auditor's own: what lies there is believed."""

    def __init__(self, directory: Path) -> None:
        """Make the directory where it is missing; raises ConfigError."""
        self.directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot make {directory} for the state: {error.strerror}") from error

    def load(self, identity: str) -> Outcome | None:
        """Return a finished outcome without its rows; None where there is none, or not a whole one."""
        try:
            data = json.loads((self.directory / f"{identity}.json").read_bytes())
            if data["format"] != FORMAT or data["identity"] != identity or data["error"]:
                return None
            if hashlib.sha256((self.directory / f"{identity}{_ROWS}").read_bytes()).hexdigest() != data["rows_sha256"]:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Outcome(data)

    def save(self, identity: str, outcome: Outcome) -> None:
        """Write an outcome; a crash at any time leaves it whole or not there. Raises ConfigError."""
        data = {**outcome.data, "identity": identity, "rows_sha256": hashlib.sha256(outcome.rows).hexdigest()}
        self._write(f"{identity}{_ROWS}", outcome.rows)
        self._write(f"{identity}.json", json.dumps(data, ensure_ascii=False, indent=1).encode() + b"\n")

    def rows(self, identity: str) -> Rows:
        """Read the rows of an outcome that was saved; raises ConfigError."""
        file = self.directory / f"{identity}{_ROWS}"
        try:
            return read_rows(file.read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {file}: {error}") from error

    def _write(self, name: str, data: bytes) -> None:
        file = self.directory / name
        partial = file.with_name(f"{name}.{os.getpid()}.part")
        try:
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise ConfigError(f"cannot write {file}: {error.strerror}") from error
