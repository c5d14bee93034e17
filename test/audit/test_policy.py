"""Policies: what they demand is checked, and a wrong one is refused with file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario import honest_run

from og_ros.audit.policy import load_policy, parse_policy
from og_ros.audit.run import audit_bag
from og_ros.errors import PolicyError
from og_ros.registry import Registry

FULL = b"""\
version: 1
registry_root: sha256:00
decisions: [/wheel_command]
max_loss: 0.02
max_clock_skew_s: 5
max_chain_latency_ms: 80.5
stages:
  "*": {inference_authenticity: signed}
  planning: {model_integrity: certified}
"""


def test_full_policy_is_read() -> None:
    policy = parse_policy(FULL)
    assert policy.registry_root == "sha256:00"
    assert policy.decisions == ("/wheel_command",)
    assert (policy.max_loss, policy.max_clock_skew_ns, policy.max_chain_latency_ns) == (0.02, 5 * 10**9, 80_500_000)
    assert policy.minimum("planning") == {"inference_authenticity": "signed", "model_integrity": "certified"}
    assert policy.minimum("control") == {"inference_authenticity": "signed"}
    assert policy.required_stages == ["planning"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "version is missing"),
        ("version: 2", "p.yaml:1: version must be 1"),
        ("version: 1\nmax_los: 0.1", "p.yaml:2: max_los is unknown in policy"),
        ("version: 1\nmax_loss: 2", "p.yaml:2: max_loss must be a number from 0 to 1"),
        ("version: 1\nmax_loss: true", "p.yaml:2: max_loss must be a number"),
        ("version: 1\nmax_loss: .nan", "p.yaml:2: max_loss must be a number"),
        ("version: 1\nversion: 1", "p.yaml:2: version stands twice"),
        ("version: 1\ndecisions: /cmd", "p.yaml:2: decisions must be a list"),
        ("version: 1\nregistry_root: [a]", "p.yaml:2: registry_root must be one value"),
        ("version: 1\nstages:\n  a: {settlement: great}", "p.yaml:3: settlement must be one of: none, logged"),
        ("version: 1\nstages:\n  a: {trust: high}", "p.yaml:3: trust is unknown in a"),
        ("version: 1\nstages: 3", "p.yaml:2: stages must be a mapping"),
        ("version: 1\n? [a]\n: b", "p.yaml:2: policy has a key that is no text"),
        ("- 1", "p.yaml:1: policy must be a mapping"),
        ("a: [", "p.yaml: while parsing"),
        ("\x00", "p.yaml:"),
        ("version: 1\nmax_loss: 2020-99-99", "p.yaml:2: max_loss"),
    ],
)
def test_wrong_policy_names_the_line(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode(), "p.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    problem = ""
    try:
        parse_policy(data)
    except PolicyError as error:
        problem = str(error)
    assert "\n" not in problem


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot read the policy"):
        load_policy(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("stages: {gripper: {}}", "stage_missing"),
        ("stages: {'*': {execution_environment: tee}}", "below_policy"),
        ("stages: {planning: {settlement: logged}}", "below_policy"),
        ("max_chain_latency_ms: 16", "latency_exceeds_policy"),
        (f"registry_root: sha256:{'0' * 64}", "root_not_trusted"),
    ],
)
def test_demand_that_is_not_met_is_named(text: str, finding: str, tmp_path: Path) -> None:
    run = honest_run(4)
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    registry = Registry.open(tmp_path / "registry")
    policy = parse_policy(f"version: 1\n{text}\n".encode())
    report = audit_bag(tmp_path / "bag", registry, policy=policy)
    assert set(report.auditor.findings.counts) == {finding}
    assert report.as_json()["policy"] == policy.digest
    met = parse_policy(b"version: 1\nstages: {planning: {model_integrity: certified}}\nmax_chain_latency_ms: 17\n")
    assert audit_bag(tmp_path / "bag", registry, policy=met).as_json()["holds"]
