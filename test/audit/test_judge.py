"""The judge: each demand of a policy has a finding of its own, and what meets the demand has none."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from judged_run import Judged, judge, see
from scenario import MODELS, honest_run

from og_ros.attest import Clock, Runtime
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.judge import Judge, RunTotals, SessionTotal, chain_latency
from og_ros.audit.levels import levels_of
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.records import Inference
from og_ros.registry import Registry

TICKS = 6
Seen = tuple[Judged, Registry, dict[str, tuple[int, int]]]


def policy_of(text: str) -> Policy:
    return parse_policy(f"version: 1\n{text}\n".encode())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return see(honest_run(TICKS), tmp_path_factory.mktemp("judge"))


def one_of(seen: Seen, stage: str) -> Inference:
    """Return a stage's last inference; those of the first tick have the stamp 0, which is none."""
    return [inference for inference in seen[0].inferences.values() if inference.stage == stage][-1]


def violations(found: Counter[str]) -> dict[str, int]:
    return {kind: count for kind, count in found.items() if KINDS[kind].severity is Severity.VIOLATION}


def altered(inference: Inference, **changes: object) -> Inference:
    """Return an inference whose statement says something else, as if its stage had signed that."""
    statement = replace(inference.attestation.statement, **changes)
    return replace(inference, attestation=replace(inference.attestation, statement=statement))


PERCEPTION = MODELS["perception"].hex()


@pytest.mark.parametrize(
    ("broken", "kept", "expected"),
    [
        ("stages: {gripper: {}}", "stages: {planning: {}}", {"stage_missing": 1}),
        ("decisions: [/arm]", "decisions: [/wheel_command]", {"decision_missing": 1}),
        (
            "stages: {perception: {execution_environment: measured}}",
            "stages: {perception: {execution_environment: software_key, settlement: logged}}",
            {"below_policy": TICKS},
        ),
        (
            "decision_levels: {settlement: witnessed, disclosure: clear}",
            "decision_levels: {settlement: logged, disclosure: clear}",
            {"below_policy": TICKS},
        ),
        (
            "stages: {perception: {models: [other_model, perception_model@2.0]}}",
            f"stages: {{perception: {{models: [perception_model]}}, planning: {{models: [planning_model@1.0.0]}}, "
            f"control: {{models: ['sha256:{MODELS['control'].hex()}']}}}}",
            {"model_not_allowed": TICKS},
        ),
        (
            f"stages: {{control: {{models: ['sha256:{PERCEPTION}']}}}}",
            f"stages: {{perception: {{models: ['sha256:{PERCEPTION}']}}}}",
            {"model_not_allowed": TICKS},
        ),
        (
            "stages: {'*': {vendors: [acme]}}",
            "stages: {'*': {vendors: [acme, test]}}",
            {"vendor_not_allowed": 3 * TICKS},
        ),
        (
            "stages: {control: {certifiers: [acme]}}",
            "stages: {control: {certifiers: [test-fleet]}}",
            {"certifier_not_allowed": TICKS},
        ),
        (
            "stages: {'*': {runtimes: [tensorrt]}, control: {runtimes: [onnxruntime]}}",
            "stages: {'*': {runtimes: [tensorrt, onnxruntime]}}",
            {"runtime_not_allowed": 2 * TICKS},
        ),
        (
            "stages: {control: {runtimes: [{name: onnxruntime, version: '>=1.20,<1.31'}]}}",
            "stages: {'*': {runtimes: [{name: onnxruntime, version: '>=1.31,<2', provider: CPUExecutionProvider}]}}",
            {"runtime_not_allowed": TICKS},
        ),
        (
            "stages: {control: {runtimes: [{name: onnxruntime, provider: CUDAExecutionProvider}]}}",
            "stages: {control: {runtimes: [{name: onnxruntime, version: '==1.31.1.0'}]}}",
            {"runtime_not_allowed": TICKS},
        ),
        # Perception begins 5 ms after the frame's stamp, planning 3 ms after perception ended, 10 ms after the scan.
        (
            "stages: {perception: {max_input_age_ms: 4.9}}",
            "stages: {perception: {max_input_age_ms: 5}}",
            {"input_stale": TICKS - 1},
        ),
        (
            "stages: {planning: {max_input_age_ms: {/scan: 9}}}",
            "stages: {planning: {max_input_age_ms: {'*': 3, /scan: 10}}}",
            {"input_stale": TICKS - 1},
        ),
        (
            "stages: {planning: {max_input_age_ms: {/perception/line: 2.9}}}",
            "stages: {planning: {max_input_age_ms: {/perception/line: 3}}}",
            {"input_stale": TICKS},
        ),
        ("max_chain_latency_ms: 16.9", "max_chain_latency_ms: 17", {"latency_exceeds_policy": TICKS - 1}),
    ],
)  # fmt: skip
def test_demand_that_is_not_met(seen: Seen, broken: str, kept: str, expected: dict[str, int]) -> None:
    assert violations(judge(*seen[:2], policy_of(broken))[0]) == expected
    assert violations(judge(*seen[:2], policy_of(kept))[0]) == {}


