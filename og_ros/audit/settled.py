"""Holds a log against the receipts of its settlement: which of its checkpoints a chain has, and how finally."""

from __future__ import annotations

import contextlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from og_ros.audit.endurance import Anchor
from og_ros.audit.findings import Finding
from og_ros.errors import SettlementError, SignatureError
from og_ros.log import Ledger
from og_ros.registry import Registry, Status
from og_ros.registry.rules import stale_problems
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.receipt import Inclusion, Level, Receipt, read_file

if TYPE_CHECKING:
    from og_ros.log import VerifierKey
    from og_ros.settlement.evm_chain import EvmChain
    from og_ros.settlement.http_client import HttpClient
    from og_ros.settlement.receipt_kinds import AnyReceipt

LEVELS: Final = {Level.SUBMITTED: "submitted", Level.INCLUDED: "included", Level.FINAL: "final"}


@dataclass(frozen=True)
class SettlementEvidence:
    """What an auditor has: the robot's receipts, a node to ask (None: offline), blocks that he knows to be final.

    `finality` is a depth in blocks, None for the node's `finalized` tag. `endpoint_keys` are keys of endpoints' logs
    that he knows, beside those of the registry; `endpoint` is one to ask what it has of this log (None: offline).
    """

    robot: str
    receipts: Sequence[AnyReceipt]
    chain: EvmChain | None = None
    final_blocks: Collection[bytes] = ()
    finality: int | None = None
    endpoint_keys: Sequence[VerifierKey] = ()
    endpoint: HttpClient | None = None


@dataclass
class Settled:
    """What was found: the sizes that are settled with their levels, findings, what could not be checked.

    `anchors` are the blocks that somebody vouches for: evidence of when the leaves under a checkpoint existed.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: str = ""
    anchors: list[Anchor] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)
    _best: list[Level] = field(default_factory=list)

    def conclude(self, levels: dict[int, Level]) -> None:
        """Take the level of each checkpoint, by its size."""
        self._sizes = sorted(levels)
        best = Level.NONE
        self._best = []
        for size in reversed(self._sizes):  # a later checkpoint covers all leaves before it, too
            best = max(best, levels[size])
            self._best.append(best)
        self._best.reverse()

    def level(self, index: int) -> str:
        """Return the level of a leaf on the axis settlement; empty where no settled checkpoint covers it."""
        place = bisect_right(self._sizes, index)
        return LEVELS.get(self._best[place], "") if place < len(self._sizes) else ""


def open_evidence(
    receipts: Path,
    url: str | None,
    final_blocks: Collection[bytes],
    finality: int | None,
    endpoint_keys: Sequence[VerifierKey] = (),
    endpoint: HttpClient | None = None,
) -> SettlementEvidence:
    """Read a receipts file, connect to the auditor's node if one is named. Raises SettlementError, ConfigError."""
    robot, found = read_file(receipts)
    if not found:
        raise SettlementError(f"{receipts} holds no receipt")
    chain = None
    if url is not None:
        from og_ros.audit.settled_elsewhere import contracts_of
        from og_ros.settlement.evm_chain import EvmChain
        from og_ros.settlement.rpc import Rpc

        contract = next(contracts_of(found), None)
        if contract is None:
            raise SettlementError(f"no receipt in {receipts} is of a chain, so there is nothing to ask a node")
        chain = EvmChain(Rpc(url), contract)
    return SettlementEvidence(robot, found, chain, final_blocks, finality, endpoint_keys, endpoint)


def check(evidence: SettlementEvidence, ledger: Ledger, registry: Registry | None) -> Settled:
    """Check every receipt: signature, place in its chain, leaves, header and proof, and whether a block is the chain's.

    Raises SettlementError when the node does not answer; what does not hold is a finding.
    """
    from og_ros.audit import settled_elsewhere

    settled = Settled()
    levels: dict[int, Level] = {}
    by_chain: dict[ChainName, list[Receipt]] = {}
    for receipt in evidence.receipts:
        if isinstance(receipt, Receipt):
            by_chain.setdefault(receipt.entry.chain, []).append(receipt)
    for name, receipts in by_chain.items():
        receipts.sort(key=lambda receipt: receipt.entry.sequence)
        settled.findings += gaps(evidence.robot, [receipt.entry for receipt in receipts])
        for receipt in receipts:
            try:
                level = _level(evidence, receipt, ledger, registry)
            except Refused as error:
                settled.findings.append(finding(error.kind, evidence.robot, receipt.entry, str(error)))
            else:
                levels[receipt.entry.size] = max(level, levels.get(receipt.entry.size, Level.NONE))
                if level >= Level.INCLUDED:
                    settled.anchors.append(_anchor(receipt))
        if evidence.chain is not None:
            settled.findings += _ask_chain(evidence, evidence.chain, name, receipts, ledger)
    on_chains = [receipt for receipts in by_chain.values() for receipt in receipts]
    if on_chains:
        counted = [sum(1 for one in levels.values() if one == level) for level in (Level.FINAL, Level.INCLUDED)]
        where = on_chains[0].entry.chain
        settled.summary = (
            f"{len(on_chains)} checkpoints in contract {where.contract} of chain {where.chain_id}: {counted[0]} "
            f"final, {counted[1]} included"
        )
        settled.notes += _notes(evidence, on_chains, registry)
    settled_elsewhere.check(evidence, ledger, registry, settled, levels)
    settled.conclude({size: level for size, level in levels.items() if level})
    return settled


