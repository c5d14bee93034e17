"""The gate and evidence of keys: what passes where the policy demands an environment, and when that ends."""

from __future__ import annotations

from typing import Any

import pytest
from gated import Gated
from made_evidence import OUTPUTS, MadeVerifier, made
from scenario import MS, Run, honest_run

from og_ros.attest import Mode
from og_ros.audit import appraiser
from og_ros.audit.policy import Policy, StageDemands
from og_ros.audit.records import Record
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.message import EVIDENCE_TYPE, EvidenceMessage, encode_message, evidence_topic
from og_ros.gate.verdict import State
from og_ros.registry import Registry

TICKS = 8
DEMANDS = {stage: StageDemands(levels={"execution_environment": "tee"}) for stage in OUTPUTS}
POLICY = Policy(stages=DEMANDS, evidence=AppraisalPolicy())


@pytest.fixture(autouse=True)
def made_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appraiser, "verifier", lambda kind: MadeVerifier())


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(TICKS)


@pytest.fixture(scope="module")
def registry(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    directory = tmp_path_factory.mktemp("gate") / "registry"
    run.write_registry(directory)
    return Registry.open(directory)


def tell(gated: Gated, evidence: Evidence, at_ns: int) -> None:
    """Let the gate hear evidence."""
    stage = evidence.context.stage
    payload = encode_message(EvidenceMessage(evidence, f"/{stage}"))
    topic = evidence_topic(f"{OUTPUTS[stage]}/attestation")
    gated.feed(Record(topic, EVIDENCE_TYPE, payload, at_ns))


def gate(run: Run, registry: Registry, **evidence: Any) -> Gated:
    """A gate that has heard evidence of every stage, a second before the run."""
    gated = Gated.by(registry, POLICY)
    at_ns = gated.now_ns = run.records[0].received_ns - 10**9
    for stage in OUTPUTS:
        tell(gated, made(run, stage, at_ns, **evidence), at_ns)
    return gated


def test_commands_pass_whose_stages_have_the_environment(run: Run, registry: Registry) -> None:
    gated = gate(run, registry).stream(run.records)
    assert len(gated.passed) == TICKS
    assert all(verdict.accepted for verdict in gated.verdicts)


def test_without_evidence_nothing_passes_and_the_reason_is_given(run: Run, registry: Registry) -> None:
    gated = Gated.by(registry, POLICY).stream(run.records)
    assert gated.passed == []
    assert "below_policy" in gated.kinds
    assert any("execution_environment is software_key" in r.message for v in gated.verdicts for r in v.reasons)


@pytest.mark.parametrize("against", [("debug",), ()])
def test_refused_and_lesser_evidence_let_nothing_pass(run: Run, registry: Registry, against: tuple[str, ...]) -> None:
    gated = gate(run, registry, against=against, level="measured").stream(run.records)
    assert gated.passed == []
    assert "below_policy" in gated.kinds
    assert (gated.keeper.findings["evidence_refused"] == 3) is bool(against)


def test_a_stage_whose_evidence_runs_out_stops_passing_and_latches(run: Run, registry: Registry) -> None:
    """It is valid for a second and 120 ms from a second before the run: two of eight commands, at 20 Hz."""
    gated = gate(run, registry, valid_s=1.12)
    gated.keeper._evidence._environments._skew_ns = 0
    gated.stream(run.records)
    assert 1 <= len(gated.passed) < TICKS
    assert gated.keeper.state is State.LATCHED
    assert {"below_policy", "evidence_stale"} <= gated.kinds


def test_renewed_evidence_keeps_it_open(run: Run, registry: Registry) -> None:
    gated = gate(run, registry, valid_s=1.12)
    renewed = {stage: made(run, stage, run.records[0].received_ns + 50 * MS) for stage in OUTPUTS}
    for record in run.records:
        if renewed and record.received_ns > run.records[0].received_ns + 51 * MS:
            for evidence in renewed.values():
                tell(gated, evidence, record.received_ns)
            renewed = {}
        gated.stream([record])
    assert len(gated.passed) == TICKS


def test_a_label_of_tee_without_one_lets_nothing_pass(run: Run, registry: Registry) -> None:
    one = Run(run.robot, list(run.records), run.authority, run.signers, run.sessions, run.log_key)
    for place, _ in one.of_stage("control"):
        one.resign(place, mode_requested=Mode.TEE, mode_used=Mode.TEE)
    gated = Gated.by(registry, Policy(evidence=AppraisalPolicy())).stream(one.records)
    assert gated.passed == []
    assert "overclaimed" in gated.kinds
