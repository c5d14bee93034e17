"""A snapshot of a NodeRegistry that no chain made, proven all the same: a state of one account with one slot."""

from __future__ import annotations

from typing import Any

import rlp
from eth_utils import keccak

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.registry.snapshot import NODE_REGISTRY, Contract, Event, Snapshot
from og_ros.settlement import contracts, snapshots, trie

ADDRESS = "0x" + "11" * 20
OWNER = "0x" + "22" * 20
T0 = 1_700_000_000


def events_of(signer: Signer, robot: str = "robot-7", stage: str = "control", **approval: Any) -> tuple[Event, ...]:
    """The registry's beginning, and a key that was proposed and approved."""
    numbers = signer.public_key.public_numbers()  # type: ignore[union-attr]
    key_id, name = keys.key_id(signer.public_key), bytes(keccak(robot.encode()))
    proposal = {
        "key_id": key_id, "robot": name, "operator": OWNER, "at": T0, "x": numbers.x.to_bytes(32, "big"),
        "y": numbers.y.to_bytes(32, "big"), "measurement": bytes(32), "evidence": bytes(32), "robot_name": robot,
        "stage": stage, "vendor": "maker",
    }  # fmt: skip
    approved = {
        "key_id": key_id, "robot": name, "approver": OWNER, "at": T0, "expires_at": T0 + 86_400, "max_silence": 0,
        "unsigned_allowed": False, **approval,
    }  # fmt: skip
    return (
        Event("OwnershipTaken", {"owner": OWNER, "at": T0}),
        Event("ApproverSet", {"approver": OWNER, "at": T0, "allowed": True}),
        Event("Proposed", proposal),
        Event("Approved", approved),
    )


def snapshot_of(events: tuple[Event, ...], max_age_s: int = 3600) -> Snapshot:
    """A snapshot whose header, state and slot are made to prove the events."""
    artefact = contracts.load(NODE_REGISTRY)
    value = snapshots.history(Contract(NODE_REGISTRY, ADDRESS, events))
    slot = _leaf(keccak(artefact.storage["history"].to_bytes(32, "big")), rlp.encode(value.lstrip(b"\0")))
    account = rlp.encode([1, 0, keccak(slot), keccak(artefact.runtime)])
    state = _leaf(keccak(bytes.fromhex(ADDRESS[2:])), account)
    fields: list[Any] = [
        bytes(32), bytes(32), bytes(20), keccak(state), bytes(32), bytes(32), bytes(256), 0, 7, 10**7, 0, T0 + 60,
        b"", bytes(32), bytes(8), 7,
    ]  # fmt: skip
    header = rlp.encode(fields)
    contract = Contract(NODE_REGISTRY, ADDRESS, events, (state,), (slot,))
    return Snapshot(31337, 7, trie.header_hash(header), T0 + 60, header, max_age_s, (contract,))


def _leaf(key: bytes, value: bytes) -> bytes:
    return bytes(rlp.encode([b"\x20" + key, value]))
