"""What a recording shows of a gate: proven commands, the gate's own messages, and what nobody answers for."""

from __future__ import annotations

from pathlib import Path

from scenario import honest_run

from og_ros.audit.records import Record
from og_ros.gate.recorded import Passed, what_passed
from og_ros.registry import Registry


def test_each_message_on_the_output_is_accounted_for(tmp_path: Path) -> None:
    run = honest_run(10)
    run.write_registry(tmp_path / "r")
    registry = Registry.open(tmp_path / "r")
    commands = [r for r in run.records if r.topic == "/wheel_command"]
    passed = [Record("/wheels", r.type, r.payload, r.received_ns + 1) for r in commands[:7]]
    records = [*run.records, *passed]
    assert what_passed(records, registry, "/wheel_command", "/wheels") == Passed(7, 0, 0, 3)
    rogue = Record("/wheels", commands[0].type, b"\0\1\0\0" + bytes(8), 1)
    garbage = Record("/x/attestation", "og_ros/msg/Attestation", b"\0\1\0\0", 1)
    assert what_passed([*records, rogue, garbage], registry, "/wheel_command", "/wheels") == Passed(7, 0, 1, 3)
    stranger = honest_run(10)
    assert what_passed(stranger.records + passed, registry, "/wheel_command", "/wheels").unproven == 7
