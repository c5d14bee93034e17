"""Where a node's evidence comes from: an attester by its name, or a file that a measured launch left."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence import evidence_file
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import Attester, Evidence

NONE: Final = "none"
"""In place of an attester's name: there is no evidence."""

_NONCE_SIZE: Final = 32
_MAX_FILE: Final = evidence_file.MAX_DOCUMENT + 16_384


@dataclass
class Supply:
    """Gives the evidence of one key each time that it is asked: freshly made, or from the file if that changed.

    `key` is its SPKI (DER), `context` whose it is. Either `attester` or `file` is given.
    """

    key: bytes
    context: Context
    attester: Attester | None = None
    file: Path | None = None
    _seen: tuple[int, int, int] | None = None

    def next(self) -> Evidence | None:
        """Return evidence; None where the file is the one of the last time. Raises EvidenceError."""
        if self.attester is not None:
            return self.attester.attest(self.key, os.urandom(_NONCE_SIZE), self.context)
        assert self.file is not None
        try:
            state = self.file.stat()
        except OSError as error:
            raise EvidenceError(f"cannot read the evidence {self.file}: {error.strerror}") from error
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return None
        evidence = load_evidence(self.file)
        robot, stage = evidence.context.robot, evidence.context.stage
        if evidence.key != self.key:
            raise EvidenceError(f"{self.file} is evidence of another key than the one that signs here")
        if (robot, stage) != (self.context.robot, self.context.stage):
            raise EvidenceError(f"{self.file} was made for stage {stage} of robot {robot}, not for this one")
        self._seen = seen
        return evidence


def load_evidence(path: Path) -> Evidence:
    """Read evidence from a file; raises EvidenceError, naming the file."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise EvidenceError(f"cannot read the evidence {path}: {error.strerror}") from error
    try:
        return evidence_file.decode(data)
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from error