def test_allowed_keys(seen: Seen) -> None:
    control = one_of(seen, "control").attestation.statement.key_id.hex()
    found, _, _ = judge(*seen[:2], policy_of(f"stages: {{'*': {{keys: ['{control}']}}}}"))
    assert found == {"key_not_allowed": 2 * TICKS}
    assert judge(*seen[:2], policy_of(f"stages: {{control: {{keys: ['{control}']}}}}"))[0] == Counter()


def test_vendor_and_certifier_need_a_registry(seen: Seen) -> None:
    """Nobody stands for a vendor's name without a registry, so the demand is not met."""
    policy = policy_of("stages: {control: {vendors: [test], certifiers: [test-fleet]}}")
    assert judge(seen[0], None, policy)[0] == {"vendor_not_allowed": TICKS, "certifier_not_allowed": TICKS}


@pytest.mark.parametrize("version", ["1.20.0rc1", "1.20.dev", "", "nightly", "1.20.1; rm"])
def test_version_that_is_no_release_is_in_no_range(seen: Seen, version: str) -> None:
    inference = altered(one_of(seen, "control"), runtime=Runtime("onnxruntime", version))
    judging = Judge(policy_of("stages: {control: {runtimes: [{name: onnxruntime, version: '>=0.1'}]}}"), None)
    assert [f.kind for f in judging.inference(inference, levels_of(inference))] == ["runtime_not_allowed"]
    local = altered(one_of(seen, "control"), runtime=Runtime("onnxruntime", "1.20.0+cu118"))
    assert list(judging.inference(local, levels_of(local))) == []


def test_identity_that_changes_within_a_session_is_judged_anew(seen: Seen) -> None:
    judging = Judge(policy_of("stages: {control: {models: [control_model@1.0.0]}}"), seen[1])
    honest = one_of(seen, "control")
    swapped = altered(honest, model=replace(honest.attestation.statement.model, version="9"))
    kinds = [[f.kind for f in judging.inference(one, levels_of(one))] for one in (honest, swapped, honest, swapped)]
    assert kinds == [[], ["model_not_allowed"], [], ["model_not_allowed"]]


def test_input_of_last_week_and_of_tomorrow_is_stale(seen: Seen) -> None:
    judging = Judge(policy_of("stages: {perception: {max_input_age_ms: 100}}"), None)
    honest = one_of(seen, "perception")
    (frame,) = honest.attestation.statement.inputs
    later = 8 * 86_400 * 10**9
    replayed = altered(honest, start_ns=frame.stamp_ns + later)
    (finding,) = judging.inference(replayed, levels_of(replayed))
    assert finding.kind == "input_stale"
    assert "another clock, or a replay" in finding.message
    early = altered(honest, inputs=(replace(frame, stamp_ns=frame.stamp_ns + later),))
    (finding,) = judging.inference(early, levels_of(early))
    assert finding.kind == "input_stale"
    assert "after the inference began" in finding.message


def test_input_without_stamp_and_source_has_an_unknown_age(seen: Seen) -> None:
    judging = Judge(policy_of("stages: {planning: {max_input_age_ms: 100}}"), None)
    assert judge(*seen[:2], policy_of("stages: {perception: {max_input_age_ms: 100}}"))[0] == {"input_age_unknown": 1}
    orphan = replace(one_of(seen, "planning"), sources=[None, None])
    (finding,) = judging.inference(orphan, levels_of(orphan))
    assert finding.kind == "input_age_unknown"
    assert "/perception/line" in finding.message


