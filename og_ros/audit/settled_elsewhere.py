"""Holds a log against receipts that are of no DecisionChain contract: endpoints, aggregates, OpenGradient's relay.

An endpoint's log is its word, and the relay's event is one that nothing was checked for: neither keeps a robot from
settling two histories, so neither gets further than `included`. An aggregate is as final as the chain of its log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from og_ros.audit.findings import Finding
from og_ros.audit.settled import (
    Forged,
    Refused,
    Settled,
    SettlementEvidence,
    check_fresh,
    check_signature,
    finding,
    gaps,
    hold_to_log,
    included,
    vouched,
)
from og_ros.audit.settled_fleet import ask_chain, check_growth
from og_ros.errors import LogError, SettlementError, SignatureError
from og_ros.log import Checkpoint, Ledger, VerifierKey
from og_ros.registry import Registry, Status
from og_ros.settlement.log_receipt import LogReceipt, log_id
from og_ros.settlement.receipt import Level, Receipt
from og_ros.settlement.receipt_kinds import AnyReceipt
from og_ros.settlement.relay_receipt import RelayReceipt

if TYPE_CHECKING:
    from og_ros.settlement.http_client import HttpClient

ROLE: Final = "endpoint"
_MAX_PAGES: Final = 10_000


def contracts_of(receipts: Sequence[AnyReceipt]) -> Iterator[str]:
    """Yield the contracts that receipts are of, DecisionChain's before the relay's before an aggregate's."""
    yield from (one.entry.chain.contract for one in receipts if isinstance(one, Receipt))
    yield from (one.entry.chain.contract for one in receipts if isinstance(one, RelayReceipt))
    settlements = (one.settlement for one in receipts if isinstance(one, LogReceipt))
    yield from (one.entry.chain.contract for one in settlements if one is not None)


def check(
    evidence: SettlementEvidence, ledger: Ledger, registry: Registry | None, settled: Settled, levels: dict[int, Level]
) -> None:
    """Check these receipts; what is found goes into `settled`, the level of each checkpoint's size into `levels`.

    Raises SettlementError where a node or endpoint does not answer.
    """
    of_logs = [one for one in evidence.receipts if isinstance(one, LogReceipt)]
    of_relay = [one for one in evidence.receipts if isinstance(one, RelayReceipt)]
    parts = [settled.summary] if settled.summary else []
    if of_logs or evidence.endpoint is not None:
        parts.append(_check_logs(evidence, of_logs, ledger, registry, settled, levels))
    if of_relay:
        parts.append(_check_relay(evidence, of_relay, ledger, registry, settled, levels))
    settled.summary = "; ".join(parts)


def _check_logs(
    evidence: SettlementEvidence,
    receipts: Sequence[LogReceipt],
    ledger: Ledger,
    registry: Registry | None,
    settled: Settled,
    levels: dict[int, Level],
) -> str:
    found: list[Level] = []
    for receipt in receipts:
        size = receipt.robots().size
        try:
            level = _log_level(evidence, receipt, ledger, registry, settled)
        except (Refused, SettlementError) as error:
            kind = error.kind if isinstance(error, Refused) else Forged.kind
            settled.findings.append(_of_log(kind, evidence.robot, size, str(error)))
        else:
            found.append(level)
            levels[size] = max(level, levels.get(size, Level.NONE))
    settled.findings += check_growth(evidence.robot, receipts, settled.notes)
    if evidence.chain is not None:
        settled.findings += ask_chain(evidence.robot, evidence.chain, receipts)
    if evidence.endpoint is not None:
        settled.findings += _ask_endpoint(evidence.robot, evidence.endpoint, receipts, ledger)
    else:
        settled.notes.append("settlement: what else the endpoints have of this log: none was asked (--endpoint)")
    settled.notes.append("settlement: an endpoint's log is its own word, and its receipts carry no time")
    counted = [found.count(level) for level in (Level.FINAL, Level.INCLUDED)]
    return f"{len(receipts)} checkpoints in endpoints' logs: {counted[0]} final, {counted[1]} included"


def _log_level(
    evidence: SettlementEvidence, receipt: LogReceipt, ledger: Ledger, registry: Registry | None, settled: Settled
) -> Level:
    try:
        head = ledger.keys().open_classically(receipt.checkpoint)
    except LogError as error:
        raise Forged(f"its checkpoint is not of this log: {error}") from error
    keys = _endpoint_keys(evidence, receipt.endpoints(), ledger, registry, settled)
    hold_to_log(head.size, head.root, ledger)
    if not keys:
        return Level.NONE
    _check_by_any(receipt, keys)
    level = Level.INCLUDED
    if receipt.settlement is not None:
        level = _aggregate_level(evidence, receipt.name, receipt.settlement, registry)
    return level


