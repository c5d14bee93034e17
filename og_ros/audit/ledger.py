"""Checks a stream of attestations against the log: is every one of them a leaf, under a checkpoint that holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from og_ros.attest import Attestation, cose
from og_ros.audit.findings import Finding
from og_ros.audit.log_signatures import CLASSICAL, bound_keys, finding_of, log_signatures
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference, SessionKey
from og_ros.audit.sessions import SessionChecker
from og_ros.audit.settled import Settled, SettlementEvidence, check
from og_ros.audit.witnessed import PublicEvidence, Witnessed
from og_ros.audit.witnessed import check as check_witnesses
from og_ros.errors import AttestationError, LogError
from og_ros.log import Ledger
from og_ros.registry import Registry

# A leaf may lie so many places away from where its neighbours in the session are.
_NEARBY: Final = 512
# So many absent attestations of a session are kept until a later one shows whether they are missing.
_KEPT: Final = 50


@dataclass(frozen=True)
class LogView:
    """What the log holds: its origin, size and root (hex).

    `covered` is the size of the newest checkpoint: leaves from there on are in nobody's signed word yet. `trusted` says
    that a registry certifies the log's key: without that, nothing counts as logged. `outside` counts the leaves of the
    recorded sessions from before or after the recording. `settled` says what was found of its settlement, `checkpoints`
    how its checkpoints are signed (CHECKPOINTS), `witnessed` what was found of its cosigned checkpoints, `stamped` of
    its time stamps.
    """

    origin: str
    size: int
    root: str
    covered: int
    trusted: bool
    outside: int = 0
    settled: str = ""
    checkpoints: str = CLASSICAL
    witnessed: str = ""
    stamped: str = ""


@dataclass
class _Logged:
    """What of a session is in the log: whether any is, and what came since the newest that is."""

    any: bool = False
    absent: list[Inference] = field(default_factory=list)
    uncounted: int = 0


class LogCheck:
    """Looks up each attestation in an open log.

    Verifies the whole log at its making; `view` is None, and every lookup fails, where it does not hold.
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry | None,
        settlement: SettlementEvidence | None = None,
        public: PublicEvidence | None = None,
        policy: Policy | None = None,
    ) -> None:
        """`policy` says which witnesses count.

        Raises LogError when the log cannot be read at all, SettlementError when a node does not answer.
        """
        self.view: LogView | None = None
        self.settled: Settled | None = None
        self.witnessed: Witnessed | None = None
        self.findings: list[Finding] = []
        self._ledger = ledger
        self._sessions: dict[SessionKey, _Logged] = {}
        self._ahead: Counter[str] = Counter()
        signatures = log_signatures(ledger, registry)
        self.findings += signatures.findings
        if signatures.history is None:
            return
        self.keys = signatures.history
        try:
            report = ledger.verify(post_quantum=bound_keys(ledger.origin, registry))
        except LogError as error:
            self.findings.append(finding_of(ledger.origin, error))
            return
        covered = report.latest.size if report.latest is not None else 0
        if covered < report.size:
            self.findings.append(
                Finding(
                    "log_not_checkpointed",
                    f"log {ledger.origin}: {report.size - covered} of {report.size} leaves are under no checkpoint yet",
                )
            )
        trusted = registry is not None and signatures.certified
        if settlement is not None:
            self.settled = check(settlement, ledger, registry)
            self.findings += self.settled.findings
        told = self.settled.summary if self.settled is not None else ""
        demands = policy or Policy()
        self.witnessed = witnessed = check_witnesses(
            public or PublicEvidence(), ledger, registry, demands.witness_policy, demands.witness_quorum, covered
        )
        self.findings += witnessed.findings
        self.view = LogView(
            ledger.origin,
            report.size,
            report.root.hex(),
            covered,
            trusted,
            settled=told,
            checkpoints=signatures.kind,
            witnessed=witnessed.summary,
            stamped=witnessed.stamps,
        )
        self.checkpoint_sizes = [stored.size for stored in ledger.checkpoints()]
        self._matched = bytearray(report.size)

    def look_up(self, inference: Inference) -> Iterator[Finding]:
        """Set `logged` of an attestation; yields the ones before it that the log lacks though it has this one."""
        view = self.view
        if view is None:
            return
        statement = inference.attestation.statement
        index = self._index(inference.attestation)
        if index is not None:
            self._matched[index] = 1
            inference.leaf = index
        if view.trusted:
            inference.logged = index is not None and index < view.covered
            if self.settled is not None and index is not None:
                inference.settled = self.settled.level(index)
            if not inference.settled and index is not None and self.witnessed is not None:
                inference.settled = "witnessed" if index < self.witnessed.covered else ""
        session = self._sessions.setdefault((statement.key_id, statement.session), _Logged())
        if index is None:
            if len(session.absent) < _KEPT:
                session.absent.append(inference)
            else:
                session.uncounted += 1
            return
        if session.any:
            for absent in session.absent:
                yield absent.finding(
                    "missing_from_log",
                    f"stage {absent.stage}: sequence {absent.sequence} is not in the log, though a later one is",
                )
        else:
            self._ahead[inference.stage] += len(session.absent) + session.uncounted
        session.any, session.uncounted = True, 0
        session.absent.clear()

    def between(self, before: Inference, after: Inference) -> Iterator[Attestation]:
        """Yield the attestations of a session that the log has between two recorded ones, in order."""
        if self.view is None:
            return
        statement = after.attestation.statement
        ends = [i for i in (self._index(before.attestation), self._index(after.attestation)) if i is not None]
        if not ends:
            return
        found: dict[int, Attestation] = {}
        for leaf in self._ledger.leaves(max(0, min(ends) - _NEARBY), min(self.view.size, max(ends) + _NEARBY)):
            if statement.session not in leaf.data:
                continue
            try:
                attestation = cose.decode(leaf.data)
            except AttestationError:
                continue  # `finish` says so
            other = attestation.statement
            if (other.key_id, other.session) == (statement.key_id, statement.session) and (
                before.sequence < other.sequence < after.sequence
            ):
                found.setdefault(other.sequence, attestation)
        for sequence in sorted(found):
            yield found[sequence]

    def finish(self, sessions: SessionChecker, is_signed: Callable[[Attestation], bool]) -> Iterator[Finding]:
        """Yield what the log lacks at the ends of the sessions, and which leaves are none of a recorded session.

        `is_signed` tells whether a registered key signed an attestation: a log alone cannot accuse a stage.
        """
        view = self.view
        if view is None:
            return
        behind: Counter[str] = Counter()
        for session in self._sessions.values():
            if session.absent:
                behind[session.absent[0].stage] += len(session.absent) + session.uncounted
        for stage, count in self._ahead.items():
            if count:
                yield Finding(
                    "logged_late",
                    f"stage {stage}: the first {count} recorded attestations are not in the log",
                    stage=stage,
                )
        for stage, count in behind.items():
            yield Finding(
                "not_logged_yet",
                f"stage {stage}: the last {count} recorded attestations are not in the log",
                stage=stage,
            )
        outside = 0
        changes = {epoch.change.index for epoch in self.keys.epochs if epoch.change is not None}
        for start, stop in _runs(self._matched):
            for leaf in self._ledger.leaves(start, stop):
                if leaf.index in changes:
                    continue
                try:
                    attestation = cose.decode(leaf.data)
                except AttestationError as error:
                    defect = f"leaf {leaf.index} is no attestation: {error}"
                    yield Finding("log_invalid", f"log {view.origin}: {defect}")
                    continue
                statement = attestation.statement
                chain = sessions.find(statement)
                if chain is not None and chain.has(statement.sequence) and is_signed(attestation):
                    yield Inference(attestation, "", statement.signed_at_ns).finding(
                        "session_forked",
                        f"stage {statement.stage}: leaf {leaf.index} of the log is another attestation with sequence "
                        f"{statement.sequence} of a recorded session than the one that was recorded",
                    )
                outside += chain is not None
        self.view = replace(view, outside=outside)

    def _index(self, attestation: Attestation) -> int | None:
        found = self._ledger.find(hashlib.sha256(b"\0" + attestation.cose).digest())
        return found[0] if found and found[0] < len(self._matched) else None


def _runs(matched: bytearray) -> Iterator[tuple[int, int]]:
    """Yield the stretches of leaves that no recorded attestation is, as (start, stop)."""
    start = matched.find(0)
    while start >= 0:
        stop = matched.find(1, start)
        yield start, stop if stop >= 0 else len(matched)
        start = matched.find(0, stop) if stop >= 0 else -1
