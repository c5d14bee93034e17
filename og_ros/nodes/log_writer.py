"""The auditor's hand in the log: opens it, appends in batches, and keeps what waits while it cannot be written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.attest import Attestation, ml_dsa
from og_ros.attest.keys import load_private
from og_ros.errors import KeyFileError, LogError
from og_ros.log import Ledger

# A log that cannot be written is tried again so often; each try writes all that waits.
_RETRY_S: Final = 1.0


def open_log(directory: Path, key_file: Path, origin: str, post_quantum_file: Path | None = None) -> Ledger:
    """Open a log, or make it where there is none; raises LogError, KeyFileError."""
    key = load_private(key_file)
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{key_file} is no Ed25519 key, which a log needs: og-ros keys generate --algorithm EdDSA")
    second = ml_dsa.load_private(post_quantum_file) if post_quantum_file is not None else None
    if not (directory / "log.db").exists():
        return Ledger.create(directory, origin, key, second)
    try:
        return Ledger.open(directory, key, second)
    except LogError:
        # A kill may have cut off its creation, which is taken up; of anything else the first error tells more.
        with contextlib.suppress(LogError):
            return Ledger.create(directory, origin, key, second)
        raise


class LogWriter:
    """Attestations on their way into a log; for one thread.

    While the log cannot be written they wait, `limit_bytes` of them. What finds no room is handed to `defer`: it is to
    be asked for again once `failed` is empty, since the stages' journals have it. Nothing is accepted before the log
    has it, so nothing accepted is lost.
    """

    def __init__(
        self, ledger: Ledger, limit_bytes: int, defer: Callable[[Attestation], None], report: Callable[[str], None]
    ) -> None:
        """`report` gets one line when the log fails, when the room is used up, and when it works again."""
        self.ledger = ledger
        self.failed = ""
        self.deferred = 0
        """How many found no room since the log failed."""
        self.size, self.root = ledger.size, ledger.root()
        self._limit_bytes, self._defer, self._report = limit_bytes, defer, report
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._retry_at = 0.0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, attestation: Attestation) -> None:
        """Let an attestation wait for the next `append`."""
        size = len(attestation.cose)
        if self.failed and self._bytes + size > self._limit_bytes:
            self._defer(attestation)
            self.deferred += 1
            if self.deferred == 1:
                self._report(
                    f"{len(self._waiting)} attestations wait for the log, and there is no room for more: the rest will "
                    "be asked for from the stages' journals"
                )
            return
        self._waiting.append(attestation.cose)
        self._bytes += size

    def append(self, last: bool = False) -> None:
        """Write what waits; if that fails, it goes on waiting, and `failed` says why. `last`: there is no later."""
        now = time.monotonic()
        if not self._waiting or (now < self._retry_at and not last):
            return
        try:
            self.ledger.append(self._waiting, unique=True)
        except LogError as error:
            if not self.failed:
                self._report(f"{len(self._waiting)} attestations wait for the log: {error}")
            self.failed, self._retry_at = str(error), time.monotonic() + _RETRY_S
            return
        if self.failed:
            self._report(
                f"the log is written again: {len(self._waiting)} attestations waited"
                + (f", {self.deferred} found no room" if self.deferred else "")
            )
        self._waiting, self._bytes = [], 0
        self.size, self.root = self.ledger.size, self.ledger.root()
        self.failed, self.deferred, self._retry_at = "", 0, 0.0
