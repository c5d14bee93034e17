"""The attestations of a recording as one CBOR sequence, their index, and their proofs, each for other tools to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from og_ros.attest import ATTESTATION_TYPE, Attestation, decode_attestation
from og_ros.audit.pack import layout
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.errors import AttestationError, LogError
from og_ros.log import TileReader, format_proof, leaf_hash
from og_ros.log.store import Ledger

_FOLDER: Final = "attestations"


@dataclass(frozen=True)
class Exported:
    """How many attestations and proofs were written, and how many records could not be read as attestations."""

    attestations: int
    proofs: int
    unreadable: int


def export(recording: Path, log: Path | None, directory: Path) -> Exported:
    """Write a recording's attestations, their index and, with a log, their proofs below a directory.

    The same recording and log give the same bytes, so whoever has both can compare. Raises BagError.
    """
    (directory / _FOLDER).mkdir(parents=True, exist_ok=True)
    prover = _Prover(log) if log is not None else None
    count = proofs = unreadable = offset = 0
    with (
        open_bag(recording) as bag,
        (directory / layout.ATTESTATIONS).open("wb") as records,
        (directory / layout.INDEX).open("wb") as index,
        (directory / layout.PROOFS).open("wb") as proven,
    ):
        for entry, attestation in _attestations(bag):
            if attestation is None:
                unreadable += 1
                continue
            records.write(attestation.cose)
            place = {"offset": offset, "size": len(attestation.cose), "sha256": attestation.digest.hex()}
            proof = prover.prove(attestation.cose) if prover is not None else None
            leaf = None if proof is None else proof[0]
            _write_line(index, {**place, **entry, **_description(attestation), "leaf": leaf})
            if proof is not None:
                _write_line(proven, {"sha256": place["sha256"], "leaf": leaf, "proof": proof[1]})
                proofs += 1
            offset += len(attestation.cose)
            count += 1
    if not proofs:
        (directory / layout.PROOFS).unlink()
    return Exported(count, proofs, unreadable)


def same_files(ours: Path, theirs: Path) -> Iterator[str]:
    """Yield which of the files that `export` wrote to one directory are others, or missing, in another."""
    for name in (layout.ATTESTATIONS, layout.INDEX, layout.PROOFS):
        if _sha256(ours / name) != _sha256(theirs / name):
            yield name


def _attestations(bag: Bag) -> Iterator[tuple[dict[str, Any], Attestation | None]]:
    for record in bag.records([topic.name for topic in bag.topics.values() if topic.type == ATTESTATION_TYPE]):
        entry = {"topic": record.topic, "received_ns": record.received_ns}
        try:
            yield entry, decode_attestation(record.payload)
        except AttestationError:
            yield entry, None  # the report names it


def _description(attestation: Attestation) -> dict[str, Any]:
    statement = attestation.statement
    return {
        "robot": statement.robot,
        "stage": statement.stage,
        "session": statement.session.hex(),
        "sequence": statement.sequence,
        "key": statement.key_id.hex(),
    }


class _Prover:
    """Proves leaves from an exported log; where that log does not hold, or has no checkpoint, it proves nothing."""

    def __init__(self, log: Path) -> None:
        self._leaves: dict[bytes, int] = {}
        self._tiles: TileReader | None = None
        try:
            with Ledger.open(log) as ledger:
                self._tiles = TileReader(log, ledger.key, ledger.origin)
                for number, entry in enumerate(self._tiles.entries()):
                    self._leaves.setdefault(leaf_hash(entry), number)
        except LogError:
            self._tiles = None

    def prove(self, leaf: bytes) -> tuple[int, str] | None:
        """Return a leaf's index and its tlog-proof; None where it is not under the checkpoint."""
        index = self._leaves.get(leaf_hash(leaf))
        if self._tiles is None or index is None:
            return None
        return index, format_proof(index, self._tiles.inclusion_proof(index), self._tiles.note)


def _write_line(stream: Any, data: dict[str, Any]) -> None:
    stream.write(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def _sha256(file: Path) -> bytes:
    digest = hashlib.sha256()
    if file.is_file():
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.digest()
