"""The auditor: takes messages in the order of their arrival, from a recording or live, and finds what does not hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from og_ros.attest import ATTESTATION_TYPE, Attestation
from og_ros.attest.statement import Statement
from og_ros.audit import links
from og_ros.audit.appraiser import Appraised
from og_ros.audit.contradictions import Contradictions
from og_ros.audit.disclosure_tally import DisclosureTally
from og_ros.audit.disclosures import Disclosures
from og_ros.audit.endurance import Endurance
from og_ros.audit.environments import Environments
from og_ros.audit.examine import Checked, Examiner, Item, message_of
from og_ros.audit.findings import Finding
from og_ros.audit.join import Joiner
from og_ros.audit.judge import Judge, chain_latency
from og_ros.audit.ledger import LogCheck, LogView
from og_ros.audit.levels import LOWEST, LevelTally, levels_of
from og_ros.audit.memory import Retention
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.reasons import facts_of
from og_ros.audit.records import Inference, Message, Record, SessionKey
from og_ros.audit.sessions import Forgotten, SessionChecker, lost
from og_ros.audit.tally import FindingLog, Tally
from og_ros.registry import Registry

_SOURCE_LAG_NS: Final = 500_000_000
# So many attestations are told from repeated ones by their digest; older ones by their session's sequence.
_REMEMBERED: Final = 65_536
# How long a counterpart may take to arrive, and how long records are remembered.
LIVE_HORIZON_NS: Final = 2 * 10**9
LIVE_RETENTION: Final = Retention(30 * 10**9, 50_000)
RECORDING_HORIZON_NS: Final = 10 * 10**9
RECORDING_RETENTION: Final = Retention(120 * 10**9, 50_000)
# So many stages are listed before one that only records without a valid signature name finds no place.
MAX_CLAIMED_STAGES: Final = 256


class Auditor:
    """Checks a stream of records against a registry and a policy.

    Feed records in the order of arrival, call `advance` now and then, and `finish` at the end. Without a registry
    neither signatures nor certificates can be checked. A record is judged once its counterparts had `horizon_ns` to
    arrive (in a live stream as much longer as attestations are late, up to the clock skew that the policy allows), and
    forgotten after the retention, so that memory does not grow with the run. Beyond that a message waits until a later
    attestation shows whether its own was lost or withheld; in a `live` stream no longer than that clock skew.
    `reexecuted` maps the digests of attestations that were run again to whether their outputs were reproduced,
    `disclosures` reveal messages that stages committed to. With `catch_up` somebody asks the stages for what is
    missing, gives it to `recover`, and reports what nobody has. `clock_offset` is how far the wall clock, ns, is from
    the clock of the arrivals. `observers` are told of every attestation that was checked, every inference and decision
    that was judged, and every finding.
    """

    def __init__(
        self,
        registry: Registry | None,
        policy: Policy | None = None,
        *,
        recorded: Callable[[str], bool],
        live: bool = False,
        horizon_ns: int | None = None,
        log: LogCheck | None = None,
        catch_up: bool = False,
        clock_offset: Callable[[], int] = lambda: 0,
        reexecuted: Mapping[bytes, bool] | None = None,
        disclosures: Disclosures | None = None,
        endurance: Endurance | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.registry = registry
        self.policy = policy or Policy()
        self.findings = FindingLog()
        self.tally = Tally()
        self.levels = LevelTally()
        self.sessions = SessionChecker(catch_up, live)
        # Of them, what whoever catches up is to know and take.
        self.forgotten: list[Forgotten] = []
        self._catch_up = catch_up
        self._clock_offset = clock_offset
        self.contradictions = Contradictions(self.policy.max_clock_skew_ns)
        self.stages: dict[str, Statement] = {}
        # A live log is still being written, so what it has is not judged yet.
        self.judge = Judge(self.policy.without("settlement") if live else self.policy, registry)
        self._log = log
        self._reexecuted = reexecuted or {}
        self._disclosures = disclosures
        self._endurance = endurance
        self.disclosure = DisclosureTally()
        self.environments = Environments(registry, self.policy.max_clock_skew_ns)
        self._live = live
        # How late attestations come, and since when: the worst of the last while, or else the newest.
        self._late_ns, self._late_since_ns = 0, 0
        self._horizon_ns = horizon_ns or (LIVE_HORIZON_NS if live else RECORDING_HORIZON_NS)
        self._examiner = Examiner(registry)
        self.joiner = Joiner(
            self._excuse,
            recorded,
            self.policy.max_clock_skew_ns,
            LIVE_RETENTION if live else RECORDING_RETENTION,
        )
        self._written: dict[tuple[bytes, bytes], set[str]] = {}
        self._digests: set[bytes] = set()
        self._digests_in_order: deque[bytes] = deque()
        self._pending: deque[Inference] = deque()
        # What came from a journal or the own log, and may still arrive by its topic: that is no replay.
        self._ahead: dict[bytes, None] = {}
        self._observers = tuple(observers)
        self._report_all(self.judge.trust())
        if log is not None:
            self._report_all(log.findings)

    @property
    def log(self) -> LogView | None:
        """What the log holds; None where none was given, or it does not hold."""
        return self._log.view if self._log is not None else None

    @property
    def settlement_notes(self) -> list[str] | None:
        """What of the settlement could not be checked; None where no receipts were given."""
        settled = self._log.settled if self._log is not None else None
        return settled.notes if settled is not None else None

    @property
    def witness_notes(self) -> list[str] | None:
        """What of cosignatures and time stamps could not be checked; None where no log that holds was read."""
        witnessed = self._log.witnessed if self._log is not None else None
        return witnessed.notes if witnessed is not None else None

    def feed(self, record: Record, stamped: bool = False) -> None:
        """Take one record as it came; `stamped`: a data message begins with a Header."""
        if record.type == ATTESTATION_TYPE:
            self.take(self._examiner.check(record))
        else:
            self.take(message_of(record, self.joiner.algorithm_of(record.topic), stamped))

    def take(self, item: Item) -> None:
        """Take a record that was examined."""
        if isinstance(item, Message):
            if self._disclosures is not None and not item.commitment:
                item.commitment = self._disclosures.commitment(item.topic, item.digest) or b""
            self.joiner.add_message(item)
        elif isinstance(item, Finding):
            self.report(item)
        else:
            self._take_attestation(item)

    def take_evidence(self, found: Appraised | Finding) -> None:
        """Take evidence of a key that was examined; it counts for what is judged from now on."""
        if isinstance(found, Finding):
            self.report(found)
            return
        self.environments.add(found)
        self._report_all(found.findings)

    def advance(self, now_ns: int) -> None:
        """Judge everything whose counterparts had time to arrive."""
        before_ns = now_ns - self._horizon_ns
        if not self._live:
            self._settle(before_ns, final=False)
            return
        skew_ns = self.policy.max_clock_skew_ns
        self._settle(before_ns - min(self._late_ns, skew_ns), final=False, overdue_ns=before_ns - skew_ns)

    def finish(self) -> None:
        """Judge everything that is left: nothing more will arrive."""
        self._settle(2**63, final=True)
        if not self._catch_up:  # else whoever asks the stages reports what nobody has
            for chain in self.sessions.sessions.values():
                self._report_all(lost(chain, chain.gaps))
        if self._log is not None:
            self._report_all(self._log.finish(self.sessions, self._is_signed))

    def report(self, finding: Finding) -> None:
        """Take a finding."""
        self.findings.add(finding)
        for observer in self._observers:
            observer.finding(finding)

    def recover(self, attestation: Attestation, before_ns: int, since_ns: int) -> bool:
        """Take an attestation that its stage served later; returns whether it was missing and is signed.

        It counts as received when it was signed, `before_ns` at the latest. One that was signed before `since_ns`, when
        nobody listened to the data, is checked and logged, and not joined.
        """
        statement = attestation.statement
        chain = self.sessions.find(statement)
        known = chain is not None and chain.has(statement.sequence)
        if known and chain is not None and chain.digests.get(statement.sequence) in (None, attestation.digest):
            return False
        filled = Inference(attestation, "", min(statement.signed_at_ns, before_ns))
        checked = self._examiner.checked(filled)
        if filled.signed is False:
            return False
        self._expect(attestation.digest)
        self._take_attestation(checked, joined=statement.signed_at_ns >= since_ns)
        return True

    def recall(self, attestation: Attestation) -> None:
        """Know an attestation again that was accepted before a restart: its session goes on from there."""
        statement = attestation.statement
        self._expect(attestation.digest)
        for _ in self.sessions.add(Inference(attestation, "", statement.signed_at_ns, signed=True)):
            pass  # it was found and reported when the attestation was accepted
        self._forget()
        chain = self.sessions.find(statement)
        assert chain is not None
        chain.begin = None  # what was before it was asked for then

    def has_checked(self, attestation: Attestation) -> bool:
        """Return whether an attestation is signed, and not another one than was heard under its sequence number.

        The newest 8192 of a session are known by digest; of older ones any that the registered key signed counts.
        """
        chain = self.sessions.find(attestation.statement)
        if chain is None or not chain.has(attestation.statement.sequence):
            return False
        known = chain.digests.get(attestation.statement.sequence)
        return known in (None, attestation.digest) and self._is_signed(attestation)

    def _expect(self, digest: bytes) -> None:
        self._ahead[digest] = None
        if len(self._ahead) > _REMEMBERED:
            del self._ahead[next(iter(self._ahead))]

    def _take_attestation(self, checked: Checked, joined: bool = True) -> None:
        inference = checked.inference
        statement = inference.attestation.statement
        if inference.topic and inference.attestation.digest in self._ahead:
            del self._ahead[inference.attestation.digest]
            return
        self.tally.attestations += 1
        if self._is_duplicate(inference):
            self.report(
                inference.finding(
                    "attestation_replayed",
                    f"stage {statement.stage}: sequence {statement.sequence} of the session was published again",
                )
            )
            return
        self._report_all(checked.findings)
        inference.reexecuted = self._reexecuted.get(inference.attestation.digest)
        if self._disclosures is not None:
            inference.disclosed = self._disclosures.fields_of(statement)
        skew_ns = inference.received_ns + self._clock_offset() - statement.signed_at_ns
        served = self._catch_up and not inference.topic  # by a journal: when it arrived says nothing
        if not served and inference.signed is not False:
            self._note_lateness(inference.received_ns, skew_ns)
        if abs(skew_ns) > self.policy.max_clock_skew_ns and not served:
            apart = skew_ns / 1e9
            self.report(
                inference.finding(
                    "clock_disagrees",
                    f"stage {statement.stage}: says that it signed {apart:+.1f} s before the record arrived; "
                    f"{self.policy.max_clock_skew_ns / 1e9:g} s are allowed",
                )
            )
        if inference.signed is not False:
            # A record that its key did not sign says nothing about the session that it names.
            if self._log is not None:
                self._consult_log(self._log, inference)
            if self._endurance is not None:
                self._endurance.judge(inference)
            self._report_all(self.sessions.add(inference))
            self._forget()
            self._report_all(self.contradictions.take(inference))
            # Nor does it say which topics the session writes.
            self._written.setdefault((statement.key_id, statement.session), set()).update(
                reference.topic for reference in statement.outputs
            )
        self._list_stage(inference)
        if inference.signed is False:
            self.joiner.add_claim(inference)
        elif joined:
            self.joiner.announce(statement)
            chain = self.sessions.find(statement)
            self.joiner.add_inference(inference, chain is not None and chain.first.sequence > 0)
        if joined:
            self._pending.append(inference)
        for observer in self._observers:
            observer.inference(inference)

    def _list_stage(self, inference: Inference) -> None:
        """List a stage: a name that no registered key signed has a place while there is one, and takes nobody's."""
        statement = inference.attestation.statement
        if inference.signed or (statement.stage in self.stages and inference.signed is None):
            self.stages[statement.stage] = statement
        elif len(self.stages) < MAX_CLAIMED_STAGES:
            self.stages.setdefault(statement.stage, statement)

    def _forget(self) -> None:
        """Forget what is kept beside the sessions that are not followed any more."""
        if not self.sessions.forgotten:
            return
        forgotten, self.sessions.forgotten = self.sessions.forgotten, []
        for gone in forgotten:
            if gone.ended:
                session = (gone.chain.statement.key_id, gone.chain.statement.session)
                self._written.pop(session, None)
                self.contradictions.forget(session)
            if self._catch_up:
                self.forgotten.append(gone)
            else:
                self._report_all(lost(gone.chain, gone.gaps))

    def _note_lateness(self, received_ns: int, late_ns: int) -> None:
        """Note how long ago an attestation was signed when it arrived.

        A process that did not get to run finds the newest messages of data topics and the older attestations: DDS keeps
        more of these. So an attestation may come later than its message by as much as attestations are late.
        """
        if late_ns >= self._late_ns or received_ns - self._late_since_ns > self._horizon_ns:
            self._late_ns, self._late_since_ns = max(0, late_ns), received_ns

    def _consult_log(self, log: LogCheck, inference: Inference) -> None:
        """Take what the log has of a gap before an attestation, then look the attestation up."""
        chain = self.sessions.find(inference.attestation.statement)
        if inference.topic and chain is not None and chain.newest.sequence + 1 < inference.sequence:
            for attestation in log.between(chain.newest, inference):
                self._take_from_log(attestation, inference.received_ns)
        self._report_all(log.look_up(inference))

    def _take_from_log(self, attestation: Attestation, before_ns: int) -> None:
        filled = Inference(attestation, "", min(attestation.statement.signed_at_ns, before_ns))
        self._take_attestation(self._examiner.checked(filled))
        self.report(
            filled.finding(
                "only_in_log",
                f"stage {filled.stage}: sequence {filled.sequence} is not in the recording; taken from the log",
            )
        )

    def is_decision(self, inference: Inference) -> bool:
        """Return whether an inference is a decision: it writes a command, which no other attested stage reads.

        What a source signs is one only where the policy names its topic, such as that of a joystick.
        """
        outputs = inference.attestation.statement.outputs
        if self.policy.decisions:
            return any(reference.topic in self.policy.decisions for reference in outputs)
        if inference.attestation.statement.is_source:
            return False
        return any(not self.joiner.consumers.get(r.topic, set()) - {inference.stage} for r in outputs)

    def _settle(self, before_ns: int, final: bool, overdue_ns: int | None = None) -> None:
        self._report_all(self.joiner.settle(before_ns, final, overdue_ns))
        settled = []
        # A source's attestation may arrive after that of the inference that read its output.
        concluded_ns = before_ns if final else before_ns - _SOURCE_LAG_NS
        while self._pending and self._pending[0].received_ns < concluded_ns:
            settled.append(self._pending.popleft())
        for inference in settled:
            self.environments.set(inference)
        links.resolve(settled, self.joiner.is_attested)
        for inference in settled:
            self._judge(inference)

    def _judge(self, inference: Inference) -> None:
        levels = levels_of(inference)
        self.levels.add(
            inference.stage if inference.stage in self.stages else None,
            levels,
            lambda: facts_of(inference, self.registry, self.log),
            source=inference.attestation.statement.is_source,
        )
        self.disclosure.add(inference)
        self._report_all(self.environments.findings(inference))
        self._report_all(self.judge.inference(inference, levels))
        decision = self.is_decision(inference)
        if decision:
            self._count(inference)
        for observer in self._observers:
            observer.judged(inference)
            if decision:
                observer.decision(inference)

    def _count(self, inference: Inference) -> None:
        self.tally.decisions += 1
        if inference.linked:
            self.tally.linked += 1
        else:
            self.report(
                inference.finding(
                    "decision_unlinked",
                    f"stage {inference.stage}: this command cannot be traced back to recorded sensor messages",
                )
            )
        latency_ns, other_clock = chain_latency(inference)
        self.tally.other_clock += other_clock
        if latency_ns is not None:
            self.tally.latencies_ns.append(latency_ns)
        chain = inference.chain_levels or LOWEST
        self.levels.add_decision(chain)
        self._report_all(self.judge.decision(inference, chain, latency_ns))

    def _is_signed(self, attestation: Attestation) -> bool:
        """Return whether the registered key signed an attestation that came from a log or a journal."""
        inference = Inference(attestation, "", attestation.statement.signed_at_ns)
        self._examiner.checked(inference)
        return inference.signed is True

    def _is_duplicate(self, inference: Inference) -> bool:
        key = inference.attestation.digest
        if key in self._digests:
            return True
        if inference.signed is not False and self.sessions.replayed(inference):
            return True
        self._digests.add(key)
        self._digests_in_order.append(key)
        if len(self._digests_in_order) > _REMEMBERED:
            self._digests.discard(self._digests_in_order.popleft())
        return False

    def _excuse(self, topic: str, place: Callable[[SessionKey], tuple[int, int]]) -> bool:
        """Return whether a message without attestation may be one whose attestation is known to be missing."""
        chains = self.sessions.sessions
        writers = [s for s, topics in self._written.items() if topic in topics and s in chains]
        return any(chains[session].excuse(topic, *place(session)) for session in writers)

    def _report_all(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.report(finding)