def test_late_signature(seen: Seen) -> None:
    judging = Judge(policy_of("stages: {control: {max_signing_delay_ms: 20}}"), None)
    simulated = one_of(seen, "control")
    assert list(judging.inference(simulated, levels_of(simulated))) == []
    assert judging.not_checked() == [
        "the time from inference to signature: the inference has simulated time (1 inferences)"
    ]
    statement = simulated.attestation.statement
    for late_ms, kinds in ((20, []), (21, ["signed_late"])):
        start_ns = statement.signed_at_ns - statement.duration_ns - late_ms * 10**6
        one = altered(simulated, clock=Clock.SYSTEM, start_ns=start_ns)
        assert [f.kind for f in judging.inference(one, levels_of(one))] == kinds


def test_loss_by_topic_and_session() -> None:
    judging = Judge(policy_of("max_loss: {'*': 0.1, /scan: 0.5, /wheel_command: 0}"), None)
    totals = RunTotals(
        stages={"s"},
        outputs=(),
        topics={"/scan": (40, 100), "/odom": (11, 100), "/wheel_command": (1, 1000), "/empty": (0, 0)},
        sessions=[SessionTotal("s", "/a", 1, 9), SessionTotal("s", "/b", 2, 9)],
    )
    found = [(f.kind, f.topic) for f in judging.run(totals)]
    assert found == [("loss_exceeds_policy", topic) for topic in ("/odom", "/wheel_command", "/b")]


@pytest.mark.parametrize(
    ("reexecuted", "stages"),
    [
        ({}, ["control", "perception", "planning"]),
        ({"control": (5, 100), "planning": (4, 100), "perception": (100, 100)}, ["planning"]),
        ({"control": (0, 0), "planning": (5, 100), "perception": (5, 100)}, ["control"]),
    ],
)
def test_share_that_was_run_again(reexecuted: dict[str, tuple[int, int]], stages: list[str]) -> None:
    judging = Judge(policy_of("reexecution: {minimum_share: 0.05}"), None)
    totals = RunTotals({"perception", "planning", "control"}, (), reexecuted=reexecuted)
    assert [(f.kind, f.stage) for f in judging.run(totals)] == [("reexecution_below_policy", s) for s in stages]


def test_registry_that_is_not_pinned(seen: Seen) -> None:
    judging = Judge(policy_of(f"registry_root: sha256:{'0' * 64}"), seen[1])
    assert [f.kind for f in judging.trust()] == ["root_not_trusted"]
    assert list(Judge(Policy(), seen[1]).trust()) == []


def test_latency_is_known_for_linked_chains_of_one_clock(seen: Seen) -> None:
    decision = seen[0].inferences[seen[0].decisions[-1]]
    assert chain_latency(decision) == (17_000_000, False)
    assert chain_latency(replace(decision, linked=False)) == (None, False)
    assert chain_latency(replace(decision, origin_ns=None)) == (None, False)
    assert chain_latency(replace(decision, origin_ns=time.time_ns())) == (None, True)


def test_decision_is_as_weak_as_its_chain(tmp_path: Path) -> None:
    """A good signature on the command does not make up for a plan that nobody signed."""
    run = honest_run(TICKS)
    for index, _ in run.of_stage("planning"):
        run.forge(index, duration_ns=1)
    seen = see(run, tmp_path)
    policy = policy_of(
        "decision_levels: {inference_authenticity: signed}\nstages: {control: {inference_authenticity: signed}}"
    )
    found, tally, _ = judge(*seen[:2], policy)
    assert found == {"below_policy": TICKS}
    levels = tally.as_json()["inference_authenticity"]
    assert levels["stages"] == {"control": "signed", "perception": "signed", "planning": "none"}
    assert levels["decisions"] == {"lowest": "none", "counts": {"none": TICKS}}


def test_nothing_demanded_costs_next_to_nothing(seen: Seen) -> None:
    """The target is 3 µs an inference; the bound leaves room for a busy machine."""
    judging, inference = Judge(Policy(), None), one_of(seen, "control")
    levels = levels_of(inference)

    def once() -> float:
        began = time.perf_counter_ns()
        for _ in range(1000):
            for _ in judging.inference(inference, levels):
                pytest.fail("nothing was demanded")
        return (time.perf_counter_ns() - began) / 1000

    assert min(once() for _ in range(5)) < 3000
