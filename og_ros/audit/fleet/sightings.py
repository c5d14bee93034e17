"""What one audit notes down for the checks across recordings: who signed what, in which session, and when it came."""

from __future__ import annotations

import io
import statistics
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from og_ros.attest import Statement
from og_ros.audit.findings import Finding
from og_ros.audit.observer import Observer
from og_ros.audit.records import Inference

# One row an attestation: which of the recording's sessions (its place in the list), sequence, arrival, digest.
# `genuine` is 0 where the signature is not that of a registered key.
ROW: Final = np.dtype(
    [("session", "<u4"), ("genuine", "u1"), ("sequence", "<u8"), ("received_ns", "<i8"), ("digest", "u1", (32,))]
)
Rows = npt.NDArray[np.void]

# A record with one of these was not signed by the key that it names, so it says nothing about that key.
_NOT_ITS_KEY: Final = frozenset({"signature_invalid", "unregistered_key"})


@dataclass
class _Session:
    statement: Statement
    sequences: array[int] = field(default_factory=lambda: array("Q"))
    arrivals: array[int] = field(default_factory=lambda: array("q"))
    digests: bytearray = field(default_factory=bytearray)
    durations_ns: array[int] = field(default_factory=lambda: array("Q"))
    signed_ns: array[int] = field(default_factory=lambda: array("q"))


class Sightings(Observer):
    """Notes every recorded attestation of an audit, by session; about 70 bytes each."""

    def __init__(self) -> None:
        self._sessions: dict[tuple[bytes, bytes, str, str], _Session] = {}
        self._forged: set[bytes] = set()
        self._findings: Counter[tuple[str, str]] = Counter()

    def inference(self, inference: Inference) -> None:
        """Note an attestation; one that was taken from the log (it has no topic) was not recorded and is left out."""
        if not inference.topic:
            return
        statement = inference.attestation.statement
        place = (statement.key_id, statement.session, statement.robot, statement.stage)
        session = self._sessions.get(place)
        if session is None:
            session = self._sessions[place] = _Session(statement)
        session.sequences.append(statement.sequence)
        session.arrivals.append(inference.received_ns)
        session.digests += inference.attestation.digest
        session.durations_ns.append(statement.duration_ns)
        session.signed_ns.append(statement.signed_at_ns)

    def finding(self, finding: Finding) -> None:
        """Count a finding by stage, and note records whose signature is not that of their key."""
        self._findings[(finding.stage, finding.kind)] += 1
        if finding.kind in _NOT_ITS_KEY and finding.record:
            self._forged.add(finding.record)

    def findings_by_stage(self) -> dict[str, dict[str, int]]:
        """Return how many findings of each kind each stage has; "" is for those about no stage."""
        found: dict[str, dict[str, int]] = {}
        for (stage, kind), count in sorted(self._findings.items()):
            found.setdefault(stage, {})[kind] = count
        return found

    def sessions(self) -> list[dict[str, Any]]:
        """Return each session as plain data, in the order in which `rows` counts them.

        `signed_ns` is the time of the first and last genuine signature, null where none is.
        """
        return [self._describe(session) for session in self._sessions.values()]

    def _describe(self, s: _Session) -> dict[str, Any]:
        signed = np.frombuffer(s.signed_ns, np.int64)[self._genuine(s)]
        return {
            "key": s.statement.key_id.hex(),
            "session": s.statement.session.hex(),
            "robot": s.statement.robot,
            "stage": s.statement.stage,
            "model": s.statement.model.name,
            "model_version": s.statement.model.version,
            "model_digest": s.statement.model.digest.hex(),
            "records": len(s.sequences),
            "genuine": len(signed),
            "signed_ns": [int(signed.min()), int(signed.max())] if len(signed) else None,
            "inference_ms": {
                "median": round(statistics.median(s.durations_ns) / 1e6, 3),
                "max": round(max(s.durations_ns) / 1e6, 3),
            },
        }

    def rows(self) -> bytes:
        """Return one row (`ROW`) for each attestation, as an .npy file."""
        parts = []
        for number, session in enumerate(self._sessions.values()):
            part = np.zeros(len(session.sequences), ROW)
            part["session"] = number
            part["sequence"] = np.frombuffer(session.sequences, np.uint64)
            part["received_ns"] = np.frombuffer(session.arrivals, np.int64)
            part["digest"] = np.frombuffer(session.digests, np.uint8).reshape(-1, 32)
            part["genuine"] = self._genuine(session)
            parts.append(part)
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(parts) if parts else np.zeros(0, ROW), allow_pickle=False)
        return buffer.getvalue()

    def _genuine(self, session: _Session) -> npt.NDArray[np.bool_]:
        digests = bytes(session.digests)
        return np.array([digests[at : at + 32] not in self._forged for at in range(0, len(digests), 32)], np.bool_)


def read_rows(data: bytes) -> Rows:
    """Read what `Sightings.rows` wrote; raises ValueError for anything else."""
    rows: Rows = np.load(io.BytesIO(data), allow_pickle=False)
    if rows.dtype != ROW or rows.ndim != 1:
        raise ValueError("these are no rows of sightings")
    return rows
