"""Attester of `tdx` and `sev-snp`: a quote or report from Linux's configfs-tsm (Linux 6.7 and newer, in the guest).

After Documentation/ABI/testing/configfs-tsm-report of the kernel: make a directory, write 64 bytes to `inblob`, read
`outblob`, and see by `generation` that nobody wrote in between. Tested against a directory that behaves as that text
says; never run live, in want of such a guest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import Evidence

ROOT: Final = Path("/sys/kernel/config/tsm/report")
PROVIDERS: Final = {"tdx": "tdx_guest", "sev-snp": "sev_guest"}
_HINT: Final = "it needs Linux 6.7 in a confidential guest, with configfs mounted"


class ConfigfsAttester:
    """Asks the kernel of a confidential guest for evidence; `root` is where configfs-tsm lies."""

    def __init__(self, evidence_format: str, root: Path = ROOT) -> None:
        """Take the format, tdx or sev-snp; raises EvidenceError for another."""
        if evidence_format not in PROVIDERS:
            raise EvidenceError(f"configfs-tsm gives no evidence of format {evidence_format}")
        self._format, self._root = evidence_format, root

    @property
    def format(self) -> str:
        """Return the format of the evidence that it makes."""
        return self._format

    def available(self) -> str:
        """Return why it cannot attest here; empty when it can."""
        if not self._root.is_dir():
            return f"there is no {self._root}: {_HINT}"
        try:
            with self._entry() as entry:
                self._check_provider(entry)
        except EvidenceError as error:
            return str(error)
        return ""

    def attest(self, key: bytes, nonce: bytes, context: Context) -> Evidence:
        """Get a quote or report whose REPORTDATA is the binding and 32 zeros; see Attester.attest.

        For SEV-SNP, the host's certificate table follows the report, where the host gave one.
        """
        asked = binding(self._format, nonce, key, context) + bytes(32)
        with self._entry() as entry:
            self._check_provider(entry)
            before = self._generation(entry)
            self._write(entry / "inblob", asked)
            document = self._read(entry / "outblob")
            if self._format == "sev-snp":
                document += self._certificates(entry)
            if self._generation(entry) != before + 1:
                raise EvidenceError("another process asked for evidence through the same entry; try again")
        if not document:
            raise EvidenceError("the kernel gave an empty quote")
        return Evidence(self._format, document, key, nonce, context, time.time_ns())

    @contextmanager
    def _entry(self) -> Iterator[Path]:
        """Make an entry of our own and remove it: nobody else knows its name."""
        entry = self._root / f"og_ros-{os.getpid()}-{os.urandom(8).hex()}"
        try:
            entry.mkdir()
        except OSError as error:
            raise EvidenceError(f"cannot ask the kernel for evidence at {self._root}: {error.strerror}") from error
        try:
            yield entry
        finally:
            entry.rmdir()

    def _check_provider(self, entry: Path) -> None:
        provider = self._read(entry / "provider").decode("ascii", "replace").strip()
        if provider != PROVIDERS[self._format]:
            raise EvidenceError(f"this guest's provider of evidence is {provider!a}, not {PROVIDERS[self._format]}")

    def _certificates(self, entry: Path) -> bytes:
        try:
            return self._read(entry / "auxblob")
        except EvidenceError:  # kernels before 6.10, and hosts that give none
            return b""

    def _generation(self, entry: Path) -> int:
        text = self._read(entry / "generation").decode("ascii", "replace").strip()
        if not text.isdecimal():
            raise EvidenceError("the kernel's generation counter is no number")
        return int(text)

    @staticmethod
    def _read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise EvidenceError(f"the kernel gave no {path.name}: {error.strerror}") from error

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        try:
            path.write_bytes(data)
        except OSError as error:
            raise EvidenceError(f"the kernel did not take {path.name}: {error.strerror}") from error
