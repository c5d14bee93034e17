"""A live auditor that did not get to run: what it reads late, and in another order, accuses nobody."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from scenario import honest_run, honest_ticks

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.auditor import Auditor
from og_ros.audit.records import Record
from og_ros.registry import Registry

SECOND = 10**9
COMMAND = "/wheel_command"


def live(directory: Path, ticks: int) -> tuple[Auditor, list[Record]]:
    """Return a live auditor that sees the commands, and what arrives on their topic and its attestations' in a run."""
    run = honest_run(0)
    run.write_registry(directory / "registry")
    registry = Registry.open(directory / "registry")
    auditor = Auditor(registry, recorded=lambda topic: topic == COMMAND, live=True, catch_up=True)
    records = honest_ticks(run, ticks, time.time_ns(), 1 << 40)
    return auditor, [record for record in records if record.topic.startswith(COMMAND)]


def test_messages_wait_as_much_longer_as_attestations_are_late(tmp_path: Path) -> None:
    """DDS kept the newest ten messages and all attestations: messages are read at once, theirs after four seconds."""
    auditor, records = live(tmp_path, 200)
    attestations = [r for r in records if r.type == ATTESTATION_TYPE]
    messages = [r for r in records if r.type != ATTESTATION_TYPE]
    for message, attestation in zip(messages[:80], attestations[:80], strict=True):
        auditor.feed(message)
        auditor.feed(attestation)
    at = attestations[-1].received_ns  # six seconds later the process goes on
    auditor.feed(replace(attestations[80], received_ns=at))
    for number, message in enumerate(messages[-10:]):
        auditor.feed(replace(message, received_ns=at + number * SECOND // 5))
    auditor.advance(at + 4 * SECOND)
    assert auditor.findings.violations == 0
    for attestation in attestations[81:]:
        auditor.feed(replace(attestation, received_ns=at + 4 * SECOND))
    auditor.advance(at + 60 * SECOND)
    assert auditor.findings.violations == 0
    assert auditor.joiner.tallies[COMMAND].messages == 90


def test_what_nobody_attests_is_accused_all_the_same(tmp_path: Path) -> None:
    """Late attestations put an accusation off, by no more than the clock skew that the policy allows."""
    auditor, records = live(tmp_path, 200)
    for record in records[:-1]:
        auditor.feed(replace(record, received_ns=record.received_ns + 3600 * SECOND))
    late = replace(records[0], payload=b"\0\1\0\0" + bytes(24), received_ns=records[-40].received_ns + 3600 * SECOND)
    auditor.feed(late)
    auditor.advance(records[-1].received_ns + 3600 * SECOND + auditor.policy.max_clock_skew_ns + 2 * SECOND)
    assert auditor.findings.counts["output_not_attested"] == 1


def test_a_stage_that_stands_still_before_it_signs_is_not_accused(tmp_path: Path) -> None:
    """Two outputs were published and not signed yet when the stage stopped for four seconds; then it goes on."""
    auditor, records = live(tmp_path, 60)
    attestations = [r for r in records if r.type == ATTESTATION_TYPE]
    messages = [r for r in records if r.type != ATTESTATION_TYPE]
    for message, attestation in zip(messages[:38], attestations[:38], strict=True):
        auditor.feed(message)
        auditor.feed(attestation)
    for message in messages[38:40]:
        auditor.feed(message)
    stopped = messages[39].received_ns
    for tenths in range(1, 40):
        auditor.advance(stopped + tenths * SECOND // 10)
    for number in range(38, 60):
        at = stopped + 4 * SECOND + number * SECOND // 100
        auditor.feed(replace(attestations[number], received_ns=at))
        auditor.advance(at)
        if number >= 40:
            auditor.feed(replace(messages[number], received_ns=at))
    auditor.advance(stopped + 60 * SECOND)
    auditor.finish()
    assert auditor.findings.violations == 0
    assert auditor.joiner.tallies[COMMAND].messages == 60


def test_an_output_without_attestation_is_accused_once_the_next_is_attested(tmp_path: Path) -> None:
    auditor, records = live(tmp_path, 60)
    for record in records[:40]:
        auditor.feed(record)
    at = records[39].received_ns
    auditor.feed(replace(records[0], payload=b"\0\1\0\0" + bytes(24), received_ns=at))
    auditor.advance(at + 3 * SECOND)
    assert auditor.findings.violations == 0, "the stage may stand still"
    for record in records[40:44]:
        auditor.feed(replace(record, received_ns=at + 3 * SECOND))
    auditor.advance(at + 3 * SECOND + 1)
    assert auditor.findings.counts["output_not_attested"] == 1


def test_commands_that_are_all_altered_are_accused_at_once(tmp_path: Path) -> None:
    """Attestations come, and no message is what they say: none has to be found attested for that to show."""
    auditor, records = live(tmp_path, 60)
    for number, record in enumerate(records):
        if record.type != ATTESTATION_TYPE and number >= 20:
            record = replace(record, payload=bytes(record.payload[:-1]) + bytes([record.payload[-1] ^ 1]))
        auditor.feed(record)
    auditor.advance(records[-1].received_ns + 3 * SECOND)
    assert auditor.findings.counts["output_altered"] >= 15
