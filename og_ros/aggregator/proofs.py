"""Makes a robot's receipt: its checkpoint's proof in the fleet's log, and the receipt of the fleet's checkpoint.

The extra data of the proof (c2sp.org/tlog-proof) says that the fleet's log only grew since the robot's receipt before:
the text `og_ros consistency SIZE` and a newline, then the hashes of the consistency proof (RFC 9162) from that size on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from og_ros.aggregator.store import Accepted, Store
from og_ros.log import format_proof
from og_ros.settlement.consistency import format_extra

SUBMITTED: Final = "submitted"
FINAL: Final = "final"


@dataclass(frozen=True, slots=True)
class Told:
    """What a robot is told of a checkpoint: how far it came, and its receipt once that is final."""

    status: str
    receipt: dict[str, Any] | None = None


def tell(store: Store, accepted: Accepted) -> Told:
    """Say how far a checkpoint came."""
    found = store.covering(accepted.number)
    if found is None:
        return Told(SUBMITTED)
    head, settlement = found
    before = store.size_before(accepted)
    extra = format_extra(before, store.consistency(before, head.size)) if before else None
    proof = format_proof(accepted.number, store.inclusion(accepted.number, head.size), head.note, extra)
    receipt: dict[str, Any] = {"kind": "log", "checkpoint": accepted.note.decode(), "proof": proof}
    if settlement.startswith("{"):  # else the fleet's checkpoint settled in its own log only
        receipt.update(kind="aggregate", name=store.name, settlement=json.loads(settlement))
    return Told(FINAL, receipt)