def _anchor(receipt: Receipt) -> Anchor:
    from og_ros.settlement import trie

    assert receipt.inclusion is not None
    number, stamp, _ = trie.read_header(receipt.inclusion.header)
    return Anchor(receipt.entry.size, stamp * 10**9, f"block {number} of chain {receipt.entry.chain.chain_id}")


class Refused(Exception):
    """A receipt counts for nothing; `kind` is the finding that this is."""

    kind: ClassVar[str]


class Differs(Refused):
    """The log is not the one that settled."""

    kind = "settlement_differs"


class Forged(Refused):
    """The receipt does not hold."""

    kind = "settlement_forged"


class Stale(Refused):
    """What is known of the keys is older than it may be."""

    kind = "registry_stale"


def _level(evidence: SettlementEvidence, receipt: Receipt, ledger: Ledger, registry: Registry | None) -> Level:
    from og_ros.settlement.evm_chain import robot_id

    entry = receipt.entry
    if entry.chain.robot_id != robot_id(evidence.robot):
        raise Forged(f"it is not of robot {evidence.robot}")
    try:
        stamp_ns = included(receipt)
    except SettlementError as error:
        raise Forged(str(error)) from error
    check_signature(evidence.robot, receipt, registry, stamp_ns)
    hold_to_log(entry.size, entry.root, ledger)
    if not receipt.signature or registry is None:
        return Level.NONE
    if receipt.inclusion is None:
        return Level.NONE
    return vouched(evidence, receipt.inclusion, entry.chain.chain_id)


def hold_to_log(size: int, root: bytes, ledger: Ledger) -> None:
    """Raise Differs unless the log has the leaves that settled."""
    if size > ledger.size:
        raise Differs(f"it covers {size} leaves, and the log has {ledger.size}: leaves were taken away")
    if ledger.root(size) != root:
        raise Differs(f"the log's first {size} leaves are not those that settled")


def included(receipt: Receipt) -> int | None:
    """Check header, proof and event; the block's time in ns, None without inclusion. Raises SettlementError."""
    from og_ros.settlement import trie
    from og_ros.settlement.evm_chain import read_event

    where, entry = receipt.inclusion, receipt.entry
    if where is None:
        return None
    if trie.header_hash(where.header) != where.block_hash:
        raise SettlementError("its header does not give its block's hash")
    _, stamp, root = trie.read_header(where.header)
    for address, topics, data in trie.receipt_logs(trie.verify(root, where.index, where.proof)):
        if address == bytes.fromhex(entry.chain.contract[2:]):
            told = read_event(entry.chain, topics, data)
            if told is not None and told == (entry, entry.head(), bool(receipt.signature)):
                return stamp * 10**9
    raise SettlementError("the proven transaction did not settle this checkpoint")


def check_signature(robot: str, receipt: Receipt, registry: Registry | None, stamp_ns: int | None) -> None:
    """Raise Forged unless a settlement key signed it that was certified for the robot when it settled, or Stale."""
    if registry is None or not receipt.signature:
        return
    for certificate in registry.keys.values():
        if certificate.role != "settlement" or certificate.robot != robot:
            continue
        try:
            certificate.verifier.verify_signature(receipt.entry.message(), receipt.signature)
        except SignatureError:
            continue
        if stamp_ns is not None:
            check_fresh(registry, stamp_ns, "its block was made at")
        status = Status.VALID if stamp_ns is None else certificate.status(stamp_ns)
        if status is not Status.VALID:
            raise Forged(f"its key was {status.value} when it settled")
        return
    raise Forged(f"no settlement key that is certified for robot {robot} signed it")


def check_fresh(registry: Registry, at_ns: int, what: str) -> None:
    """Raise Stale where the registry is a snapshot that may not be used for a time any more."""
    for problem in stale_problems(registry, at_ns, what):
        raise Stale(problem.sentence)


