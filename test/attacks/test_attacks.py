"""Attacks on real recordings: each named case must raise the finding that it names, about the right records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attack_cases import CASES, Attack, Who
from attacker import Attacker
from real_runs import RealRuns

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Record
from og_ros.registry import Registry

Audit = Callable[[list[str]], tuple[int, dict[str, Any], str]]


# Violations that no audit of one plain recording can raise, and the tests that raise them.
ELSEWHERE = {
    "attestation_withheld": "audit/test_catchup.py",
    "disclosure_invalid": "audit/test_disclosures.py",
    "sealed_malformed": "audit/test_sealed_records.py",
    "sealed_altered": "audit/test_sealed_records.py",
    "sealed_missing": "audit/test_sealed_records.py",
    "settlement_forged": "settlement/test_audit.py",
    "settlement_differs": "settlement/test_audit.py",
    "settlement_missing": "settlement/test_audit.py",
    "timestamp_invalid": "audit/test_witnessed.py",
    "registry_disagrees": "settlement/test_snapshots.py",
    "registry_proof_invalid": "settlement/test_snapshots.py",
    "registry_stale": "settlement/test_snapshot_file.py",
    "replayed_across_recordings": "audit/test_fleet.py",
    "recordings_disagree": "audit/test_fleet.py",
    "key_shared_by_robots": "audit/test_fleet.py",
    "attestation_missing": "gate/test_gatekeeper.py",
    "emergency_stop": "gate/test_stop.py",
    "envelope_exceeded": "gate/test_envelope_check.py",
    "envelope_not_in_force": "gate/test_envelope_check.py",
    "zone_violated": "gate/test_envelope_check.py",
    "command_stale": "gate/test_gatekeeper.py",
    "command_superseded": "gate/test_gatekeeper.py",
    "command_wrong_stage": "gate/test_gatekeeper.py",
    "chain_stalled": "gate/test_gatekeeper.py",
    "gate_overloaded": "gate/test_gatekeeper.py",
    "gate_bypassed": "gate/test_gatekeeper.py",
    "node_deaf": "faults/test_standstill.py",
    "gate_check_failed": "gate/test_gatekeeper.py",
    "pack_altered": "audit/test_pack.py",
    "pack_signature_invalid": "audit/test_pack.py",
    "pack_signer_unexpected": "audit/test_pack.py",
    "pack_records_differ": "audit/test_pack.py",
    "pack_report_differs": "audit/test_pack.py",
}
# Violations that nothing raises yet.
UNTRIED = {"session_shared_by_robots"}


def cases() -> list[object]:
    return [
        pytest.param(
            case,
            id=name,
            marks=[pytest.mark.xfail(strict=True, raises=AssertionError, reason=case.missing)] if case.missing else [],
        )
        for name, case in CASES.items()
    ]


@pytest.mark.parametrize("case", cases())
def test_attack_is_named(
    case: Attack, runs: RealRuns, tmp_path_factory: pytest.TempPathFactory, audited: Audit
) -> None:
    attacker = Attacker(runs, tmp_path_factory.mktemp("case"))  # a name that no message can be taken for
    accused = case.act(attacker)
    code, report, errors = audited(attacker.write())
    if case.refused:
        assert code == 2
        assert not report
        assert case.refused in errors
        assert len(errors.strip().splitlines()) == 1, errors
        return
    counts = report["finding_counts"]
    assert case.finding in counts, counts
    assert counts.keys() <= {case.finding, *case.besides}, counts
    assert (code, report["verdict"]) == ((0, "holds") if case.warns else (1, "violated"))
    findings = [f for f in report["findings"] if f["kind"] == case.finding]
    if isinstance(accused, str):
        assert any(accused in " ".join([f["message"], f["topic"], f["stage"]]) for f in findings), findings
    elif accused is not None:
        assert_about(findings, counts[case.finding], list(accused))


def assert_about(findings: list[dict], count: int, accused: list[Record]) -> None:  # type: ignore[type-arg]
    """Each finding is about one of the accused records, and each of them has one."""
    places = {(r.topic, r.received_ns) for r in accused}
    named = {(f["topic"], f["received_ns"]) for f in findings}
    assert named <= places, "a finding is about another record"
    assert count == len(places)
    if count == len(findings):
        assert named == places
    for finding in findings:
        record = next(r for r in accused if (r.topic, r.received_ns) == (finding["topic"], finding["received_ns"]))
        if record.type == ATTESTATION_TYPE and finding["attestation"]:
            from og_ros.attest import decode_attestation

            attestation = decode_attestation(record.payload)
            assert finding["attestation"] == attestation.digest.hex()
            assert finding["sequence"] == attestation.statement.sequence
            assert finding["stage"] == attestation.statement.stage


def test_every_violation_is_raised_by_an_attack() -> None:
    """A kind that no test raises would be a promise that nobody holds to."""
    raised = {case.finding for case in CASES.values() if not case.missing}
    expected = {case.finding for case in CASES.values() if case.missing}
    violations = {kind for kind, meaning in KINDS.items() if meaning.severity is Severity.VIOLATION}
    assert violations - raised - expected == ELSEWHERE.keys() | UNTRIED
    tests = Path(__file__).resolve().parents[1]
    for kind, file in ELSEWHERE.items():
        assert f'"{kind}"' in (tests / file).read_text(), f"{file} does not raise {kind}"


def test_no_attack_changes_the_runs(runs: RealRuns) -> None:
    """Each case starts from the same recording: what an earlier one did must not be in it."""
    run = runs.robot.directory
    with open_bag(run / "bag") as bag:
        recorded = [(r.topic, bytes(r.payload), r.received_ns) for r in bag.records()]
    assert recorded == [(r.topic, r.payload, r.received_ns) for r in runs.robot.records]
    Registry.open(run / "registry", pinned_root=runs.robot.registry.fingerprint)


def test_there_are_attackers_of_every_kind() -> None:
    assert {case.who for case in CASES.values()} == set(Who)
    assert len(CASES) >= 45
    assert all(case.summary.endswith(".") and len(case.summary) < 200 for case in CASES.values())
