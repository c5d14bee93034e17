"""A live auditor that did not get to run: what it reads late, and in another order, accuses nobody."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from scenario import honest_run, honest_ticks

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.auditor import Auditor
from og_ros.registry import Registry

SECOND = 10**9
COMMAND = "/wheel_command"


def test_messages_wait_as_much_longer_as_attestations_are_late(tmp_path: Path) -> None:
    """DDS kept the newest ten messages and all attestations: messages are read at once, theirs after four seconds."""
    run = honest_run(0)
    run.write_registry(tmp_path / "registry")
    auditor = Auditor(Registry.open(tmp_path / "registry"), recorded=lambda t: t == COMMAND, live=True, catch_up=True)
    records = [r for r in honest_ticks(run, 200, time.time_ns(), 1 << 40) if r.topic.startswith(COMMAND)]
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
    run = honest_run(0)
    run.write_registry(tmp_path / "registry")
    auditor = Auditor(Registry.open(tmp_path / "registry"), recorded=lambda t: t == COMMAND, live=True, catch_up=True)
    records = [r for r in honest_ticks(run, 200, time.time_ns(), 1 << 40) if r.topic.startswith(COMMAND)]
    for record in records[:-1]:
        auditor.feed(replace(record, received_ns=record.received_ns + 3600 * SECOND))
    late = replace(records[0], payload=b"\0\1\0\0" + bytes(24), received_ns=records[-40].received_ns + 3600 * SECOND)
    auditor.feed(late)
    auditor.advance(records[-1].received_ns + 3600 * SECOND + auditor.policy.max_clock_skew_ns + 2 * SECOND)
    assert auditor.findings.counts["output_not_attested"] == 1
