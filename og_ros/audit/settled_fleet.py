"""What the receipts of one aggregator must be together: its log only grew, and its contract is one that we know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from og_ros.audit.findings import Finding
from og_ros.errors import LogError
from og_ros.log import parse_proof, verify_consistency
from og_ros.settlement.consistency import parse_extra
from og_ros.settlement.log_receipt import LogReceipt

if TYPE_CHECKING:
    from og_ros.settlement.evm_chain import EvmChain

UNPROVEN = "settlement: that the endpoints' logs only grew between receipts: not all receipts prove it"


class Unproven(Exception):
    """A receipt does not say that the log only grew since the one before."""


def check_growth(robot: str, receipts: Sequence[LogReceipt], notes: list[str]) -> Iterator[Finding]:
    """Hold each receipt against the one before it in the same endpoint's log.

    An endpoint that rewrote its log between them, or that gives two roots for one size, cannot make the later one. A
    receipt that names another one before it than the file has says that one is missing.
    """
    by_log: dict[str, list[LogReceipt]] = {}
    for receipt in receipts:
        by_log.setdefault(receipt.endpoints().origin, []).append(receipt)
    for rows in by_log.values():
        rows.sort(key=lambda receipt: receipt.robots().size)
        for before, after in pairwise(rows):
            try:
                yield from _grown(robot, before, after)
            except Unproven:
                if UNPROVEN not in notes:
                    notes.append(UNPROVEN)
            except LogError as error:
                yield _found("settlement_forged", robot, after, f"the endpoint's log was rewritten: {error}")


def _grown(robot: str, before: LogReceipt, after: LogReceipt) -> Iterator[Finding]:
    if before.robots().size == after.robots().size:
        return
    old, new, proof = before.endpoints(), after.endpoints(), parse_proof(after.proof)
    if parse_proof(before.proof).index >= proof.index:
        raise LogError("it has the robot's checkpoints in another order than they were made")
    if old.size == new.size:
        return verify_consistency(old.size, new.size, [], old.root, new.root)
    if proof.extra is None:
        raise Unproven
    size, hashes = parse_extra(proof.extra)
    if size != old.size:
        text = f"it follows one that settled when the endpoint's log had {size} leaves, and that receipt is missing"
        yield _found("settlement_missing", robot, after, text)
        raise Unproven
    return verify_consistency(size, new.size, hashes, old.root, new.root)


def ask_chain(robot: str, chain: EvmChain, receipts: Sequence[LogReceipt]) -> Iterator[Finding]:
    """Ask a node whether the contract that aggregates settled in is DecisionChain, and has what they say."""
    coded = False
    for receipt in receipts:
        settled = receipt.settlement
        if settled is None or settled.entry.chain.contract != chain.contract:
            continue
        if not coded and not chain.has_our_code():
            text = f"the code at {chain.contract} is not that of DecisionChain as og_ros has it"
            yield Finding("settlement_contract_unknown", f"robot {robot}: {text}")
        coded = True
        if (count := chain.head(settled.entry.chain).count) <= settled.entry.sequence:
            yield _found("settlement_forged", robot, receipt, f"the chain has only {count} of {receipt.name}")


def _found(kind: str, robot: str, receipt: LogReceipt, text: str) -> Finding:
    return Finding(kind, f"robot {robot}: checkpoint of {receipt.robots().size} leaves at an endpoint: {text}")
