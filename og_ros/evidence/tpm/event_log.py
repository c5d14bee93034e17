"""The event log of a measured launch: what went into PCR 14, in order, and its replay.

Each event extends PCR 14 by SHA-256(DOMAIN || CBOR [kind, robot, stage, value]); so a digest of one kind passes for no
other. The events of a launch, which may start several stages of a robot, are, in this order:

    manifest, model   for each stage: SHA-256 of its environment's manifest and of its model, if it has one
    key               for each stage: SHA-256 of its session key's SubjectPublicKeyInfo
    cap               once: from now on nothing that is measured can be part of this launch
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import cbor2

from og_ros.errors import EvidenceError

PCR: Final = 14
START: Final = bytes(32)
DOMAIN: Final = b"og_ros/pcr14/v1\x00"
MANIFEST, MODEL, KEY, CAP = "manifest", "model", "key", "cap"
MAX_EVENTS: Final = 256
_ORDER: Final = {MANIFEST: 0, MODEL: 0, KEY: 1, CAP: 2}
_MAX_NAME: Final = 256


@dataclass(frozen=True, slots=True)
class Event:
    """One extension of PCR 14; `value` is a SHA-256, and 32 zeros in the cap, which names no stage."""

    kind: str
    robot: str
    stage: str
    value: bytes

    @property
    def digest(self) -> bytes:
        """What PCR 14 is extended by."""
        return sha256(DOMAIN + cbor2.dumps([self.kind, self.robot, self.stage, self.value])).digest()


def cap(robot: str) -> Event:
    """Return the event that closes a launch."""
    return Event(CAP, robot, "", bytes(32))


def replay(events: Iterable[Event], start: bytes = START) -> bytes:
    """Return what PCR 14 holds after the events (SHA-256 bank)."""
    value = start
    for event in events:
        value = sha256(value + event.digest).digest()
    return value


def order_problem(events: Sequence[Event]) -> tuple[str, str]:
    """Return the code and the sentence of what is wrong with the order of a log; two empty texts when nothing is."""
    kinds = [event.kind for event in events]
    if CAP not in kinds:
        return "not_capped", "the event log has no cap: keys and models could still be added to this launch"
    if kinds.index(CAP) != len(kinds) - 1:
        return "extended_after_cap", "the event log goes on after its cap: what follows was not part of the launch"
    ranks = [_ORDER[kind] for kind in kinds]
    if ranks != sorted(ranks):
        return "log_order", "the event log names a key before a manifest or model: it is not that of a measured launch"
    if len({event.robot for event in events}) != 1:
        return "log_order", "the event log names several robots; one launch is of one robot"
    return "", ""


def to_tree(events: Iterable[Event]) -> list[Any]:
    """Return the events as they stand in a document."""
    return [[event.kind, event.robot, event.stage, event.value] for event in events]


def from_tree(tree: Any) -> tuple[Event, ...]:
    """Read events back; raises EvidenceError."""
    if type(tree) is not list or not 1 <= len(tree) <= MAX_EVENTS:
        raise EvidenceError(f"the event log is no list of 1 to {MAX_EVENTS} events")
    return tuple(_event(item) for item in tree)


def _event(item: Any) -> Event:
    if type(item) is not list or [type(part) for part in item] != [str, str, str, bytes]:
        raise EvidenceError("an event of the log is not [kind, robot, stage, digest]")
    kind, robot, stage, value = item
    if kind not in _ORDER or len(value) != 32 or max(len(robot), len(stage)) > _MAX_NAME:
        raise EvidenceError("an event of the log has an unknown kind, a digest of another size, or too long a name")
    if kind == CAP and (stage or value != bytes(32)):
        raise EvidenceError("the cap of the event log has a stage or a digest")
    return Event(kind, robot, stage, value)
