"""Fetching the messages of a few inferences: all that is there, nothing hashed or kept beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenario import STAGES, Run, honest_run

from og_ros.attest import digest
from og_ros.audit.recording import payloads
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.audit.recording.payloads import fetch
from og_ros.audit.records import Inference

TICKS = 200  # 10 s


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(TICKS)


@pytest.fixture(scope="module")
def bag(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bag]:
    with open_bag(run.write_bag(tmp_path_factory.mktemp("payloads") / "bag")) as opened:
        yield opened


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages that are hashed, as they are."""
    found: list[str] = []

    def counting(payload: bytes | memoryview, algorithm: str) -> bytes:
        found.append(algorithm)
        return digest(payload, algorithm)

    monkeypatch.setattr(payloads, "digest", counting)
    return found


def inferences(run: Run, stage: str) -> list[Inference]:
    return [Inference(a, run.records[i].topic, run.records[i].received_ns) for i, a in run.of_stage(stage)]


def test_each_chosen_inference_comes_once_with_all_its_messages(run: Run, bag: Bag) -> None:
    chosen = [inference for stage in STAGES for inference in inferences(run, stage)]
    found = list(fetch(bag, chosen))
    assert sorted(id(inference) for inference, _ in found) == sorted(map(id, chosen))
    for inference, messages in found:
        statement = inference.attestation.statement
        references = (*statement.inputs, *statement.outputs)
        assert set(messages) == {(reference.topic, reference.digest) for reference in references}
        assert all(digest(payload) == key[1] for key, payload in messages.items())


def test_nothing_chosen_reads_and_hashes_nothing(bag: Bag, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bag, "records", lambda *_: pytest.fail("the recording was read"))
    assert list(fetch(bag, [])) == []
    assert hashed == []


def test_only_messages_that_look_like_those_wanted_are_hashed(run: Run, bag: Bag, hashed: list[str]) -> None:
    chosen = [inferences(run, "perception")[n] for n in (50, 150)]
    assert [len(messages) for _, messages in fetch(bag, chosen)] == [2, 2]
    images = 2
    lines_around = 2 * (payloads.BEFORE_NS + payloads.AFTER_NS) // 50_000_000  # no stamp tells them apart
    assert len(hashed) <= images + lines_around


def test_what_is_not_in_the_recording_is_left_out(run: Run, tmp_path: Path) -> None:
    chosen = inferences(run, "planning")
    lost = {chosen[n].attestation.statement.inputs[0].digest for n in (0, 7, 100, 199)}
    rest = [record for record in run.records if digest(record.payload) not in lost and record.topic != "/scan"]
    with open_bag(dataclasses.replace(run, records=rest).write_bag(tmp_path / "bag")) as bag:
        found = {inference.sequence: messages for inference, messages in fetch(bag, chosen)}
    assert len(found) == TICKS
    assert {n for n, messages in found.items() if len(messages) == 1} == {0, 7, 100, 199}
    assert all(topic != "/scan" for messages in found.values() for topic, _ in messages)


def test_memory_is_bounded_whatever_the_recording_holds(run: Run, bag: Bag, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payloads, "HELD_BYTES", 100)
    chosen = inferences(run, "control")
    found = [inference.sequence for inference, _ in fetch(bag, chosen)]
    assert sorted(found) == list(range(TICKS)), "given up, not lost"
