"""Honest runs raise no violation: as recorded, through a bad network, and with what an attacker might be taken for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attack_cases.data import flip
from attacker import Attacker
from bad_network import recorded_through
from real_runs import RealRuns

from og_ros.audit.findings import KINDS, Severity

Audit = Callable[[list[str]], tuple[int, dict[str, Any], str]]


@pytest.mark.parametrize("name", ["robot", "again", "other"])
def test_real_run_has_no_finding(name: str, runs: RealRuns, tmp_path: Path, audited: Audit) -> None:
    run = getattr(runs, name).directory
    files = ["--registry", str(run / "registry"), "--ledger", str(run / "ledger"), "--policy", str(run / "policy.yaml")]
    code, report, _ = audited(["audit", str(run / "bag"), *files])
    assert report["finding_counts"] == {}
    assert (code, report["verdict"]) == (0, "holds")
    assert report["linked"] == report["decisions"] > 100


@pytest.mark.parametrize("seed", range(10))
def test_loss_and_jitter_raise_no_violation(seed: int, runs: RealRuns, tmp_path: Path, audited: Audit) -> None:
    """Lost, late and unheard messages of all kinds are told from withheld ones."""
    attacker = Attacker(runs, tmp_path)
    attacker.policy["max_loss"] = 0.15
    attacker.records = recorded_through(attacker.records, seed)
    attacker.take_ledger()
    code, report, _ = audited(attacker.write())
    assert [kind for kind in report["finding_counts"] if KINDS[kind].severity is Severity.VIOLATION] == []
    assert (code, report["verdict"]) == (0, "holds")
    assert report["finding_counts"], "nothing was lost"


def test_restarted_robot_has_no_finding(runs: RealRuns, tmp_path: Path, audited: Audit) -> None:
    """Two runs in one recording: new sessions with the old keys, and a simulated time that starts again."""
    attacker = Attacker(runs, tmp_path)
    attacker.records += attacker.other_run(30 * 10**9)
    code, report, _ = audited(attacker.write())
    assert report["finding_counts"] == {}
    assert (code, report["verdict"]) == (0, "holds")


@pytest.mark.parametrize("what", ["key", "model"])
def test_revocation_after_the_run_changes_nothing(what: str, runs: RealRuns, tmp_path: Path, audited: Audit) -> None:
    attacker = Attacker(runs, tmp_path)
    place = attacker.attestations("planning")[-1]
    statement, later = attacker.statement(place), attacker.records[place].received_ns + 10**9
    with attacker.registry_writer() as writer:
        if what == "key":
            writer.revoke_key(statement.key_id, "retired", at_ns=later)
        else:
            writer.revoke_model(statement.model.digest, "replaced", at_ns=later)
    code, report, _ = audited(attacker.write())
    assert (code, report["finding_counts"]) == (0, {})


def test_stranger_cannot_make_the_log_look_forked(runs: RealRuns, tmp_path: Path, audited: Audit) -> None:
    """Checkpoints that the log's key did not sign say nothing about the log, whoever published them."""
    attacker = Attacker(runs, tmp_path)
    attacker.take_ledger()
    checkpoint = attacker.messages("/auditor/checkpoint")[0]
    payload = bytes(attacker.records[checkpoint].payload)
    for forged in (payload[:-10], payload.replace(b"og-ros/demo", b"og-ros/dumb"), b"", flip(payload, 150)):
        attacker.repeat(checkpoint, 5, payload=forged)
    code, report, _ = audited(attacker.write())
    assert (code, report["finding_counts"]) == (0, {})
