"""Attacks on real recordings: each named case must raise the finding that it names, about the right records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attack_cases import CASES, Attack
from attacker import Attacker
from real_runs import RealRuns

from og_ros.attest import ATTESTATION_TYPE
from og_ros.audit.records import Record
from og_ros.cli.main import main


def audit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, dict, str]:  # type: ignore[type-arg]
    """Run `og-ros audit`; returns exit code, report and what it wrote to standard error."""
    capsys.readouterr()
    code = main([*arguments, "--json", "-"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out) if shown.out else {}, shown.err


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
def test_attack_is_named(case: Attack, runs: RealRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacker = Attacker(runs, tmp_path)
    accused = case.act(attacker)
    code, report, errors = audit(attacker.write(), capsys)
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
        assert accused in " ".join([findings[0]["message"], findings[0]["topic"], findings[0]["stage"]])
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
