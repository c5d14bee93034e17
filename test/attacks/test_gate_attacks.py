"""The attacks of the suite, streamed through a gate: whatever is done to a real run, nothing unproven passes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import yaml
from attack_cases import CASES
from attacker import Attacker
from gated import Gated
from real_runs import RealRuns

from og_ros.attest import ATTESTATION_TYPE, decode_attestation, digest
from og_ros.audit.certificates import check
from og_ros.audit.policy import parse_policy
from og_ros.audit.records import Inference, Record
from og_ros.errors import AttestationError, OgError
from og_ros.gate.verdict import State
from og_ros.registry import Registry

# What is done to logs, files, or what only another run of the model shows, does not reach a gate.
COMMAND = "/wheel_command"
# A recording made on a busy machine has late messages; what they mean is not what these tests are about.
PATIENT = {"deadline_ns": 10**9, "max_command_age_ns": 2 * 10**9, "stall_ns": 0, "healthy_ns": 1}


def stream(attacker: Attacker, registry: Registry, **changes: object) -> Gated:
    """Stream an attacker's records; after each refusal somebody resets the gate, so that all of the run is tried."""
    policy = parse_policy(yaml.safe_dump({k: v for k, v in attacker.policy.items() if k != "registry_root"}).encode())
    gated = Gated.by(registry, policy, **{**PATIENT, **changes})
    for record in sorted(attacker.records, key=lambda r: r.received_ns):
        gated.stream([replace(record, payload=bytes(record.payload))])
        if gated.keeper.state is State.LATCHED:
            gated.keeper.reset(gated.now_ns + 2)
    return gated.wait(2.0)


def attested_commands(records: list[Record], registry: Registry) -> Counter[bytes]:
    """Count the different attestations of each command that a certified key of the controller signed."""
    found: set[tuple[bytes, bytes]] = set()
    for record in records:
        if record.type == ATTESTATION_TYPE:
            found |= _signed_commands(bytes(record.payload), registry)
    return Counter(output for _, output in found)


@cache
def _signed_commands(payload: bytes, registry: Registry) -> frozenset[tuple[bytes, bytes]]:
    try:
        inference = Inference(decode_attestation(payload), "", 0)
    except AttestationError:
        return frozenset()
    wrong = [f for f in check(inference, registry) if f.kind != "mode_downgraded"]
    if inference.stage != "control" or wrong:
        return frozenset()
    attestation = inference.attestation
    return frozenset((attestation.digest, output.digest) for output in attestation.statement.outputs)


@pytest.fixture(scope="module")
def proven(runs: RealRuns) -> int:
    """How many commands of the honest run pass."""
    attacker = Attacker(runs, Path("/nowhere"))
    gated = stream(attacker, runs.robot.registry)
    # Before the first chain is whole, and where outputs repeat to the byte, a few may not.
    assert len(gated.passed) >= 0.97 * len(attacker.messages(COMMAND))
    assert gated.kinds <= {"decision_unlinked", "attestation_missing", "stage_missing"}
    return len(gated.passed)


@pytest.mark.parametrize("name", CASES)
def test_nothing_unproven_passes(name: str, runs: RealRuns, tmp_path: Path, proven: int) -> None:
    attacker = Attacker(runs, tmp_path)
    policy = dict(attacker.policy)
    CASES[name].act(attacker)
    if attacker.records == list(runs.robot.records) and attacker._registry is None and attacker.policy == policy:
        return  # an attack on a log or on files: for a gate it is the honest run
    try:
        registry = Registry.open(attacker._registry) if attacker._registry else runs.robot.registry
        gated = stream(attacker, registry)
    except OgError:
        return  # a registry or policy that does not hold: such a gate does not start
    attested = attested_commands(attacker.records, registry)
    passed = Counter(digest(payload) for payload in gated.passed)
    assert not passed - attested, "a command passed more often than the controller signed for it"
    honest = {digest(bytes(runs.robot.records[i].payload)) for i in Attacker(runs, tmp_path).messages(COMMAND)}
    for verdict in gated.verdicts:
        if verdict.forward and verdict.command is not None and verdict.command.digest not in honest:
            assert attested[verdict.command.digest], "what passed is what the controller itself signed"


# Attacks on the chain of commands, which a gate must not only survive but refuse. Messages between stages are nothing
# to it: what the next stage read is what counts. Nor does it read logs.
NAMED = ["output_altered", "signature_invalid", "unregistered_key", "model_not_certified", "session_forked"]


@pytest.mark.parametrize("kind", NAMED)
def test_gate_refuses_what_the_audit_names(kind: str, runs: RealRuns, tmp_path: Path, proven: int) -> None:
    cases = [
        case
        for name, case in CASES.items()
        if case.finding == kind
        and not case.refused
        and "log" not in case.summary
        and (kind != "output_altered" or "command" in name)
    ]
    assert cases
    for number, case in enumerate(cases):
        directory = tmp_path / str(number)
        directory.mkdir()
        attacker = Attacker(runs, directory)
        case.act(attacker)
        gated = stream(attacker, Registry.open(attacker._registry or runs.robot.directory / "registry"))
        assert any(not v.accepted for v in gated.verdicts), case.summary
        assert len(gated.passed) < proven, case.summary
