"""Honest runs, joined and judged: linked through loss, late starts, repeats and feedback, with a log or without."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from scenario import MODELS, MS, Run, honest_run, payload

from og_ros.attest import (
    ATTESTATION_TYPE,
    Clock,
    DataReference,
    cose,
    decode_attestation,
    digest,
    encode_attestation,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.observer import Observer
from og_ros.audit.policy import parse_policy
from og_ros.audit.records import Inference, Record
from og_ros.audit.reports.report import Report, Verdict
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

TICK = 20


def audit(
    run: Run,
    directory: Path,
    certify: Callable[[RegistryWriter, Run], None] | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """Write a run with its registry and audit it from disk."""
    run.write_registry(directory / "registry", certify)
    run.write_bag(directory / "bag")
    return audit_bag(directory / "bag", Registry.open(directory / "registry"), observers=observers)


def place(run: Run, stage: str, tick: int = TICK) -> int:
    """Return where the attestation of a stage at a tick stands in the records."""
    return run.of_stage(stage)[tick][0]


def outputs(run: Run, topic: str) -> list[int]:
    """Return the places of the messages on a topic."""
    return [i for i, record in enumerate(run.records) if record.topic == topic]


def test_honest_run_holds_without_findings(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger")
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert report.findings == []
    assert report.verdict is Verdict.HOLDS
    assert report.auditor.tally.decisions == report.auditor.tally.linked == 40
    levels = report.as_json()["levels"]
    assert levels["model_integrity"]["lowest"] == "certified"
    assert levels["settlement"]["lowest"] == "logged"


@pytest.mark.parametrize("seed", range(10))
def test_loss_and_jitter_raise_no_violation(seed: int, tmp_path: Path) -> None:
    """Lost messages and attestations are told from withheld ones; the warnings say what is missing."""
    rng = random.Random(seed)
    data = ["/camera/image", "/scan", "/perception/line"]
    topics = [*data, "/planning/reference/attestation", "/wheel_command/attestation"]
    skip = frozenset((rng.choice(topics), rng.randrange(5, 195)) for _ in range(2))
    run = honest_run(200, skip=skip)
    run.records = [dataclasses.replace(r, received_ns=r.received_ns + rng.randrange(MS)) for r in run.records]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert report.verdict is Verdict.HOLDS
    assert report.auditor.findings.warnings > 0


def test_recording_that_begins_and_ends_in_the_middle(tmp_path: Path) -> None:
    run = honest_run(80)
    run.records = run.records[40:-41]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert "session_joined_late" in report.auditor.findings.counts


def test_attestation_lost_is_taken_from_the_log(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger")
    del run.records[place(run, "planning")]
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    registry = Registry.open(tmp_path / "registry")
    without = audit_bag(tmp_path / "bag", registry, policy=parse_policy(b"version: 1\nmax_loss: 0.5\n"))
    assert set(without.auditor.findings.counts) == {"attestation_lost", "decision_unlinked"}
    report = audit_bag(tmp_path / "bag", registry, tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"only_in_log"}
    assert report.auditor.tally.linked == 40


def test_log_that_covers_more_than_the_recording_is_no_loss(tmp_path: Path) -> None:
    """A ledger of the whole day, a recording of some minutes of it."""
    run = honest_run(60)
    run.write_ledger(tmp_path / "ledger")
    begin, end = place(run, "control", 9) + 1, place(run, "control", 49) + 1
    run.records = run.records[begin:end]
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"session_joined_late"}
    assert report.auditor.tally.linked == 40
    assert any("60 attestations of these sessions" in note for note in report.not_checked)


def test_log_that_began_late_or_ended_early_is_told_from_a_hole(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger", leave_out=frozenset({0, 1, 2, 119}))
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert report.auditor.findings.counts == {"logged_late": 3, "not_logged_yet": 1}


def test_log_without_a_registry_counts_for_nothing(tmp_path: Path) -> None:
    run = honest_run(5)
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", None, tmp_path / "ledger")
    assert report.verdict is Verdict.NOT_CHECKED
    assert report.as_json()["levels"]["settlement"]["lowest"] == "none"
    assert any("nothing counts as logged" in note for note in report.not_checked)


def test_stage_that_reads_its_own_output_is_linked(tmp_path: Path) -> None:
    """A chain as long as the run (a stage with feedback) is followed without recursion."""
    run = honest_run(5)
    signer, session = run.signers["control"], run.sessions["control"]
    start = run.records[-1].received_ns
    previous: DataReference | None = None
    image = run.records[0].payload
    root = DataReference("/camera/image", "sensor_msgs/msg/Image", digest(image), covered_size(image))
    last = run.of_stage("control")[-1][1]
    session._previous, session._sequence = last.digest, last.statement.sequence + 1
    for n in range(3000):
        data = payload("/wheel_command", 0, 10**6 + n)
        output = DataReference("/wheel_command", "std_msgs/msg/Float32MultiArray", digest(data), covered_size(data))
        at = start + n * MS
        run.records.append(Record("/wheel_command", output.type, data, at))
        statement = dataclasses.replace(
            last.statement,
            sequence=session._sequence,
            previous=session._previous,
            inputs=(root,) if previous is None else (root, previous),
            outputs=(output,),
            start_ns=10**9 + n * MS,
            start_monotonic_ns=10**9 + n * MS,
            signed_at_ns=at,
            clock=Clock.SIM,
        )
        attestation = cose.sign(statement, signer)
        session._previous, session._sequence = attestation.digest, session._sequence + 1
        run.records.append(Record("/wheel_command/attestation", ATTESTATION_TYPE, encode_attestation(attestation), at))
        previous = output
    report = audit(run, tmp_path)
    assert report.findings == []
    assert report.auditor.tally.linked == 3005


def test_outputs_that_repeat_to_the_byte_are_linked_to_the_newest(tmp_path: Path) -> None:
    """A robot that stands still: perception gives the same bytes again and again, without a stamp."""
    run = honest_run(30)
    first = outputs(run, "/perception/line")[0]
    same = run.records[first].payload
    digest_of_same = digest(same)
    for index in outputs(run, "/perception/line"):
        run.records[index] = dataclasses.replace(run.records[index], payload=same)
    previous = dict.fromkeys(("perception", "planning", "control"), bytes(32))
    for index, attestation in run.attestations():
        s = attestation.statement
        changed = {
            side: tuple(
                dataclasses.replace(r, digest=digest_of_same) if r.topic == "/perception/line" else r
                for r in getattr(s, side)
            )
            for side in ("inputs", "outputs")
        }
        run.resign(index, previous=previous[s.stage], **changed)
        previous[s.stage] = decode_attestation(run.records[index].payload).digest
    sources: list[tuple[int, int]] = []

    class Sources(Observer):
        def decision(self, inference: Inference) -> None:
            sources.append((inference.sequence, inference.sources[0].sources[0].sequence))  # type: ignore[union-attr]

    report = audit(run, tmp_path, observers=[Sources()])
    assert report.findings == []
    assert report.auditor.tally.linked == 30
    assert sources == [(n, n) for n in range(30)]


def constant_output(run: Run) -> None:
    """Make every wheel command the same bytes, honestly attested: a robot that stands still."""
    places = outputs(run, "/wheel_command")
    same = run.records[places[0]].payload
    for index in places:
        run.records[index] = dataclasses.replace(run.records[index], payload=same)
    previous = bytes(32)
    for index, attestation in run.of_stage("control"):
        output = dataclasses.replace(attestation.statement.outputs[0], digest=digest(same))
        run.resign(index, outputs=(output,), previous=previous)
        previous = decode_attestation(run.records[index].payload).digest


def test_lost_attestation_of_a_repeated_output_is_no_replay(tmp_path: Path) -> None:
    run = honest_run(200)
    constant_output(run)
    del run.records[place(run, "control", 100)]
    report = audit(run, tmp_path)
    assert set(report.auditor.findings.counts) == {"attestation_lost"}


def test_repeated_output_before_a_late_start_is_no_replay(tmp_path: Path) -> None:
    run = honest_run(100)
    constant_output(run)
    late = {place(run, "control", tick) for tick in range(10)}
    run.records = [r for i, r in enumerate(run.records) if i not in late]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert "session_joined_late" in report.auditor.findings.counts


def test_stamps_of_another_clock_give_no_latency(tmp_path: Path) -> None:
    run = honest_run(20)
    previous = dict.fromkeys(MODELS, bytes(32))
    for index, attestation in run.attestations():
        s = attestation.statement
        run.resign(index, previous=previous[s.stage], start_ns=s.signed_at_ns, clock=Clock.SYSTEM)
        previous[s.stage] = decode_attestation(run.records[index].payload).digest
    report = audit(run, tmp_path)
    assert report.as_json()["chain_latency_ms"] is None
    assert any("another clock" in note for note in report.not_checked)
