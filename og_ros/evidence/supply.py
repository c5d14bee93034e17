"""Where a node's evidence comes from: an attester by its name, or a file that a measured launch left."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from og_ros.attest.signer import Signer
from og_ros.errors import EvidenceError
from og_ros.evidence import evidence_file
from og_ros.evidence.binding import Context
from og_ros.evidence.configfs_tsm import ConfigfsAttester
from og_ros.evidence.interface import Attester, Evidence
from og_ros.evidence.nsm import NsmAttester
from og_ros.evidence.software import SoftwareAttester

NONE: Final = "none"
"""In place of an attester's name: there is no evidence."""

ATTESTERS: Final = "og_ros.evidence_attesters"
"""Entry point group of plug-ins: the name is the format; the object, called with the key's signer, is an Attester."""

_OWN: Final[dict[str, Callable[[Signer], Attester]]] = {
    "software": SoftwareAttester,
    "aws-nitro": lambda signer: NsmAttester(),
    "tdx": lambda signer: ConfigfsAttester("tdx"),
    "sev-snp": lambda signer: ConfigfsAttester("sev-snp"),
}
_NONCE_SIZE: Final = 32
_MAX_FILE: Final = evidence_file.MAX_DOCUMENT + 16_384


def attester(name: str, signer: Signer) -> Attester:
    """Return the attester of a format for a signer's key; raises EvidenceError where it cannot attest here."""
    make = _OWN.get(name)
    if make is None:
        found = [point for point in entry_points(group=ATTESTERS) if point.name == name]
        if len(found) != 1:
            known = ", ".join(sorted({*_OWN, *(point.name for point in entry_points(group=ATTESTERS))}))
            what = "several packages bring an attester" if found else "there is no attester"
            raise EvidenceError(f"{what} for evidence of format {name!a}; there are {known}, or none")
        make = found[0].load()
    made = make(signer)
    if missing := made.available():
        raise EvidenceError(f"no evidence of format {name} can be had here: {missing}")
    return made


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
