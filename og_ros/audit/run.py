"""Audits a whole recording: streams it through the auditor, consults the log, applies the policy, and reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest import DataReference
from og_ros.attest.content_key import KeyRing
from og_ros.audit import recorded_checkpoints
from og_ros.audit.appraiser import Appraiser
from og_ros.audit.auditor import Auditor
from og_ros.audit.disclosures import Disclosures
from og_ros.audit.endurance import Endurance
from og_ros.audit.findings import Finding
from og_ros.audit.judge import RunTotals, SessionTotal
from og_ros.audit.ledger import LogCheck
from og_ros.audit.log_signatures import CLASSICAL
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.processes import rare_collection
from og_ros.audit.recorded_checkpoints import CHECKPOINT_TYPE
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.audit.recording.sealed_records import SEALED_TYPES, SealedRecords
from og_ros.audit.recording.unsealing import key_ring
from og_ros.audit.reexecution.rerun import ReexecutionPlan, conclude, reexecute, select
from og_ros.audit.reexecution.tally import ReexecutionTally
from og_ros.audit.reports.report import Report
from og_ros.audit.settled import SettlementEvidence
from og_ros.audit.stream import Stream, arrival
from og_ros.audit.witnessed import PublicEvidence
from og_ros.evidence.message import EVIDENCE_TYPE
from og_ros.log import Ledger
from og_ros.log.quorum import NONE
from og_ros.registry import Registry

Progress = Callable[[int, int], None]


def audit_bag(
    path: Path,
    registry: Registry | None = None,
    ledger: Path | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
    jobs: int = 1,
    reexecution: ReexecutionPlan | None = None,
    disclosures: Disclosures | None = None,
    unseal_key: ec.EllipticCurvePrivateKey | None = None,
    settlement: SettlementEvidence | None = None,
    at_ns: int | None = None,
    public: PublicEvidence | None = None,
) -> Report:
    """Audit a recording, with `jobs` processes.

    `reexecution` says what is to be run again, `disclosures` reveal what stages committed to, `unseal_key` opens a
    sealed recording, `settlement` are receipts that the log of `ledger` is held against, `public` cosigned checkpoints
    from elsewhere and roots of time stamps, `at_ns` is the date (ns since 1970, default now) at which the policy's list
    of broken algorithms is applied.

    `progress(done, total)` is called now and then with message counts. Raises BagError, RegistryError or LogError when
    something could not be read at all; what does not hold is in the report's findings.
    """
    with rare_collection(), open_bag(path) as bag:
        run = _Run(bag, registry, policy or Policy(), jobs, disclosures, unseal_key)
        run.execute_again(reexecution, progress)
        run.stream(ledger, settlement, public, observers, progress, time.time_ns() if at_ns is None else at_ns)
        return run.report()


class _Run:
    """One audit on its way: what was read of the recording, and what was found beside the stream."""

    def __init__(
        self,
        bag: Bag,
        registry: Registry | None,
        policy: Policy,
        jobs: int,
        disclosures: Disclosures | None,
        unseal_key: ec.EllipticCurvePrivateKey | None,
    ) -> None:
        self._bag, self._registry, self._policy, self._jobs = bag, registry, policy, jobs
        self._disclosures = disclosures
        self._findings: list[Finding] = list(bag.findings)
        self._again: ReexecutionTally | None = None
        self._plan: ReexecutionPlan | None = None
        self._sealed: SealedRecords | None = None
        self._endurance: Endurance | None = None
        if unseal_key is not None or any(topic.type in SEALED_TYPES for topic in bag.topics.values()):
            self._sealed = SealedRecords(self._ring(unseal_key) if unseal_key is not None else None)

    def execute_again(self, plan: ReexecutionPlan | None, progress: Progress | None) -> None:
        """Run models again, first of all, so that what came out is known when levels are computed."""
        if plan is None:
            return
        self._plan = plan
        chosen = select(self._bag, plan)
        self._again = reexecute(
            self._bag,
            plan,
            chosen,
            self._registry,
            report=self._findings.append,
            reveal=self._reveal,
            progress=progress,
            jobs=self._jobs,
        )
        self._findings += conclude(plan, self._again, self._bag.end_ns)

    def stream(
        self,
        ledger: Path | None,
        settlement: SettlementEvidence | None,
        public: PublicEvidence | None,
        observers: Sequence[Observer],
        progress: Progress | None,
        at_ns: int,
    ) -> None:
        """Read the recording into an auditor, until everything is joined and judged."""
        bag = self._bag
        with ExitStack() as stack:
            log = None
            if ledger is not None:
                log = self._read_log(stack.enter_context(Ledger.open(ledger)), settlement, public)
            if self._policy.broken:
                self._endurance = Endurance(self._policy.broken, at_ns, log, self._registry)
            self.auditor = auditor = Auditor(
                self._registry,
                self._policy,
                recorded=bag.topics.__contains__,
                log=log,
                endurance=self._endurance,
                reexecuted=self._again.verdicts if self._again is not None else None,
                disclosures=self._disclosures,
                observers=observers,
            )
            self._read_evidence(auditor)
            stream = Stream(bag, self._registry, self._jobs, self._sealed)
            for stretch in stream:
                for item in stretch.items:
                    auditor.take(item)
                if stretch.items:
                    auditor.advance(arrival(stretch.items[-1]))
                if progress is not None:
                    progress(sum(stream.counts.values()), sum(bag.topics[topic].count for topic in stream.topics))
            auditor.finish()
        if auditor.tally.attestations == 0 and not auditor.findings.counts["malformed_attestation"]:
            auditor.report(
                Finding("no_attestations", "the recording holds no attestations: nothing in it is accounted for")
            )
        self._findings += _miscounted(bag, stream.topics, stream.counts)
        types = {topic.name: topic.type for topic in bag.topics.values() if topic.type not in SEALED_TYPES}
        self._findings += auditor.contradictions.finish(types)
        self._findings += auditor.judge.run(_totals(auditor, self._again))
        self._findings += _checkpoints_below(self._policy, auditor)
        if self._endurance is not None:
            self._findings += self._endurance.findings()
        self._findings += _unwitnessed(self._policy, auditor)
        if self._sealed is not None:
            self._findings += self._sealed.gaps()
        if self._disclosures is not None:
            self._findings += self._disclosures.findings
        for finding in self._findings:
            auditor.report(finding)

    def _read_evidence(self, auditor: Auditor) -> None:
        """Appraise all recorded evidence, each as of its arrival, before anything is judged."""
        topics = [topic.name for topic in self._bag.topics.values() if topic.type == EVIDENCE_TYPE]
        if not topics:
            return
        appraiser = Appraiser(self._policy.evidence, self._registry)
        for record in self._bag.records(topics):
            found = appraiser.examine(record)
            if found is not None:
                auditor.take_evidence(found)

    def _read_log(
        self, ledger: Ledger, settlement: SettlementEvidence | None, public: PublicEvidence | None
    ) -> LogCheck:
        """Verify the log, and hold it against the checkpoints that were recorded, cosigned, stamped, and settled."""
        log = LogCheck(ledger, self._registry, settlement, public, self._policy)
        topics = [topic.name for topic in self._bag.topics.values() if topic.type == CHECKPOINT_TYPE]
        if log.view is not None and topics:
            self._findings += recorded_checkpoints.check(ledger, self._bag.records(topics))
        return log

    def report(self) -> Report:
        """Conclude."""
        again, plan, sealed = self._again, self._plan, self._sealed
        notes = sealed.not_checked() if sealed is not None else []
        if self._disclosures is not None and self._disclosures.unused():
            notes.append(f"{self._disclosures.unused()} disclosed records that belong to nothing in this recording")
        if self._endurance is not None:
            notes += self._endurance.notes()
        return Report.of(
            self._bag,
            self.auditor,
            self._registry,
            self._policy,
            reexecution={**plan.as_json(), **again.as_json()} if plan is not None and again is not None else None,
            sealed={"messages": sealed.count, "opened": sealed.opened} if sealed is not None else None,
            notes=notes,
            endurance=self._endurance.as_json() if self._endurance is not None else None,
        )

    def _ring(self, key: ec.EllipticCurvePrivateKey) -> KeyRing:
        ring, refused = key_ring(self._bag, key)
        for one in refused:
            self._findings.append(
                Finding("sealed_malformed", f"{one.topic}: {one.reason}", topic=one.topic, received_ns=one.received_ns)
            )
        return ring

    def _reveal(self, reference: DataReference) -> bytes | None:
        found = self._disclosures.reveal(reference) if self._disclosures is not None else None
        return found.payload if found is not None else None


def _miscounted(bag: Bag, topics: Iterable[str], counts: Mapping[str, int]) -> Iterator[Finding]:
    """A damaged storage file may end early without an error; the recording's own counts tell."""
    for topic in topics:
        said, read = bag.topics[topic].count, counts.get(topic, 0)
        if read != said:
            yield Finding(
                "recording_incomplete", f"{topic}: {read} messages were read, and {said} are said to be there", topic
            )