def _aggregate_level(evidence: SettlementEvidence, name: str, settlement: Receipt, registry: Registry | None) -> Level:
    """Say how far the endpoint's own checkpoint came: without a certified settlement key, no further than its log."""
    from og_ros.settlement.evm_chain import robot_id

    if settlement.entry.chain.robot_id != robot_id(name):
        raise Forged(f"what settled on the chain is not of {name}")
    try:
        stamp_ns = included(settlement)
    except SettlementError as error:
        raise Forged(str(error)) from error
    check_signature(name, settlement, registry, stamp_ns)
    if not settlement.signature or settlement.inclusion is None or registry is None:
        return Level.INCLUDED
    return max(Level.INCLUDED, vouched(evidence, settlement.inclusion, settlement.entry.chain.chain_id))


def _check_by_any(receipt: LogReceipt, keys: Sequence[VerifierKey]) -> None:
    """Check a receipt by the keys of its endpoint's log, of which a changed one has several; raises SettlementError."""
    for key in keys[:-1]:
        try:
            receipt.check(key)
            return
        except SettlementError:
            continue
    receipt.check(keys[-1])


def _endpoint_keys(
    evidence: SettlementEvidence, head: Checkpoint, ledger: Ledger, registry: Registry | None, settled: Settled
) -> list[VerifierKey]:
    """Return the keys of an endpoint's log that somebody stands for; none, and why as a note, where nobody does."""
    found = []
    for key in evidence.endpoint_keys:
        if key.name == head.origin:
            if any(key.public_key == epoch.keys.classical.public_key for epoch in ledger.keys().epochs):
                raise Forged("the key of the endpoint's log is the log's own: nobody else vouches for it")
            found.append(key)
    known = [] if registry is None else [one for one in registry.keys.values() if one.role == ROLE]
    known = [one for one in known if one.origin == head.origin]
    for certificate in known:
        public = certificate.public_key
        if certificate.revoked_at_ns is None and isinstance(public, Ed25519PublicKey):
            found.append(VerifierKey.of(certificate.origin, public))
    if found:
        return found
    if known:
        _note(settled, f"settlement: the key of endpoint {head.origin} was revoked, so its receipts count for nothing")
    elif registry is None:
        _note(settled, "settlement: no registry or --endpoint-key was given, so nobody's key stands for the endpoints")
    else:
        text = f"settlement: no key is certified for the endpoint {head.origin} (role {ROLE}): it counts for nothing"
        _note(settled, text)
    return []


def _ask_endpoint(
    robot: str, endpoint: HttpClient, receipts: Sequence[LogReceipt], ledger: Ledger
) -> Iterator[Finding]:
    """Hold the log against what the endpoint has of it, receipts or not; raises SettlementError."""
    known = {one.robots().size for one in receipts}
    above = 0
    for _ in range(_MAX_PAGES):
        answer = endpoint.request("GET", f"/v1/logs/{log_id(ledger.origin).hex()}/checkpoints?above={above}")
        if answer.status != 200:
            raise SettlementError(f"{endpoint.what}: does not say what it has of this log (status {answer.status})")
        tree = answer.json(endpoint.what)
        for size, root in _listed(tree, above, endpoint.what):
            above = size
            if size > ledger.size or ledger.root(size) != root:
                text = "the endpoint has it, and the log has not these leaves"
                yield _of_log("settlement_differs", robot, size, text)
            elif size not in known and size < max(known, default=0):
                yield _of_log("settlement_missing", robot, size, "the endpoint has it, and its receipt is missing")
        if not tree.get("more"):
            return
    raise SettlementError(f"{endpoint.what}: its list of checkpoints does not end")


def _listed(tree: dict[str, Any], above: int, what: str) -> Iterator[tuple[int, bytes]]:
    rows = tree.get("checkpoints")
    if not isinstance(rows, list) or (not rows and tree.get("more")):
        raise SettlementError(f"{what}: its list of checkpoints is malformed")
    for row in rows:
        size, root = (row.get("size"), row.get("root")) if isinstance(row, dict) else (None, None)
        if type(size) is not int or not above < size < 2**63 or not isinstance(root, str) or len(root) != 64:
            raise SettlementError(f"{what}: its list of checkpoints is malformed, or not in order")
        try:
            yield size, bytes.fromhex(root)
        except ValueError:
            raise SettlementError(f"{what}: its list of checkpoints is malformed") from None
        above = size


