"""Holds a log against the checkpoints that were recorded: it must be the one log that the robot's auditor published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from og_ros.attest.cdr import CdrReader
from og_ros.audit.findings import Finding
from og_ros.audit.records import Record
from og_ros.errors import AttestationError, LogError
from og_ros.log import Ledger

CHECKPOINT_TYPE: Final = "og_ros/msg/Checkpoint"
_MAX_ORIGIN: Final = 255
_MAX_NOTE: Final = 65_536
_HASH_SIZE: Final = 32


def check(ledger: Ledger, records: Iterable[Record]) -> Iterator[Finding]:
    """Check recorded messages of CHECKPOINT_TYPE against an open log that was verified; yields what contradicts it.

    A message that cannot be read, or that the log's key did not sign, says nothing: anybody may have published it.
    Raises LogError when the log cannot be read.
    """
    told: set[tuple[int, bytes]] = set()
    size, keys = ledger.size, ledger.keys()
    for record in records:
        try:
            head = keys.open_checkpoint(_note(record.payload))
        except (AttestationError, LogError):
            continue
        if (head.size, head.root) in told:
            continue
        told.add((head.size, head.root))
        if head.size > size:
            problem = f"has {size} leaves, and its key signed a checkpoint of {head.size}, which was recorded"
            yield _finding("log_rewound", ledger, record, problem)
        elif ledger.root(head.size) != head.root:
            problem = f"its first {head.size} leaves are not those of the checkpoint that was recorded"
            yield _finding("log_forked", ledger, record, problem)


def _note(payload: bytes | memoryview) -> str:
    """Return the signed note of a serialised message; its other fields only repeat it."""
    reader = CdrReader(payload)
    reader.time()
    reader.text(_MAX_ORIGIN)
    reader.number("Q", 8)
    reader.take(_HASH_SIZE)
    return reader.text(_MAX_NOTE)


def _finding(kind: str, ledger: Ledger, record: Record, problem: str) -> Finding:
    return Finding(kind, f"log {ledger.origin}: {problem}", record.topic, received_ns=record.received_ns)
