"""Audits a whole recording: streams it through the auditor, consults the log, applies the policy, and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from og_ros.audit.auditor import Auditor
from og_ros.audit.bag import Bag, open_bag
from og_ros.audit.findings import Finding
from og_ros.audit.ledger import LogCheck
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
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
) -> Report:
    """Audit a recording, with `jobs` processes.

    `progress(done, total)` is called now and then with message counts. Raises BagError, RegistryError or LogError when
    something could not be read at all; what does not hold is in the report's findings.
    """
    policy = policy or Policy()
    with open_bag(path) as bag:
        auditor = join_bag(bag, registry, policy, ledger, progress, observers, jobs)
        return Report.of(bag, auditor, registry, policy)


def join_bag(
    bag: Bag,
    registry: Registry | None,
    policy: Policy,
    ledger: Path | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
    jobs: int = 1,
) -> Auditor:
    """Read a recording into an auditor that is finished: everything joined and judged."""
    with ExitStack() as stack:
        log = LogCheck(stack.enter_context(Ledger.open(ledger)), registry) if ledger is not None else None
        auditor = Auditor(registry, policy, recorded=bag.topics.__contains__, log=log, observers=observers)
        if registry is not None and policy.registry_root is not None and not registry.pinned:
            auditor.report(
                Finding(
                    "root_not_trusted", f"the registry's root is {registry.fingerprint}, not {policy.registry_root}"
                )
            )
        for finding in bag.findings:
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
    _apply_policy(auditor, policy)
    return auditor


def _check_counts(auditor: Auditor, bag: Bag, topics: Iterable[str], counts: Mapping[str, int]) -> None:
    """A damaged storage file may end early without an error; the recording's own counts tell."""
    for topic in topics:
        said, read = bag.topics[topic].count, counts.get(topic, 0)
        if read != said:
            problem = f"{topic}: {read} messages were read, and {said} are said to be there"
            auditor.report(Finding("recording_incomplete", problem, topic))


def _apply_policy(auditor: Auditor, policy: Policy) -> None:
    for stage in policy.required_stages:
        if stage not in auditor.stages:
            auditor.report(Finding("stage_missing", f"stage {stage} is required and attested nothing", stage=stage))
    for topic, tally in sorted(auditor.joiner.tallies.items()):
        expected = max(tally.messages, tally.references, 1)
        if tally.missing / expected > policy.max_loss:
            auditor.report(
                Finding(
                    "loss_exceeds_policy",
                    f"{tally.missing} of {expected} records on {topic} lack their counterpart; "
                    f"{policy.max_loss:.1%} are allowed",
                    topic=topic,
                )
            )
    for chain in auditor.sessions.sessions.values():
        share = chain.lost / (chain.lost + chain.count)
        if share > policy.max_loss:
            auditor.report(
                Finding(
                    "loss_exceeds_policy",
                    f"stage {chain.statement.stage}: {chain.lost} of {chain.lost + chain.count} attestations of a "
                    f"session are missing; {policy.max_loss:.1%} are allowed",
                    topic=chain.first.topic,
                    stage=chain.statement.stage,
                )
            )
