"""Audits a whole recording: streams it through the auditor, consults the log, applies the policy, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from og_ros.audit.auditor import Auditor
from og_ros.audit.bag import Bag, open_bag
from og_ros.audit.findings import Finding
from og_ros.audit.judge import RunTotals, SessionTotal
from og_ros.audit.ledger import LogCheck
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.processes import rare_collection
from og_ros.audit.reexecution import ReexecutionPlan, conclude, reexecute, select
from og_ros.audit.reexecution_tally import ReexecutionTally
from og_ros.audit.report import Report
from og_ros.audit.stream import Stream, arrival
from og_ros.log import Ledger
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
) -> Report:
    """Audit a recording, with `jobs` processes; `reexecution` says what is to be run again.

    `progress(done, total)` is called now and then with message counts. Raises BagError, RegistryError or LogError when
    something could not be read at all; what does not hold is in the report's findings.
    """
    policy = policy or Policy()
    with rare_collection(), open_bag(path) as bag:
        auditor, again = _audit(bag, registry, policy, ledger, progress, observers, jobs, reexecution)
        ran = None if reexecution is None or again is None else {**reexecution.as_json(), **again.as_json()}
        return Report.of(bag, auditor, registry, policy, ran)


def _audit(
    bag: Bag,
    registry: Registry | None,
    policy: Policy,
    ledger: Path | None,
    progress: Progress | None,
    observers: Sequence[Observer],
    jobs: int,
    reexecution: ReexecutionPlan | None,
) -> tuple[Auditor, ReexecutionTally | None]:
    """Read a recording into an auditor that is finished: everything joined and judged."""
    with ExitStack() as stack:
        log = LogCheck(stack.enter_context(Ledger.open(ledger)), registry) if ledger is not None else None
        found: list[Finding] = []
        again = None
        if reexecution is not None:
            again = reexecute(
                bag,
                reexecution,
                select(bag, reexecution),
                registry,
                report=found.append,
                progress=progress,
            )
            found += conclude(reexecution, again, bag.end_ns)
        auditor = Auditor(
            registry,
            policy,
            recorded=bag.topics.__contains__,
            log=log,
            reexecuted=again.verdicts if again is not None else None,
            observers=observers,
        )
        for finding in (*bag.findings, *found):
            auditor.report(finding)
        stream = Stream(bag, registry, jobs)
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
    _check_counts(auditor, bag, stream.topics, stream.counts)
    for finding in auditor.judge.run(_totals(auditor, again)):
        auditor.report(finding)
    return auditor, again


def _check_counts(auditor: Auditor, bag: Bag, topics: Iterable[str], counts: Mapping[str, int]) -> None:
    """A damaged storage file may end early without an error; the recording's own counts tell."""
    for topic in topics:
        said, read = bag.topics[topic].count, counts.get(topic, 0)
        if read != said:
            problem = f"{topic}: {read} messages were read, and {said} are said to be there"
            auditor.report(Finding("recording_incomplete", problem, topic))


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
        reexecuted={name: (count.run_again, count.population) for name, count in stages.items()},
    )
