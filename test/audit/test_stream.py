"""Streaming: whatever the stretches, the processes and the order in which topics are named, an audit finds the same."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from pathlib import Path
from typing import Any

import pytest
from scenario import MS, Run, honest_run

from og_ros.attest import DataReference, ModelReference, Runtime, Session, digest, encode_attestation
from og_ros.attest.digest import covered_size
from og_ros.attest.statement import Clock
from og_ros.audit import auditor as auditor_module
from og_ros.audit import stream
from og_ros.audit.memory import Retention
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Inference, Record
from og_ros.audit.run import audit_bag
from og_ros.audit.sessions import SessionChain
from og_ros.registry import Registry


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut even a small recording into several stretches."""
    monkeypatch.setattr(stream, "STRETCH_MESSAGES", 60)


def write(run: Run, directory: Path) -> Path:
    """Write a run with registry and ledger."""
    run.write_registry(directory / "registry")
    run.write_bag(directory / "bag")
    run.write_ledger(directory / "ledger")
    return directory


def audited(directory: Path, jobs: int = 1) -> dict[str, Any]:
    """Audit it with its ledger and return the report as JSON."""
    registry = Registry.open(directory / "registry")
    return audit_bag(directory / "bag", registry, directory / "ledger", jobs=jobs).as_json()


def damaged(run: Run) -> Run:
    """Spoil a run in several ways at once."""
    ticks = run.of_stage("planning")
    run.resign(ticks[30][0], signed_at_ns=ticks[30][1].statement.signed_at_ns - 3600 * 10**9)
    commands = [i for i, record in enumerate(run.records) if record.topic == "/wheel_command"]
    payload = bytearray(run.records[commands[20]].payload)
    payload[-1] ^= 1
    run.records[commands[20]] = dataclasses.replace(run.records[commands[20]], payload=bytes(payload))
    del run.records[run.of_stage("perception")[40][0]]
    return run


def test_a_recording_is_cut_into_spans_that_cover_all_time(tmp_path: Path) -> None:
    write(honest_run(200), tmp_path)
    with open_bag(tmp_path / "bag") as bag:
        spans = stream.spans_of(bag, 1)
        assert len(spans) > 10
        assert spans[0].start_ns is None
        assert spans[-1].stop_ns is None
        assert all(a.stop_ns == b.start_ns for a, b in itertools.pairwise(spans))
        whole = [(r.topic, r.received_ns, bytes(r.payload)) for r in bag.records()]
        parts = [
            (r.topic, r.received_ns, bytes(r.payload)) for s in spans for r in bag.records(None, s.start_ns, s.stop_ns)
        ]
        assert parts == whole


@pytest.mark.parametrize("spoil", [False, True])
def test_stretches_and_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: bool) -> None:
    run = honest_run(60)
    write(damaged(run) if spoil else run, tmp_path)
    several, parallel = audited(tmp_path), audited(tmp_path, jobs=2)
    monkeypatch.setattr(stream, "STRETCH_MESSAGES", 10**6)
    whole = audited(tmp_path)
    assert whole["holds"] is not spoil
    assert several == whole
    assert parallel == whole


def late_stage(run: Run, begins: int, topic: str, source: str) -> None:
    """Let one more stage attest from a tick on: it reads the first message of `source`, and writes `topic`."""
    session = Session(
        robot=run.robot,
        stage="perception",
        node="/late",
        model=ModelReference("perception_model", "1.0.0", run.of_stage("perception")[0][1].statement.model.digest),
        runtime=Runtime("onnxruntime", "1", processing_digest=bytes(31) + b"\1"),
        signer=run.signers["perception"],
    )
    session.began_ns = 0
    first = next(r for r in run.records if r.topic == source)
    read = DataReference(source, first.type, digest(first.payload), covered_size(first.payload))
    for tick in range(begins, begins + 10):
        at = run.records[0].received_ns + tick * 50 * MS + 7 * MS
        payload = b"\0\1\0\0" + os.urandom(8)
        written = DataReference(topic, "std_msgs/msg/Float64", digest(payload), covered_size(payload))
        attestation = session.attest(
            [read], [written], start_ns=tick * 50 * MS, clock=Clock.SIM, start_monotonic_ns=at, duration_ns=MS
        )
        run.records.append(Record(topic, "std_msgs/msg/Float64", payload, at))
        run.records.append(
            Record(f"{topic}/attestation", "og_ros/msg/Attestation", encode_attestation(attestation), at + MS)
        )


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_topic_that_is_named_late_is_read_from_the_beginning(tmp_path: Path, jobs: int) -> None:
    """A map that was published once, and that a stage reads which began much later, is recorded data all the same."""
    run = honest_run(100)
    start = run.records[0].received_ns
    for tick in range(3):
        run.records.append(Record("/map", "std_msgs/msg/Float64", b"\0\1\0\0" + os.urandom(8), start + tick * 50 * MS))
    late_stage(run, 80, "/goal", "/map")
    run.records.sort(key=lambda record: record.received_ns)
    write(run, tmp_path)
    report = audited(tmp_path, jobs)
    kinds = set(report["finding_counts"])
    assert report["topics"]["/map"]["messages"] == 3
    assert "input_not_recorded" not in kinds
    assert "output_not_attested" not in kinds
    assert report["linked"] == 110


