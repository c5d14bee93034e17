"""The evidence at hand: attestations verified as they arrive, joined by digest into chains back to sensor messages."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from og_ros.attest import DataReference, Disclosure, Statement
from og_ros.attest.statement import Clock
from og_ros.attest.template import AttestationReader
from og_ros.audit.appraiser import Appraised
from og_ros.audit.certificates import Certificates
from og_ros.audit.environments import Environments
from og_ros.audit.findings import Finding, Severity
from og_ros.audit.judge import Judge
from og_ros.audit.levels import levels_of
from og_ros.audit.links import resolve
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference
from og_ros.audit.sessions import SessionChecker
from og_ros.errors import AttestationError
from og_ros.gate.freshness import Freshness
from og_ros.gate.recent import Recent
from og_ros.gate.settings import GateSettings
from og_ros.gate.verdict import Command, Reason
from og_ros.registry import Registry

# A chain of more inferences than this one behind the other is not followed, unless it was while it grew.
_MAX_DEPTH: Final = 64
_MAX_SESSIONS: Final = 64
_MAX_GAPS: Final = 512
_MAX_REASONS: Final = 16
# Nodes hear /clock at its own pace, and one may still be at an older tick than the node that wrote its input.
_SIM_CLOCK_LAG_NS: Final = 250_000_000
# Warnings of an audit that a gate refuses: a missing proof is no proof.
_REFUSED_WARNINGS: Final = frozenset({"input_age_unknown"})


@dataclass(slots=True, eq=False)
class Link:
    """A verified attestation and the chain behind it.

    `reasons` speak against it or anything behind it, `notes` do not. Once `resolved`, all its inputs are joined and
    nothing changes any more. `missing` says what it still waits for, and
    `missing_kind` is the kind of finding that this is. `spent`: it has let a command pass.
    """

    inference: Inference
    arrived_ns: int
    reasons: list[Reason] = field(default_factory=list)
    notes: list[Reason] = field(default_factory=list)
    stages: tuple[str, ...] = ()
    resolved: bool = False
    missing: str = ""
    missing_kind: str = "decision_unlinked"
    spent: bool = False

    @property
    def statement(self) -> Statement:
        """What the attestation says."""
        return self.inference.attestation.statement


class Evidence:
    """What a gate knows of the last while: sensor messages it saw, attestations that verified, and why others did not.

    Attestations that are not signed by a registered key are never joined to anything: whoever publishes such cannot
    stop a command, only explain why one was refused.
    """

    def __init__(self, settings: GateSettings, registry: Registry, policy: Policy) -> None:
        self.counts: Counter[str] = Counter()
        self._settings, self._sensors = settings, frozenset(settings.sensors)
        self._policy = policy
        self._judge = Judge(policy, registry)
        self._certificates = Certificates(registry)
        self._environments = Environments(registry, policy.max_clock_skew_ns)
        self._reader = AttestationReader()
        self._sessions = SessionChecker()
        self._freshness = Freshness(settings.clock_tolerance_ns)
        self._algorithms: dict[str, str] = {}
        # Topics that a certified source signs: from then on, a message that it did not sign begins no chain.
        self._sourced: set[str] = set()
        wanted = [policy.decision_levels, *(demands.levels for demands in policy.stages.values())]
        self._all_sourced = any(levels.get("data_provenance") == "signed_at_source" for levels in wanted)
        self._forked: deque[tuple[bytes, bytes]] = deque(maxlen=_MAX_SESSIONS)
        size, time_ns = settings.max_records, settings.memory_ns
        self._messages: Recent[None] = Recent(time_ns, size)
        self._outputs: Recent[Link] = Recent(time_ns, size)
        self._rejected: Recent[list[Reason]] = Recent(time_ns, settings.max_waiting)

    def algorithm_of(self, topic: str) -> str:
        """Return the digest algorithm that verified attestations use for a topic."""
        return self._algorithms.get(topic, "sha256")

    def take_message(self, topic: str, digest: bytes, now_ns: int) -> None:
        """Take note of a sensor message; of any other topic nothing counts but what a stage attests."""
        if topic in self._sensors:
            self._messages.add(topic, digest, None, now_ns)

    def take_evidence(self, found: Appraised | Finding) -> None:
        """Take evidence of a key, appraised elsewhere; it counts for chains that are joined from now on."""
        findings = (found,) if isinstance(found, Finding) else found.findings
        for finding in findings:
            self.counts[finding.kind] += 1
        if not isinstance(found, Finding):
            self._environments.add(found)

    def take_attestation(self, topic: str, payload: bytes, now_ns: int, wall_ns: int) -> Link | None:
        """Read and check an attestation; returns its link, or None for one that proves nothing."""
        try:
            attestation = self._reader.read(payload, topic)
        except AttestationError:
            self.counts["malformed_attestation"] += 1
            return None
        inference = Inference(attestation, topic, wall_ns)
        found = self._certificates.check(inference)
        statement = attestation.statement
        if not inference.signed:
            self._reject(statement, found, now_ns)
            return None
        # Its time first: an old session must not enter the memory of the present ones.
        late = list(self._time(inference, now_ns, wall_ns))
        if not late and self._sessions.replayed(inference):
            late.append(inference.finding("attestation_replayed", f"stage {statement.stage}: it arrived before"))
        if late:
            self._reject(statement, [*late, *found], now_ns)
            return None
        link = Link(inference, now_ns)
        self._sort(link, found)
        self._sort(link, self._sessions.add(inference))
        self._note_gaps(link)
        self._condemn(link)
        if self._settings.robot and statement.robot != self._settings.robot:
            link.reasons.append(Reason("robot_mixed", f"it was attested by robot {statement.robot}"))
        for reference in statement.outputs:
            if reference.disclosure is Disclosure.CLEAR:
                self._algorithms[reference.topic] = reference.digest_algorithm
            if reference.disclosure is not Disclosure.ABSENT:
                self._outputs.add(reference.topic, reference.digest, link, now_ns)
            if statement.is_source and reference.topic in self._sensors:
                self._sourced.add(reference.topic)
        for reference in statement.inputs:
            if reference.topic in self._sensors:
                self._algorithms[reference.topic] = reference.digest_algorithm
        self.resolve(link)
        return link

    def partner(self, command: Command) -> Link | None:
        """Return the attestation that lets a command pass if all else holds: of its very bytes, and not yet used.

        Where outputs repeat to the byte, one that came long before the command belongs to an earlier one, which was
        lost on its way here.
        """
        since_ns = command.arrived_ns - self._settings.deadline_ns
        for at_ns, link in self._outputs.get(command.topic, command.digest):
            if not link.spent and at_ns >= since_ns:
                return link
        return None

    def explain(self, command: Command) -> list[Reason]:
        """Return why a command has no attestation, as far as one can tell."""
        for _, reasons in reversed(self._rejected.get(command.topic, command.digest)):
            return reasons
        known = self._outputs.get(command.topic, command.digest)
        if known:
            return [Reason("output_replayed", "this command was attested once, and has been here before")]
        newest = self._outputs.newest(command.topic)
        gap = newest is not None and any(note.kind == "attestation_lost" for note in newest[1].notes)
        if newest is not None and not gap and not newest[1].spent and newest[0] >= command.arrived_ns:
            stage = newest[1].statement.stage
            return [Reason("output_altered", f"the command is not what stage {stage} attested then")]
        return [Reason("attestation_missing", "no attestation of this command arrived in time")]

    def resolve(self, link: Link, depth: int = 0) -> None:
        """Join a link's inputs as far as they are here."""
        if link.resolved or link.reasons:
            return
        if depth > _MAX_DEPTH:
            link.missing = "its chain is too long to be followed at once"
            return
        joined: list[Link | None] = []
        for reference in link.statement.inputs:
            source, problem = self._source(link, reference)
            if problem is not None:
                link.reasons.append(problem)
                return
            if source is None or source.statement.is_source:
                kind, wrong = self._sensor_problem(reference, source is not None)
                if wrong:
                    link.missing = f"stage {link.statement.stage}: its input on {reference.topic} {wrong}"
                    link.missing_kind = kind
                    return
            if source is not None:
                self.resolve(source, depth + 1)
                link.reasons += source.reasons[: _MAX_REASONS - len(link.reasons)]
                if source.reasons:
                    return
                if not source.resolved:
                    link.missing, link.missing_kind = source.missing, source.missing_kind
                    return
            joined.append(source)
        self._conclude(link, joined)

    def age_ns(self, link: Link, now_ns: int) -> int:
        """Return how long ago a link's inference ended, as far as the gate itself can tell."""
        return self._freshness.age_ns(link.statement, now_ns)

    def decision(self, link: Link, latency_ns: int | None) -> list[Reason]:
        """Return what a command's whole chain lacks for the policy."""
        assert link.inference.chain_levels is not None
        found = self._judge.decision(link.inference, link.inference.chain_levels, latency_ns)
        return [Reason(finding.kind, finding.message) for finding in found]

    @property
    def size(self) -> int:
        """How many records are remembered."""
        return len(self._messages) + len(self._outputs) + len(self._rejected)

    def _conclude(self, link: Link, joined: list[Link | None]) -> None:
        inference = link.inference
        inference.sources = [source.inference if source is not None else None for source in joined]
        inference.seen = [source is None or source.statement.is_source for source in joined]
        self._environments.set(inference)
        resolve([inference], lambda topic: topic not in self._sensors)
        self._sort(link, self._environments.findings(inference))
        self._sort(link, self._judge.inference(inference, levels_of(inference)))
        stages = [stage for source in joined if source is not None for stage in source.stages]
        link.stages = tuple(dict.fromkeys([*stages, link.statement.stage]))
        for source in joined:
            if source is not None:
                link.notes += source.notes[: _MAX_REASONS - len(link.notes)]
        # What is behind is settled; without this, a stage that reads its own output would keep the whole run alive.
        inference.sources = []
        link.resolved, link.missing = True, ""

    def _source(self, link: Link, reference: DataReference) -> tuple[Link | None, Reason | None]:
        """Return what made an input (None: no stage), and what contradicts that; the rules of an audit's join."""
        candidates = [found for _, found in self._outputs.get(reference.topic, reference.digest)]
        if reference.attestation and candidates:
            named = [c for c in candidates if c.inference.attestation.digest == reference.attestation]
            candidates = named or candidates
        if not candidates:
            return None, None
        stage = link.statement.stage
        causes = [c for c in candidates if c is not link and _before(c.statement, link.statement, self._policy)]
        if not causes:
            message = f"stage {stage}: its input on {reference.topic} was made after its inference had begun"
            return None, Reason("cause_after_effect", message)
        source = causes[-1]
        if source.statement.robot != link.statement.robot:
            message = f"stage {stage}: its input on {reference.topic} was attested by robot {source.statement.robot}"
            return None, Reason("robot_mixed", message)
        return source, None

    def _sensor_problem(self, reference: DataReference, signed: bool) -> tuple[str, str]:
        """Return the kind of finding and why a message may not begin a chain: not seen, or not signed."""
        seen = self._messages.get(reference.topic, reference.digest)
        if not seen:
            return "decision_unlinked", self._why(reference)
        if not signed and (self._all_sourced or reference.topic in self._sourced):
            kind = "below_policy" if self._all_sourced else "decision_unlinked"
            return kind, f"is not signed at its source{self._rejection(reference)}"
        records = self._outputs.get(reference.topic, reference.digest)
        # A message without a stamp may repeat to the byte, and its record may be of before the gate was there.
        if signed and reference.stamp_ns and len(seen) > sum(link.statement.is_source for _, link in records):
            return "decision_unlinked", "was published more often than its source signed it"
        return "", ""

    def _rejection(self, reference: DataReference) -> str:
        rejected = self._rejected.get(reference.topic, reference.digest)
        return f": {rejected[-1][1][0].message}" if rejected else ""

    def _why(self, reference: DataReference) -> str:
        rejected = self._rejected.get(reference.topic, reference.digest)
        if rejected:
            return f"has no valid attestation: {rejected[-1][1][0].message}"
        if reference.topic in self._sensors:
            return "is no sensor message that the gate saw"
        return "is attested by no stage"

    def _time(self, inference: Inference, now_ns: int, wall_ns: int) -> Iterator[Finding]:
        statement = inference.attestation.statement
        problem = self._freshness.wall_problem(statement, wall_ns)
        if problem:
            yield inference.finding("clock_disagrees", f"stage {statement.stage}: its attestation {problem}")
            return
        problem = self._freshness.session_problem(statement, now_ns)
        if problem:
            yield inference.finding("sessions_overlap", f"stage {statement.stage}: its attestation {problem}")

    def _sort(self, link: Link, findings: Iterable[Finding]) -> None:
        for finding in findings:
            refused = finding.severity is Severity.VIOLATION or finding.kind in _REFUSED_WARNINGS
            target = link.reasons if refused else link.notes
            if len(target) < _MAX_REASONS:
                target.append(Reason(finding.kind, finding.message))
            self.counts[finding.kind] += 1

    def _note_gaps(self, link: Link) -> None:
        """Note missing attestations, and keep the memory of sessions small."""
        statement = link.statement
        chain = self._sessions.find(statement)
        assert chain is not None
        if chain.gaps and chain.gaps[-1].last == statement.sequence - 1:
            missing = chain.gaps[-1].size
            self.counts["attestation_lost"] += missing
            message = f"stage {statement.stage}: {missing} attestations before it are missing"
            link.notes.append(Reason("attestation_lost", message))
        chain.forget_gaps(_MAX_GAPS)
        sessions = self._sessions.sessions
        if len(sessions) > _MAX_SESSIONS:
            del sessions[self._sessions.oldest(sessions)]

    def _condemn(self, link: Link) -> None:
        """Refuse a forked session from the fork on: whoever holds its key tells two stories."""
        key = (link.statement.key_id, link.statement.session)
        if any(reason.kind == "session_forked" for reason in link.reasons):
            self._forked.append(key)
        elif key in self._forked:
            message = f"stage {link.statement.stage}: its session has two attestations with one sequence number"
            link.reasons.append(Reason("session_forked", message))

    def _reject(self, statement: Statement, findings: Iterable[Finding], now_ns: int) -> None:
        reasons = [Reason(f.kind, f.message) for f in findings if f.severity is Severity.VIOLATION][:_MAX_REASONS]
        for reason in reasons:
            self.counts[reason.kind] += 1
        if reasons:
            for reference in statement.outputs:
                self._rejected.add(reference.topic, reference.digest, reasons, now_ns)


def _before(cause: Statement, effect: Statement, policy: Policy) -> bool:
    if cause.clock is not effect.clock:
        return True
    tolerance = policy.max_clock_skew_ns if cause.clock is Clock.SYSTEM else _SIM_CLOCK_LAG_NS
    return cause.start_ns <= effect.start_ns + tolerance