def vouched(evidence: SettlementEvidence, where: Inclusion, chain_id: int) -> Level:
    """Say how finally the block is part of the chain: a forged header gets no further than submitted."""
    from og_ros.settlement import trie

    if where.block_hash in evidence.final_blocks:
        return Level.FINAL
    if evidence.chain is None:
        return Level.SUBMITTED
    number = trie.read_header(where.header)[0]
    if evidence.chain.chain_id != chain_id:
        raise Forged(f"it is of chain {chain_id}, and the node is of {evidence.chain.chain_id}")
    if evidence.chain.canonical(number) != where.block_hash:
        raise Forged(f"the node's chain has another block {number}")
    return Level.FINAL if evidence.chain.is_final(number, evidence.finality) else Level.INCLUDED


def gaps(robot: str, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Each checkpoint names the one before it, so one that is left out shows; so does a second history."""
    expected, head = 0, NO_HEAD
    for entry in entries:
        if entry.sequence < expected:
            yield finding("settlement_forged", robot, entry, "there is another one with its number")
            continue
        if entry.sequence > expected:
            which = f"{expected}" if entry.sequence == expected + 1 else f"{expected} to {entry.sequence - 1}"
            yield finding("settlement_missing", robot, entry, f"the receipts of {which} before it are missing")
        elif entry.previous != head:
            yield finding("settlement_forged", robot, entry, "it does not follow the one before it")
        expected, head = entry.sequence + 1, entry.head()


def _ask_chain(
    evidence: SettlementEvidence, chain: EvmChain, name: ChainName, receipts: Sequence[Receipt], ledger: Ledger
) -> Iterator[Finding]:
    """Hold the receipts against what the contract has now."""
    if name.contract != chain.contract or name.chain_id != chain.chain_id:
        yield finding("settlement_forged", evidence.robot, receipts[0].entry, "it is of another contract or chain")
        return
    if not chain.has_our_code():
        text = f"the code at {name.contract} is not that of DecisionChain as og_ros has it"
        yield Finding("settlement_contract_unknown", f"robot {evidence.robot}: {text}")
    known = {receipt.entry.sequence: receipt.entry for receipt in receipts}
    for event in chain.events(name, _first_block(receipts)):
        entry = event.entry
        if entry.sequence in known:
            if known[entry.sequence] != entry:
                yield finding("settlement_forged", evidence.robot, entry, "the chain has another one in its place")
        elif entry.size > ledger.size or ledger.root(entry.size) != entry.root:
            text = "the chain has it, and the log has not these leaves"
            yield finding("settlement_differs", evidence.robot, entry, text)
        elif entry.sequence < max(known):
            yield finding("settlement_missing", evidence.robot, entry, "the chain has it, and its receipt is missing")
    count = chain.head(name).count
    if count <= max(known):
        yield finding("settlement_forged", evidence.robot, receipts[-1].entry, f"the chain has only {count}")


def _first_block(receipts: Sequence[Receipt]) -> int:
    """Return the block of a chain's first checkpoint, before which it has no event; 0 where no receipt shows it."""
    from og_ros.settlement import trie

    for receipt in receipts:
        if receipt.entry.sequence == 0 and receipt.inclusion is not None:
            with contextlib.suppress(SettlementError):  # a forged one was found before
                included(receipt)
                return trie.read_header(receipt.inclusion.header)[0]
    return 0


def _notes(
    evidence: SettlementEvidence, receipts: Sequence[Receipt], registry: Registry | None
) -> Iterator[str]:
    if registry is None:
        yield "settlement: no registry was given, so nobody's key stands for the receipts"
    unsigned = sum(not receipt.signature for receipt in receipts)
    if unsigned:
        yield f"settlement: {unsigned} checkpoints are on the paying account's word only, and count for nothing here"
    bare = sum(receipt.inclusion is None for receipt in receipts)
    if bare:
        yield f"settlement: {bare} receipts have no proof of inclusion, and count for nothing here"
    if evidence.chain is None:
        yield "settlement: the contract's code, and checkpoints after the last receipt: no node was asked (--chain)"
        if not evidence.final_blocks:
            yield "settlement: that the receipts' blocks are part of the chain (--chain, or --final-block)"
    else:
        yield "settlement: the chain's consensus: which blocks it has, and which are final, is the node's word"


def finding(kind: str, robot: str, entry: Entry, text: str) -> Finding:
    """Return a finding about a settled checkpoint."""
    return Finding(kind, f"robot {robot}: settled checkpoint {entry.sequence} of {entry.size} leaves: {text}")