def _checkpoints_below(policy: Policy, auditor: Auditor) -> Iterator[Finding]:
    """Hold how the log's checkpoints are signed against the policy; a log that was not read is signed by nobody."""
    if policy.checkpoint == CLASSICAL:
        return
    view = auditor.log
    if view is None:
        yield Finding("below_policy", f"{policy.checkpoint} checkpoints are demanded, and no log that holds was read")
    elif not view.trusted or view.checkpoints != policy.checkpoint:
        how = f"signed {view.checkpoints}" if view.trusted else "under a key that no registry stands for"
        yield Finding("below_policy", f"log {view.origin}: its checkpoints are {how}; {policy.checkpoint} is demanded")


def _unwitnessed(policy: Policy, auditor: Auditor) -> Iterator[Finding]:
    """A log that was not read, or does not hold, has no witnesses; of one that was read, its own check has told."""
    asked = policy.witness_quorum or (policy.witness_policy is not None and policy.witness_policy.quorum != NONE)
    if asked and auditor.log is None:
        yield Finding("witness_quorum_not_met", "the policy demands witnesses of the log, and none that holds was read")


def _totals(auditor: Auditor, reexecution: ReexecutionTally | None) -> RunTotals:
    """Collect what only the end of a run tells."""
    topics = auditor.joiner.tallies
    stages = reexecution.stages if reexecution is not None else {}
    return RunTotals(
        stages=auditor.stages,
        outputs=auditor.joiner.attested_topics,
        topics={name: (tally.missing, max(tally.messages, tally.references, 1)) for name, tally in topics.items()},
        sessions=[
            SessionTotal(chain.statement.stage, chain.first.topic, chain.lost, chain.count)
            for chain in auditor.sessions.sessions.values()
        ],
        sources=[name for name, statement in auditor.stages.items() if statement.is_source],
        reexecuted={name: (count.run_again, count.population) for name, count in stages.items()},
    )
