"""The attacks of the suite, streamed through a gate: whatever is done to a real run, nothing unproven passes."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
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
from og_ros.evidence.policy_file import files_beside
from og_ros.gate.verdict import State
from og_ros.registry import Registry

# What is done to logs or to files that a recording lies in does not reach a gate: for it that is the honest run.
OF_LOGS_AND_FILES = {
    "leaf-left-out", "both-records-logged", "leaf-that-is-no-record", "leaf-with-trailing-bytes",
    "leaf-in-another-cbor-form", "leaf-with-unsigned-header", "log-of-another-robot", "log-under-another-name",
    "leaf-rewritten", "leaves-cut-off", "two-checkpoints-of-one-size", "tile-replaced", "checkpoint-file-of-a-fork",
    "split-view", "rewound-log", "truncated-file", "overwritten-bytes", "metadata-counts-lie",
}  # fmt: skip
# With such a registry a gate does not start.
NO_REGISTRY = {
    "registry-entry-edited", "revocation-removed", "certificate-added", "index-signed-by-a-stranger", "index-edited",
    "two-models-of-one-name", "key-certified-twice",
}  # fmt: skip
COMMAND = "/wheel_command"
# A recording made on a busy machine has late messages; what they mean is not what these tests are about.
PATIENT = {"deadline_ns": 10**9, "max_command_age_ns": 2 * 10**9, "stall_ns": 0, "healthy_ns": 1}


def stream(attacker: Attacker, registry: Registry, **changes: object) -> Gated:
    """Stream an attacker's records; after each refusal somebody resets the gate, so that all of the run is tried."""
    text = yaml.safe_dump({k: v for k, v in attacker.policy.items() if k != "registry_root"})
    policy = parse_policy(text.encode(), files=files_beside(attacker.directory))
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
    return frozenset((attestation.digest, o.digest) for o in attestation.statement.outputs if o.topic == COMMAND)


@pytest.fixture(scope="module")
def proven(runs: RealRuns) -> int:
    """How many commands of the honest run pass."""
    attacker = Attacker(runs, Path("/nowhere"))
    gated = stream(attacker, runs.robot.registry)
    # Before the first chain is whole, and where outputs repeat to the byte, a few may not.
    assert len(gated.passed) >= 0.97 * len(attacker.messages(COMMAND))
    assert gated.kinds <= {"decision_unlinked", "attestation_missing", "stage_missing"}
    return len(gated.passed)


def attacked(name: str, runs: RealRuns, directory: Path) -> tuple[Attacker, bool]:
    """Return an attacker after the attack, and whether a gate could see anything of it."""
    attacker = Attacker(runs, directory)
    policy = deepcopy(attacker.policy)
    CASES[name].act(attacker)
    same = attacker.records == list(runs.robot.records) and attacker._registry is None and attacker.policy == policy
    return attacker, not same


def check_passed(gated: Gated, attacker: Attacker, registry: Registry, runs: RealRuns) -> None:
    """Nothing passed that the controller did not sign for, nor more often than it did."""
    attested = attested_commands(attacker.records, registry)
    passed = Counter(digest(payload) for payload in gated.passed)
    assert not passed - attested, "a command passed more often than the controller signed for it"
    honest = {digest(bytes(runs.robot.records[i].payload)) for i in Attacker(runs, Path("/nowhere")).messages(COMMAND)}
    for verdict in gated.verdicts:
        if verdict.forward and verdict.command is not None and verdict.command.digest not in honest:
            assert attested[verdict.command.digest], "what passed is what the controller itself signed"
            assert verdict.accepted


@pytest.mark.parametrize("name", CASES)
def test_nothing_unproven_passes(name: str, runs: RealRuns, tmp_path: Path, proven: int) -> None:
    attacker, seen = attacked(name, runs, tmp_path)
    assert seen != (name in OF_LOGS_AND_FILES), "what the lists above say of this attack is not so"
    if not seen:
        return
    try:
        registry = Registry.open(attacker._registry) if attacker._registry else runs.robot.registry
    except OgError:
        assert name in NO_REGISTRY
        return
    assert name not in NO_REGISTRY
    check_passed(stream(attacker, registry), attacker, registry, runs)


# One attack for each way to bring a command to the wheels that its controller did not sign.
FORGED = ["altered-command", "second-publisher", "command-of-nan", "replayed-command", "topic-in-other-case"]


@pytest.mark.parametrize("name", FORGED)
def test_a_gate_that_passes_all_fails_the_check(name: str, runs: RealRuns, tmp_path: Path) -> None:
    """The check of the suite can fail: with a gate in mode monitor it does."""
    attacker, _ = attacked(name, runs, tmp_path)
    with pytest.raises(AssertionError):
        check_passed(stream(attacker, runs.robot.registry, mode="monitor"), attacker, runs.robot.registry, runs)


# Attacks on the chain of commands, which a gate must not only survive but refuse. Messages between stages are nothing
# to it: what the next stage read is what counts. Nor does it read logs. A sensor's forged signature takes nothing away
# from a frame that need not have one.
NAMED = ["output_altered", "signature_invalid", "unregistered_key", "model_not_certified", "session_forked"]


@pytest.mark.parametrize("kind", NAMED)
def test_gate_refuses_what_the_audit_names(kind: str, runs: RealRuns, tmp_path: Path, proven: int) -> None:
    cases = [
        case
        for name, case in CASES.items()
        if case.finding == kind
        and not case.refused
        and "log" not in case.summary
        and "as their source" not in case.summary
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
