"""Receipts of an endpoint: that a checkpoint is a leaf of a log that the endpoint signs, and where that log settled."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from og_ros.errors import LogError, SettlementError
from og_ros.log import Checkpoint, VerifierKey, parse_note, parse_proof, verify_proof
from og_ros.log.checkpoint import parse_checkpoint
from og_ros.registry import strict_json
from og_ros.settlement import receipt as evm_receipt
from og_ros.settlement.receipt import Receipt

MAX_NOTE: Final = 32_768
"""A checkpoint with its signatures, as it travels and as it is a leaf of the endpoint's log."""
LOG: Final = "log"
AGGREGATE: Final = "aggregate"
KINDS: Final = (LOG, AGGREGATE)


@dataclass(frozen=True, slots=True)
class LogReceipt:
    """A robot's signed checkpoint and its C2SP tlog-proof in the endpoint's log; both verbatim.

    `settlement` is the receipt by which the endpoint's checkpoint settled on a chain, under the endpoint's `name`
    there. Nothing in it is to be trusted before `check`; `settlement` holds only as far as its chain does.
    """

    checkpoint: str
    proof: str
    name: str = ""
    settlement: Receipt | None = None

    @property
    def kind(self) -> str:
        """How a receipts file names it."""
        return LOG if self.settlement is None else AGGREGATE

    def robots(self) -> Checkpoint:
        """What the robot's checkpoint states; no signature is checked. Raises LogError."""
        return parse_checkpoint(parse_note(self.checkpoint).text)

    def endpoints(self) -> Checkpoint:
        """What the endpoint's checkpoint states; no signature is checked. Raises LogError."""
        return parse_checkpoint(parse_note(parse_proof(self.proof).checkpoint).text)

    def check(self, key: VerifierKey) -> None:
        """Check that the checkpoint is a leaf of the log that `key` signs; raises SettlementError with the reason."""
        try:
            covering = verify_proof(self.checkpoint.encode(), self.proof, key)
        except LogError as error:
            raise SettlementError(f"its proof in the endpoint's log does not hold: {error}") from error
        settled = self.settlement
        if settled is not None and (settled.entry.size, settled.entry.root) != (covering.size, covering.root):
            raise SettlementError("what settled on the chain is not the endpoint's checkpoint that it proves")


def checkpoint_id(note: str) -> bytes:
    """Return the id of a signed checkpoint: SHA-256 of the text that is signed. Raises LogError."""
    return sha256(parse_note(note).text.encode()).digest()


def log_id(origin: str) -> bytes:
    """Return the id of a log: SHA-256 of its origin."""
    return sha256(origin.encode()).digest()


def plain(receipt: LogReceipt) -> dict[str, Any]:
    """Return a receipt as a JSON object."""
    tree: dict[str, Any] = {"kind": receipt.kind, "checkpoint": receipt.checkpoint, "proof": receipt.proof}
    if receipt.settlement is not None:
        tree.update(name=receipt.name, settlement=evm_receipt.plain(receipt.settlement))
    return tree


def read(item: Any, what: str) -> LogReceipt:
    """Read a receipt from a JSON object, strictly; checks no signature. Raises SettlementError or RegistryError."""
    kinds: dict[str, type] = {"kind": str, "checkpoint": str, "proof": str}
    aggregate = type(item) is dict and item.get("kind") == AGGREGATE
    if aggregate:
        kinds.update(name=str, settlement=dict)
    tree = strict_json.fields(item, what, kinds)
    if tree["kind"] not in KINDS:
        raise SettlementError(f"{what}: is of the kind {tree['kind'][:40]!a}, which this software does not know")
    settlement = evm_receipt.from_plain(tree["settlement"], f"{what}: settlement") if aggregate else None
    found = LogReceipt(tree["checkpoint"], tree["proof"], tree.get("name", ""), settlement)
    try:
        if len(found.checkpoint.encode()) > MAX_NOTE:
            raise SettlementError(f"{what}: its checkpoint is longer than {MAX_NOTE} bytes")
        found.name.encode()
        found.robots()
        found.endpoints()
    except (LogError, UnicodeEncodeError) as error:
        raise SettlementError(f"{what}: {error}") from error
    return found
