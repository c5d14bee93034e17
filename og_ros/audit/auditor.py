"""The auditor: takes messages in the order of their arrival, from a recording or live, and finds what does not hold."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import ATTESTATION_TYPE, decode_attestation, digest
from og_ros.attest.statement import Statement
from og_ros.audit import certificates, links
from og_ros.audit.attested_topic import Message
from og_ros.audit.findings import Finding, Severity
from og_ros.audit.join import Joiner
from og_ros.audit.ledger import LogView
from og_ros.audit.levels import LevelTally
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference, Record
from og_ros.audit.sessions import SessionChain, SessionChecker
from og_ros.errors import AttestationError
from og_ros.registry import Registry

# So many findings of one kind on one topic are kept whole; the rest are counted.
KEPT_FINDINGS: Final = 50
_SOURCE_LAG_NS: Final = 500_000_000
# A sensor stamp and an attestation that are a day apart come from different clocks (simulated and wall time).
_SAME_CLOCK_NS: Final = 86_400 * 10**9


@dataclass
class FindingLog:
    """Findings as they come: the first of each kind and topic in full, the rest counted."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    violations: int = 0
    warnings: int = 0
    _by_place: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Take one finding."""
        self.counts[finding.kind] += 1
        self.violations += finding.severity is Severity.VIOLATION
        self.warnings += finding.severity is Severity.WARNING
        place = (finding.kind, finding.topic)
        self._by_place[place] += 1
        if self._by_place[place] <= KEPT_FINDINGS:
            self.kept.append(finding)


@dataclass
class Tally:
    """What a run had: counts of attestations and decisions, and the chain latencies in ns.

    `other_clock` counts the decisions whose sensor stamps are of another clock, so that they have no latency.
    """

    attestations: int = 0
    decisions: int = 0
    linked: int = 0
    other_clock: int = 0
    latencies_ns: list[int] = field(default_factory=list)


class Auditor:
    """Checks a stream of records against a registry and a policy.

    Feed records in the order of arrival, call `advance` now and then (a live stream) or `finish` once (its end).
    Without a registry neither signatures nor certificates can be checked. `horizon_ns` is how long a counterpart may
    take to arrive before a record is judged; None (a recording) judges at `finish`, and keeps every inference.
    `observers` are told of every attestation that was checked, every decision that was judged, and every finding.
    """

    def __init__(
        self,
        registry: Registry | None,
        policy: Policy | None = None,
        *,
        recorded: Callable[[str], bool],
        horizon_ns: int | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.registry = registry
        self.policy = policy or Policy()
        self.findings = FindingLog()
        self.tally = Tally()
        self.levels = LevelTally()
        self.sessions = SessionChecker()
        self.stages: dict[str, Statement] = {}
        self.log: LogView | None = None
        self.decisions: list[Inference] = []
        self.inferences: list[Inference] = []
        self._horizon_ns = horizon_ns
        self.joiner = Joiner(
            self._lost_on, recorded, self.policy.max_clock_skew_ns, None if horizon_ns is None else 30 * 10**9
        )
        self._written: dict[tuple[bytes, bytes], set[str]] = {}
        self._duplicates: deque[tuple[int, bytes]] = deque()
        self._digests: set[bytes] = set()
        self._pending: deque[Inference] = deque()
        self._joined = 0
        self._observers = tuple(observers)

    def feed(self, record: Record, stamp_ns: int = 0) -> Inference | None:
        """Take one record; returns the inference when it was an attestation that could be read.

        A data message's header stamp may be given, so that an altered message is told from a lost one.
        """
        if record.type != ATTESTATION_TYPE:
            self.feed_data(record, stamp_ns)
            return None
        try:
            attestation = decode_attestation(record.payload)
        except AttestationError as error:
            self.report(
                Finding("malformed_attestation", str(error), topic=record.topic, received_ns=record.received_ns)
            )
            return None
        inference = Inference(attestation, record.topic, record.received_ns)
        self.feed_inference(inference)
        return inference

    def feed_data(self, record: Record, stamp_ns: int = 0) -> None:
        """Take a data message and hash it."""
        self.feed_message(record.topic, self.digest_of(record.topic, record.payload), record.received_ns, stamp_ns)

    def digest_of(self, topic: str, payload: bytes | memoryview) -> bytes:
        """Return a message's digest by its topic's algorithm; empty for what is too short to be a message."""
        try:
            return digest(payload, self.joiner.algorithm_of(topic))
        except AttestationError:
            return b""  # nothing can have attested it, which the joiner will say

    def feed_message(self, topic: str, message_digest: bytes, received_ns: int, stamp_ns: int = 0) -> None:
        """Take a data message whose digest was computed elsewhere."""
        self._join_before(received_ns)
        self.joiner.add_message(Message(topic, message_digest, received_ns, stamp_ns))

    def feed_inference(self, inference: Inference) -> None:
        """Take an attestation that was read already."""
        statement = inference.attestation.statement
        self.tally.attestations += 1
        if self._is_duplicate(inference):
            self.report(
                inference.finding(
                    "attestation_replayed",
                    f"stage {statement.stage}: sequence {statement.sequence} of the session was published again",
                )
            )
            return
        if self.registry is not None:
            self._report_all(certificates.check(inference, self.registry))
        if abs(inference.received_ns - statement.signed_at_ns) > self.policy.max_clock_skew_ns:
            apart = (inference.received_ns - statement.signed_at_ns) / 1e9
            self.report(
                inference.finding(
                    "clock_disagrees",
                    f"stage {statement.stage}: says that it signed {apart:+.1f} s before the record arrived; "
                    f"{self.policy.max_clock_skew_ns / 1e9:g} s are allowed",
                )
            )
        if inference.signed is not False:
            # A record that its key did not sign says nothing about the session that it names.
            self._report_all(self.sessions.add(inference))
        session = (statement.key_id, statement.session)
        self._written.setdefault(session, set()).update(r.topic for r in statement.outputs)
        self.stages[statement.stage] = statement
        self.joiner.announce(statement)
        if self._horizon_ns is None:
            # A recording's attestations are read first, and joined in their turn among its messages.
            self.inferences.append(inference)
        else:
            self._join(inference)
        for observer in self._observers:
            observer.inference(inference)

    def advance(self, now_ns: int) -> None:
        """Judge everything whose counterparts had time to arrive (live streams)."""
        assert self._horizon_ns is not None
        self._settle(now_ns - self._horizon_ns, final=False)

    def finish(self) -> None:
        """Judge everything that is left: nothing more will arrive."""
        self._join_before(2**63)
        self._settle(2**63, final=True)
        for chain in self.sessions.sessions.values():
            self._report_all(_gaps(chain))

    def report(self, finding: Finding) -> None:
        """Take a finding."""
        self.findings.add(finding)
        for observer in self._observers:
            observer.finding(finding)

    def _join_before(self, received_ns: int) -> None:
        """Join the inferences of a recording that arrived before a time."""
        while self._joined < len(self.inferences) and self.inferences[self._joined].received_ns < received_ns:
            self._join(self.inferences[self._joined])
            self._joined += 1

    def _join(self, inference: Inference) -> None:
        statement = inference.attestation.statement
        chain = self.sessions.sessions.get((statement.key_id, statement.session))
        self.joiner.add_inference(inference, chain is not None and chain.first.sequence > 0)
        self._pending.append(inference)

    def is_decision(self, inference: Inference) -> bool:
        """Return whether an inference is a decision: it writes a command, which no other attested stage reads."""
        outputs = inference.attestation.statement.outputs
        if self.policy.decisions:
            return any(reference.topic in self.policy.decisions for reference in outputs)
        return any(not self.joiner.consumers.get(r.topic, set()) - {inference.stage} for r in outputs)

    def _settle(self, before_ns: int, final: bool) -> None:
        self._report_all(self.joiner.settle(before_ns, final))
        settled = []
        # A source's attestation may arrive after that of the inference that read its output.
        concluded_ns = before_ns if final else before_ns - _SOURCE_LAG_NS
        while self._pending and self._pending[0].received_ns < concluded_ns:
            settled.append(self._pending.popleft())
        links.resolve(settled, self.joiner.is_attested)
        for inference in settled:
            self._count(inference)

    def _count(self, inference: Inference) -> None:
        if not self.is_decision(inference):
            return
        self.tally.decisions += 1
        statement = inference.attestation.statement
        if inference.linked:
            self.tally.linked += 1
        else:
            self.report(
                inference.finding(
                    "decision_unlinked",
                    f"stage {inference.stage}: this command cannot be traced back to recorded sensor messages",
                )
            )
        if inference.linked and inference.origin_ns is not None:
            self._count_latency(inference, statement.start_ns + statement.duration_ns - inference.origin_ns)
        if self._horizon_ns is None:
            self.decisions.append(inference)
        for observer in self._observers:
            observer.decision(inference)

    def _count_latency(self, inference: Inference, latency_ns: int) -> None:
        if abs(latency_ns) > _SAME_CLOCK_NS:
            self.tally.other_clock += 1
            return
        self.tally.latencies_ns.append(latency_ns)
        limit = self.policy.max_chain_latency_ns
        if limit is not None and latency_ns > limit:
            self.report(
                inference.finding(
                    "latency_exceeds_policy",
                    f"stage {inference.stage}: {latency_ns / 1e6:.1f} ms from sensor to command; "
                    f"{limit / 1e6:g} ms are allowed",
                )
            )

    def _is_duplicate(self, inference: Inference) -> bool:
        key = inference.attestation.digest
        if key in self._digests:
            return True
        self._digests.add(key)
        if self._horizon_ns is not None:
            self._duplicates.append((inference.received_ns, key))
            while self._duplicates and self._duplicates[0][0] < inference.received_ns - 600 * 10**9:
                self._digests.discard(self._duplicates.popleft()[1])
        return False

    def _lost_on(self, topic: str) -> int:
        sessions = self.sessions.sessions
        return sum(sessions[s].lost for s, topics in self._written.items() if topic in topics and s in sessions)

    def _report_all(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.report(finding)


def _gaps(chain: SessionChain) -> Iterator[Finding]:
    for first, last in chain.gaps:
        which = f"sequence {first}" if first == last else f"sequences {first} to {last}"
        yield Finding(
            "attestation_lost",
            f"stage {chain.statement.stage}: {which} of a session ({last - first + 1}) were signed and are not in the "
            "recording: dropped on the way, or held back",
            topic=chain.first.topic,
            sequence=first,
            stage=chain.statement.stage,
        )