def test_messages_before_a_late_first_attestation_are_found(tmp_path: Path) -> None:
    run = honest_run(300)
    start = run.records[0].received_ns
    for tick in range(250):
        at = start + tick * 50 * MS
        run.records.append(Record("/goal", "std_msgs/msg/Float64", b"\0\1\0\0" + os.urandom(8), at))
    late_stage(run, 280, "/goal", "/scan")
    run.records.sort(key=lambda record: record.received_ns)
    write(run, tmp_path)
    report = audited(tmp_path)
    found = [f for f in report["findings"] if f["kind"] == "output_not_attested"]
    assert found
    assert all(f["topic"] == "/goal" for f in found)


def test_memory_stays_bounded_and_the_outcome_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = honest_run(600)
    write(run, tmp_path)
    whole = audited(tmp_path)
    monkeypatch.setattr(auditor_module, "RECORDING_RETENTION", Retention(10**9, 200))
    monkeypatch.setattr(auditor_module, "RECORDING_HORIZON_NS", 10**9)
    kept: list[int] = []
    settle = auditor_module.Joiner.settle

    def watched(joiner: Any, *given: Any) -> Any:
        yield from settle(joiner, *given)
        memory = joiner._memory
        kept.append(max(len(memory._messages), len(memory._inferences), len(memory._seen), len(memory._producers)))

    monkeypatch.setattr(auditor_module.Joiner, "settle", watched)
    assert audited(tmp_path) == whole
    assert max(kept) < 400 < whole["attestations"]


def test_an_input_outlives_the_retention_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor_module, "RECORDING_RETENTION", Retention(10**9, 200))
    monkeypatch.setattr(auditor_module, "RECORDING_HORIZON_NS", 10**9)
    run = honest_run(300)
    late_stage(run, 200, "/goal", "/scan")
    run.records.sort(key=lambda record: record.received_ns)
    write(run, tmp_path)
    # The first scan was read at its time and is named again ten seconds later, when it is long forgotten: a warning.
    assert audited(tmp_path)["finding_counts"].get("input_not_recorded", 0) >= 1
    monkeypatch.setattr(auditor_module, "RECORDING_RETENTION", Retention(60 * 10**9, 50_000))
    assert "input_not_recorded" not in audited(tmp_path)["finding_counts"]


def test_a_replay_from_before_the_window_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("og_ros.audit.sessions.WINDOW", 32)
    monkeypatch.setattr(auditor_module, "_REMEMBERED", 32)
    run = honest_run(200)
    index, attestation = run.of_stage("control")[5]
    old = run.records[index]
    run.records.append(dataclasses.replace(old, received_ns=run.records[-1].received_ns + MS))
    write(run, tmp_path)
    assert attestation.statement.sequence == 5
    assert audited(tmp_path)["finding_counts"]["attestation_replayed"] == 1


def test_a_session_knows_what_it_has_seen_for_ever() -> None:
    run = honest_run(60)
    inferences = [Inference(a, "/t", i) for i, (_, a) in enumerate(run.of_stage("control"))]
    chain = SessionChain(inferences[10], inferences[10])
    for inference in (*inferences[10:20], *inferences[30:40], inferences[5], inferences[25]):
        chain.take(inference)
    assert [(gap.first, gap.last) for gap in chain.gaps] == [(6, 9), (20, 24), (26, 29)]
    assert chain.lost == 13
    assert [n for n in range(60) if chain.has(n)] == [5, *range(10, 20), 25, *range(30, 40)]
    for inference in inferences:
        chain.take(inference)
    assert chain.gaps == []
    assert chain.lost == 0
    assert chain.count == 60


def test_metadata_that_lie_about_their_number_make_no_endless_list(tmp_path: Path) -> None:
    write(honest_run(10), tmp_path)
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(re.sub(r"message_count: \d+", f"message_count: {10**17}", metadata.read_text()))
    with open_bag(tmp_path / "bag") as bag:
        assert bag.count > 10**17
        assert len(stream.spans_of(bag, 1)) <= 1 + bag.size / stream.STRETCH_MESSAGES
    assert audited(tmp_path)["finding_counts"]["recording_incomplete"] > 0