def _check_relay(
    evidence: SettlementEvidence,
    receipts: Sequence[RelayReceipt],
    ledger: Ledger,
    registry: Registry | None,
    settled: Settled,
    levels: dict[int, Level],
) -> str:
    by_contract: dict[tuple[int, str], list[RelayReceipt]] = {}
    for receipt in receipts:
        chain = receipt.entry.chain
        by_contract.setdefault((chain.chain_id, chain.contract), []).append(receipt)
    found: list[Level] = []
    for rows in by_contract.values():
        rows.sort(key=lambda receipt: receipt.entry.sequence)
        settled.findings += gaps(evidence.robot, [receipt.entry for receipt in rows])
        for receipt in rows:
            try:
                level = _relay_level(evidence, receipt, ledger, registry)
            except Refused as error:
                settled.findings.append(finding(error.kind, evidence.robot, receipt.entry, str(error)))
            else:
                found.append(level)
                levels[receipt.entry.size] = max(level, levels.get(receipt.entry.size, Level.NONE))
    if registry is None:
        _note(settled, "settlement: no registry was given, so nobody's key stands for the rows of the relay")
    if any(receipt.inclusion is None for receipt in receipts):
        _note(settled, "settlement: receipts of the relay without a proof of inclusion count for nothing here")
    if evidence.chain is None and not evidence.final_blocks:
        _note(settled, "settlement: that the relay's blocks are part of the chain (--chain, or --final-block)")
    _note(settled, "settlement: the relay's contract checks nothing; other rows of this robot were not looked for")
    return f"{len(receipts)} checkpoints in OpenGradient's batches: {found.count(Level.INCLUDED)} included"


def _relay_level(
    evidence: SettlementEvidence, receipt: RelayReceipt, ledger: Ledger, registry: Registry | None
) -> Level:
    """Recompute leaf and root from the checkpoint, and look for the event that has that root."""
    from og_ros.settlement import standard_tree, trie
    from og_ros.settlement.evm_chain import robot_id
    from og_ros.settlement.relay_event import read_batch
    from og_ros.settlement.standard_tree import Row

    entry, where = receipt.entry, receipt.inclusion
    if entry.chain.robot_id != robot_id(evidence.robot):
        raise Forged(f"it is not of robot {evidence.robot}")
    row = Row(receipt.tee_id, entry.previous, entry.head(), receipt.signature, receipt.timestamp)
    _check_row(evidence.robot, row, registry)
    hold_to_log(entry.size, entry.root, ledger)
    if where is None or registry is None:
        return Level.NONE
    root = standard_tree.root_from(row.leaf(), receipt.siblings)
    try:
        if trie.header_hash(where.header) != where.block_hash:
            raise Forged("its header does not give its block's hash")
        receipts_root = trie.read_header(where.header)[2]
        logs = trie.receipt_logs(trie.verify(receipts_root, where.index, where.proof))
    except SettlementError as error:
        raise Forged(str(error)) from error
    told = [read_batch(topics, data) for address, topics, data in logs if address.hex() == entry.chain.contract[2:]]
    if not any(one and (one.root, one.size, one.blob) == (root, receipt.batch, receipt.blob) for one in told):
        raise Forged("the proven transaction did not settle a batch with this row")
    return min(Level.INCLUDED, vouched(evidence, where, entry.chain.chain_id))


def _check_row(robot: str, row: Any, registry: Registry | None) -> None:
    """Raise Forged unless a settlement key of the robot, certified at the row's own time, signed it; or Stale."""
    from og_ros.settlement.relay_backend import tee_id

    if registry is None:
        return
    for certificate in registry.keys.values():
        if certificate.role != "settlement" or certificate.robot != robot:
            continue
        if tee_id(certificate.public_key) != row.tee_id:
            continue
        try:
            certificate.verifier.verify_signature(row.message(), row.signature)
        except SignatureError as error:
            raise Forged("its signature is wrong") from error
        check_fresh(registry, row.timestamp * 10**9, "it was signed at")
        status = certificate.status(row.timestamp * 10**9)
        if status is not Status.VALID:
            raise Forged(f"its key was {status.value} when it was signed")
        return
    raise Forged(f"no settlement key that is certified for robot {robot} signed it")


def _note(settled: Settled, text: str) -> None:
    if text not in settled.notes:
        settled.notes.append(text)


def _of_log(kind: str, robot: str, size: int, text: str) -> Finding:
    return Finding(kind, f"robot {robot}: checkpoint of {size} leaves at an endpoint: {text}")
