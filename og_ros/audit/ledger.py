"""Checks a recording's attestations against the log: is every one of them a leaf, under a checkpoint that holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from og_ros.attest import Attestation, cose
from og_ros.attest.keys import key_id
from og_ros.audit.findings import Finding
from og_ros.audit.records import Inference
from og_ros.audit.sessions import SessionChain
from og_ros.errors import AttestationError, LogError
from og_ros.log import Ledger
from og_ros.registry import Registry, Status

SessionKey = tuple[bytes, bytes]


@dataclass(frozen=True)
class LogView:
    """What the log holds: its size, root (hex) and, for each attestation digest, the leaf's index.

    `covered` is the size of the newest checkpoint: leaves from there on are in nobody's signed word yet. `fills` are
    attestations that close a gap of the recording; `outside` counts those of its sessions before or after it.
    `trusted` says that a registry certifies the log's key: without that, nothing counts as logged.
    """

    origin: str
    size: int
    root: str
    covered: int
    leaves: dict[bytes, int]
    fills: tuple[Attestation, ...]
    outside: int
    trusted: bool


def read_log(
    directory: Path, registry: Registry | None, sessions: Mapping[SessionKey, SessionChain]
) -> tuple[LogView | None, list[Finding]]:
    """Verify the log and find the leaves of the recorded sessions; returns None where the log does not hold.

    Raises LogError when there is no log that could be read at all.
    """
    findings: list[Finding] = []
    with Ledger.open(directory) as ledger:
        problem = _key_problem(ledger, registry) if registry is not None else ""
        if problem:
            findings.append(Finding("log_key_unregistered", f"log {ledger.origin}: {problem}"))
        try:
            report = ledger.verify()
        except LogError as error:
            findings.append(Finding("log_invalid", f"log {ledger.origin}: {error}"))
            return None, findings
        covered = report.latest.size if report.latest is not None else 0
        if covered < report.size:
            findings.append(
                Finding(
                    "log_not_checkpointed",
                    f"log {ledger.origin}: {report.size - covered} of {report.size} leaves are under no checkpoint yet",
                )
            )
        leaves: dict[bytes, int] = {}
        fills = []
        outside = 0
        trusted = registry is not None and not problem
        for leaf in ledger.leaves():
            try:
                attestation = cose.decode(leaf.data)
            except AttestationError as error:
                defect = f"leaf {leaf.index} is no attestation: {error}"
                findings.append(Finding("log_invalid", f"log {ledger.origin}: {defect}"))
                continue
            leaves[attestation.digest] = leaf.index
            statement = attestation.statement
            chain = sessions.get((statement.key_id, statement.session))
            if chain is not None and any(first <= statement.sequence <= last for first, last in chain.gaps):
                fills.append(attestation)
            elif chain is not None:
                outside += not chain.first.sequence <= statement.sequence <= chain.newest.sequence
        view = LogView(ledger.origin, report.size, report.root.hex(), covered, leaves, tuple(fills), outside, trusted)
    return view, findings


def _key_problem(ledger: Ledger, registry: Registry) -> str:
    """Return why a registry does not stand for the log's key; empty when it does."""
    identity = key_id(Ed25519PublicKey.from_public_bytes(ledger.key.public_key))
    certificate = registry.key(identity)
    if certificate is None or certificate.role != "log":
        return f"its key {identity.hex()[:16]} is not registered"
    if certificate.origin != ledger.origin:
        return f"its key is registered for the log {certificate.origin}"
    newest = ledger.latest_checkpoint()
    if newest is not None and certificate.status(newest.signed_ns) is not Status.VALID:
        return f"its key was {certificate.status(newest.signed_ns).value} at the last checkpoint"
    return ""


def check_inclusion(view: LogView, inferences: Collection[Inference]) -> Iterator[Finding]:
    """Set `logged` of each inference; yields what is missing, told by where in its session the log has nothing."""
    oldest: dict[SessionKey, int] = {}
    newest: dict[SessionKey, int] = {}
    for inference in inferences:
        statement = inference.attestation.statement
        index = view.leaves.get(inference.attestation.digest)
        if view.trusted:
            inference.logged = index is not None and index < view.covered
        if index is not None:
            session = (statement.key_id, statement.session)
            oldest[session] = min(oldest.get(session, statement.sequence), statement.sequence)
            newest[session] = max(newest.get(session, -1), statement.sequence)
    ahead: Counter[str] = Counter()
    behind: Counter[str] = Counter()
    for inference in inferences:
        if inference.attestation.digest in view.leaves:
            continue
        statement = inference.attestation.statement
        session = (statement.key_id, statement.session)
        if statement.sequence < oldest.get(session, -1):
            ahead[inference.stage] += 1
        elif statement.sequence < newest.get(session, -1):
            yield inference.finding(
                "missing_from_log",
                f"stage {inference.stage}: sequence {inference.sequence} is not in the log, though a later one is",
            )
        else:
            behind[inference.stage] += 1
    for stage, count in ahead.items():
        yield Finding(
            "logged_late", f"stage {stage}: the first {count} recorded attestations are not in the log", stage=stage
        )
    for stage, count in behind.items():
        yield Finding(
            "not_logged_yet", f"stage {stage}: the last {count} recorded attestations are not in the log", stage=stage
        )
