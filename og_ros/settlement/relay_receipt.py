"""Receipts of OpenGradient's relay: that a checkpoint is a row of a batch whose root a contract's event has.

The relay settles what a TEE node answered: an id of its key, the hash of a request, the hash of the answer, a signature
over both with a time. A checkpoint takes their places: the id of the robot's settlement key; the head of the chain of
checkpoints before it; its own head, which commits to chain, contract, robot, sequence, size and root (see Entry). The
relay's account is not known beforehand: the entry's submitter is the zero address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from og_ros.errors import SettlementError
from og_ros.registry import strict_json
from og_ros.settlement import receipt as evm_receipt
from og_ros.settlement.checkpoints import Entry
from og_ros.settlement.receipt import Inclusion, Receipt, read_hex

KIND: Final = "opengradient"
NOBODY: Final = "0x" + "00" * 20
"""The submitter of an entry that a relay sends."""
_MAX_SIBLINGS: Final = 64
_MAX_BLOB_ID: Final = 256


@dataclass(frozen=True, slots=True)
class RelayReceipt:
    """A checkpoint as a row of a batch: its entry, key id (teeId), signature (64 bytes) and time (Unix, s), the way to
    the batch's root, and what the event says beside it: size of the batch, id of the blob that has its rows.

    `inclusion` proves the transaction's receipt; None until its block is final by the rule of whoever submitted it.
    """

    entry: Entry
    tee_id: bytes
    signature: bytes
    timestamp: int
    siblings: tuple[bytes, ...] = ()
    batch: int = 0
    blob: bytes = b""
    transaction: bytes = bytes(32)
    inclusion: Inclusion | None = None


def plain(receipt: RelayReceipt) -> dict[str, Any]:
    """Return a receipt as a JSON object."""
    tree = evm_receipt.plain(Receipt(receipt.entry, receipt.signature, receipt.transaction, receipt.inclusion))
    return {
        "kind": KIND,
        **tree,
        "tee_id": receipt.tee_id.hex(),
        "timestamp": receipt.timestamp,
        "siblings": [one.hex() for one in receipt.siblings],
        "batch": receipt.batch,
        "blob": receipt.blob.hex(),
    }


def read(item: Any, what: str) -> RelayReceipt:
    """Read a receipt from a JSON object, strictly; checks nothing. Raises SettlementError or RegistryError."""
    kinds: dict[str, type] = {"kind": str, "tee_id": str, "timestamp": int, "siblings": list, "batch": int, "blob": str}
    tree = strict_json.fields(item, what, kinds, open_ended=True)
    common = evm_receipt.from_plain({name: value for name, value in tree.items() if name not in kinds}, what)
    siblings, blob = tree["siblings"], read_hex(tree["blob"], f"{what}: blob")
    if len(siblings) > _MAX_SIBLINGS or not all(isinstance(one, str) for one in siblings):
        raise SettlementError(f"{what}: its siblings are no list of at most {_MAX_SIBLINGS} hashes in hex")
    if not 0 <= tree["timestamp"] < 2**63 or not 0 <= tree["batch"] < 2**63 or len(blob) > _MAX_BLOB_ID:
        raise SettlementError(f"{what}: its time stamp, batch or blob is out of range")
    if common.entry.chain.submitter != NOBODY or len(common.signature) != 64:
        raise SettlementError(f"{what}: a row of a batch is signed, and has no submitter")
    return RelayReceipt(
        common.entry,
        read_hex(tree["tee_id"], f"{what}: tee_id", 32),
        common.signature,
        tree["timestamp"],
        tuple(read_hex(one, f"{what}: a sibling", 32) for one in siblings),
        tree["batch"],
        blob,
        common.transaction,
        common.inclusion,
    )
