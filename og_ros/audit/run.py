"""Audits a whole recording: reads it in two passes, joins, checks the log, applies the policy, and reports."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from og_ros.attest import ATTESTATION_TYPE
from og_ros.attest.cdr import CdrReader
from og_ros.audit import ledger as log_check
from og_ros.audit.auditor import Auditor
from og_ros.audit.bag import Bag, open_bag
from og_ros.audit.findings import Finding
from og_ros.audit.levels import levels_of, reaches
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference
from og_ros.audit.report import Report
from og_ros.errors import AttestationError
from og_ros.registry import Registry

Progress = Callable[[int, int], None]
_PROGRESS_STEP: Final = 256


def audit_bag(
    path: Path,
    registry: Registry | None = None,
    ledger: Path | None = None,
    policy: Policy | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """Audit a recording.

    `progress(done, total)` is called now and then with message counts. Raises BagError, RegistryError or LogError when
    something could not be read at all; what does not hold is in the report's findings.
    """
    policy = policy or Policy()
    with open_bag(path) as bag:
        auditor = join_bag(bag, registry, policy, ledger, progress, observers)
        return Report.of(bag, auditor, registry, policy)


def join_bag(
    bag: Bag,
    registry: Registry | None,
    policy: Policy,
    ledger: Path | None = None,
    progress: Progress | None = None,
    observers: Sequence[Observer] = (),
) -> Auditor:
    """Read a recording into an auditor that is finished: everything joined and judged."""
    auditor = Auditor(registry, policy, recorded=lambda topic: topic in bag.topics, observers=observers)
    attestations = [t.name for t in bag.topics.values() if t.type == ATTESTATION_TYPE]
    if registry is not None and policy.registry_root is not None and not registry.pinned:
        auditor.report(
            Finding("root_not_trusted", f"the registry's root is {registry.fingerprint}, not {policy.registry_root}")
        )
    counts: Counter[str] = Counter()
    for record in bag.records(attestations):
        counts[record.topic] += 1
        auditor.feed(record)
    if auditor.tally.attestations == 0 and not auditor.findings.counts["malformed_attestation"]:
        auditor.report(
            Finding("no_attestations", "the recording holds no attestations: nothing in it is accounted for")
        )
    if ledger is not None:
        _consult_log(auditor, ledger)
    wanted = {t: bag.topics[t] for t in _named_topics(auditor) if t in bag.topics}
    total = sum(topic.count for topic in wanted.values())
    for done, record in enumerate(bag.records(wanted), 1):
        counts[record.topic] += 1
        auditor.feed_data(record, stamp_of(record.payload, wanted[record.topic].stamped))
        if progress is not None and done % _PROGRESS_STEP == 0:
            progress(done, total)
    if progress is not None:
        progress(total, total)
    auditor.finish()
    _check_counts(auditor, bag, [*attestations, *wanted], counts)
    _apply_policy(auditor, policy)
    return auditor


def _named_topics(auditor: Auditor) -> set[str]:
    return {
        reference.topic
        for inference in auditor.inferences
        for side in (inference.attestation.statement.inputs, inference.attestation.statement.outputs)
        for reference in side
        if reference.topic != inference.topic
    }


def stamp_of(payload: bytes | memoryview, stamped: bool) -> int:
    """Return the header stamp of a serialised message in ns; 0 for a type without header or a malformed one."""
    if not stamped:
        return 0
    try:
        return CdrReader(payload).time()
    except (AttestationError, struct.error):
        return 0


def _check_counts(auditor: Auditor, bag: Bag, topics: Iterable[str], counts: Mapping[str, int]) -> None:
    """A damaged storage file may end early without an error; the recording's own counts tell."""
    for topic in topics:
        said, read = bag.topics[topic].count, counts.get(topic, 0)
        if read != said:
            problem = f"{topic}: {read} messages were read, and {said} are said to be there"
            auditor.report(Finding("recording_incomplete", problem, topic))


def _consult_log(auditor: Auditor, directory: Path) -> None:
    view, findings = log_check.read_log(directory, auditor.registry, auditor.sessions.sessions)
    for finding in findings:
        auditor.report(finding)
    auditor.log = view
    if view is None:
        return
    for attestation in view.fills:
        inference = Inference(attestation, "", attestation.statement.signed_at_ns)
        auditor.feed_inference(inference)
        auditor.report(
            inference.finding(
                "only_in_log",
                f"stage {inference.stage}: sequence {inference.sequence} is not in the recording; taken from the log",
            )
        )
    auditor.inferences.sort(key=lambda inference: inference.received_ns)
    for finding in log_check.check_inclusion(view, auditor.inferences):
        auditor.report(finding)


def _apply_policy(auditor: Auditor, policy: Policy) -> None:
    for stage in policy.required_stages:
        if stage not in auditor.stages:
            auditor.report(Finding("stage_missing", f"stage {stage} is required and attested nothing", stage=stage))
    for inference in auditor.inferences:
        minimum = policy.minimum(inference.stage)
        levels = levels_of(inference)
        auditor.levels.add(inference.stage, levels)
        for axis, least in minimum.items():
            if not reaches(axis, levels[axis], least):
                auditor.report(
                    inference.finding(
                        "below_policy",
                        f"stage {inference.stage}: {axis} is {levels[axis]}; the policy demands {least}",
                    )
                )
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
