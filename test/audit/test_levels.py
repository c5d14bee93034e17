"""Levels: computed from evidence, lowest over a chain, each with the reason behind it; a claim above is found."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_run import Judged, judge, see
from scenario import honest_run

from og_ros.attest import Disclosure, Mode
from og_ros.audit.axes import AXES, LOWEST, below, lower, reaches
from og_ros.audit.certificates import check
from og_ros.audit.environments import Environments
from og_ros.audit.ledger import LogView
from og_ros.audit.levels import LevelTally, chain_levels, levels_of, weakest
from og_ros.audit.policy import Policy
from og_ros.audit.reasons import Facts, explain, facts_of
from og_ros.audit.records import Inference
from og_ros.registry import Registry

TICKS = 3
Seen = tuple[Judged, Registry]
LOG = LogView("test/log", 9, "", 9, True)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return see(honest_run(TICKS), tmp_path_factory.mktemp("levels"))[:2]


def last_of(seen: Seen, stage: str) -> Inference:
    return [inference for inference in seen[0].inferences.values() if inference.stage == stage][-1]


def saying(inference: Inference, **changes: object) -> Inference:
    statement = replace(inference.attestation.statement, **changes)
    return replace(inference, attestation=replace(inference.attestation, statement=statement))


HONEST = {
    "model_integrity": "certified",
    "inference_authenticity": "signed",
    "data_provenance": "linked",
    "execution_environment": "software_key",
    "settlement": "logged",
    "disclosure": "clear",
}


@pytest.mark.parametrize(
    ("checks", "changed"),
    [
        ({}, {}),
        ({"certified": False}, {"model_integrity": "claimed"}),
        (
            {"signed": False},
            {"model_integrity": "unknown", "inference_authenticity": "none", "execution_environment": "none"},
        ),
        (
            {"signed": None, "certified": None, "logged": None, "linked": False},
            {**LOWEST, "disclosure": "clear"},
        ),
        ({"reexecuted": True}, {"model_integrity": "re-executed", "inference_authenticity": "re-executed"}),
        (
            {"reexecuted": True, "certified": False},
            {"model_integrity": "claimed", "inference_authenticity": "re-executed"},
        ),
        (
            {"reexecuted": True, "signed": False},
            {"model_integrity": "unknown", "inference_authenticity": "none", "execution_environment": "none"},
        ),
        ({"reexecuted": False}, {"model_integrity": "claimed"}),
        ({"logged": False}, {"settlement": "none"}),
        ({"linked": False}, {"data_provenance": "unlinked"}),
    ],
)  # fmt: skip
def test_levels_come_from_the_checks(seen: Seen, checks: dict[str, object], changed: dict[str, str]) -> None:
    inference = replace(last_of(seen, "control"), **checks)
    assert levels_of(inference) == {**HONEST, **changed}


def test_label_raises_no_level(seen: Seen) -> None:
    for mode in (Mode.TEE, Mode.ZK):
        assert levels_of(saying(last_of(seen, "control"), mode_used=mode, mode_requested=mode)) == HONEST
    observed = saying(last_of(seen, "control"), mode_used=Mode.OBSERVED)
    assert levels_of(observed)["inference_authenticity"] == "observed"


@pytest.mark.parametrize(
    ("requested", "used", "kinds"),
    [
        (Mode.SIGNED, Mode.SIGNED, []),
        (Mode.OBSERVED, Mode.OBSERVED, []),
        (Mode.TEE, Mode.TEE, ["overclaimed"]),
        (Mode.SIGNED, Mode.ZK, ["overclaimed"]),
        (Mode.OBSERVED, Mode.SIGNED, ["overclaimed"]),
        (Mode.TEE, Mode.SIGNED, ["mode_downgraded"]),
        (Mode.SIGNED, Mode.OBSERVED, ["mode_downgraded"]),
        (Mode.ZK, Mode.TEE, ["overclaimed", "mode_downgraded"]),
    ],
)
def test_claim_above_its_evidence(seen: Seen, requested: Mode, used: Mode, kinds: list[str]) -> None:
    """A claim needs no registry to be seen through."""
    inference = saying(last_of(seen, "control"), mode_requested=requested, mode_used=used)
    found = [*Environments(None, 0).findings(inference), *check(inference, None)]
    assert [finding.kind for finding in found] == kinds


def hidden(inference: Inference, shown: Disclosure) -> Inference:
    first, *rest = inference.attestation.statement.inputs
    return saying(inference, inputs=(replace(first, disclosure=shown), *rest))


def test_disclosure_is_that_of_the_field_that_shows_least(seen: Seen) -> None:
    committed = hidden(last_of(seen, "planning"), Disclosure.COMMITTED)
    assert levels_of(committed)["disclosure"] == "committed"
    assert (
        levels_of(replace(committed, disclosed=frozenset({("outputs", 0), ("inputs", 1)})))["disclosure"] == "committed"
    )
    revealed = replace(committed, disclosed=frozenset({("inputs", 0)}))
    assert levels_of(revealed)["disclosure"] == "clear"
    absent = replace(hidden(revealed, Disclosure.ABSENT), disclosed=frozenset({("inputs", 0)}))
    assert levels_of(absent)["disclosure"] == "absent"


LEVELS = st.fixed_dictionaries({axis: st.sampled_from(levels) for axis, levels in AXES.items()})


@given(LEVELS, st.lists(LEVELS, max_size=4))
def test_chain_is_as_low_as_its_lowest(own: dict[str, str], sources: list[dict[str, str]]) -> None:
    found = chain_levels(own, sources)
    for axis, order in AXES.items():
        assert found[axis] == min((one[axis] for one in (own, *sources)), key=order.index)


@given(LEVELS, LEVELS)
def test_order_of_levels(one: dict[str, str], other: dict[str, str]) -> None:
    for axis in AXES:
        assert reaches(axis, one[axis], other[axis]) == (lower(axis, (one[axis], other[axis])) == other[axis])
        assert reaches(axis, one[axis], other[axis]) == (one[axis] not in below(axis, other[axis]))


def test_weakest_of_a_chain(seen: Seen) -> None:
    decision = last_of(seen, "control")
    planning = decision.sources[0]
    assert planning is not None
    perception = next(source for source in planning.sources if source is not None)
    poor = replace(perception, certified=False, logged=False)
    middle = replace(planning, sources=[poor, None], logged=False)
    command = replace(decision, sources=[middle, None])
    command.chain_levels = chain_levels(levels_of(command), [chain_levels(levels_of(middle), [levels_of(poor)])])
    found = weakest(command)
    assert found["model_integrity"] is poor
    assert found["settlement"] is middle, "the nearest of those that are as low"
    assert found["disclosure"] is command


# ---- the tally -------------------------------------------------------------------------------------------------------


def test_tally_of_a_run(seen: Seen) -> None:
    _, tally, _ = judge(*seen, Policy())
    for axis, told in tally.as_json().items():
        assert told["lowest"] == HONEST[axis]
        assert told["counts"] == {HONEST[axis]: 3 * TICKS}
        assert told["decisions"] == {"lowest": HONEST[axis], "counts": {HONEST[axis]: TICKS}}
        assert told["reasons"] == {}


def test_tally_keeps_why_its_lowest_is_so_low(seen: Seen) -> None:
    honest = last_of(seen, "control")
    others = [honest, replace(honest, logged=False), replace(honest, logged=False, linked=False), honest]
    asked = []
    tally = LevelTally()
    for number, inference in enumerate(others):

        def facts(inference: Inference = inference, number: int = number) -> Facts:
            asked.append(number)
            return facts_of(inference, seen[1], LOG)

        tally.add("control", levels_of(inference), facts)
    assert asked == [0, 1, 2]
    told = tally.as_json()
    assert told["settlement"]["reasons"]["control"]["level"] == "none"
    assert told["data_provenance"]["reasons"]["control"]["level"] == "unlinked"
    assert told["model_integrity"]["reasons"]["control"]["level"] == "certified"


@given(st.lists(st.tuples(st.sampled_from("ab"), LEVELS), max_size=8), st.integers(0, 8))
def test_tallies_of_parts_add_up(items: list[tuple[str, dict[str, str]]], cut: int) -> None:
    whole, first, second = LevelTally(), LevelTally(), LevelTally()
    for number, (stage, levels) in enumerate(items):
        for tally in (whole, first if number < cut else second):
            tally.add(stage, levels)
            tally.add_decision(levels)
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.as_json() == whole.as_json()


def test_merged_tally_keeps_the_reason_of_the_lower(seen: Seen) -> None:
    honest = last_of(seen, "control")
    for swap in (False, True):
        tallies = []
        for inference in (honest, replace(honest, logged=False)):
            tallies.append(LevelTally())
            facts = facts_of(inference, seen[1], LOG)
            tallies[-1].add("control", levels_of(inference), lambda facts=facts: facts)
        one, other = reversed(tallies) if swap else tallies
        one.merge(pickle.loads(pickle.dumps(other)))
        reason = one.reasons()["control"]["settlement"]
        assert (reason.level, reason.because) == ("none", "it is not a leaf of the log under a checkpoint")


# ---- reasons ---------------------------------------------------------------------------------------------------------


def reasons_of(inference: Inference, registry: Registry | None, log: LogView | None) -> dict[str, str]:
    facts = facts_of(inference, registry, log)
    reasons = {axis: explain(axis, level, facts) for axis, level in levels_of(inference).items()}
    assert reasons == {axis: explain(axis, level, facts) for axis, level in levels_of(inference).items()}
    assert all(reason.because and "\n" not in reason.because for reason in reasons.values())
    return {axis: " | ".join((r.because, *r.evidence, f"raise: {r.raised_by}")) for axis, r in reasons.items()}


def test_reasons_of_an_honest_inference_name_their_evidence(seen: Seen) -> None:
    inference = last_of(seen, "planning")
    told = reasons_of(inference, seen[1], LOG)
    statement = inference.attestation.statement
    assert (
        f"model planning_model@1.0.0 ({statement.model.digest.hex()[:16]}), certified by test-fleet for planning, "
        in (told["model_integrity"])
    )
    assert "valid from 1970-01-01T00:00:01Z" in told["model_integrity"]
    assert "raise: run the model again on the recorded inputs: og-ros audit --reexecute" in told["model_integrity"]
    assert (
        f"ES256 signature by key {statement.key_id.hex()[:16]} over sequence 2, at 20" in told["inference_authenticity"]
    )
    assert "for stage planning of robot demo, vendor test" in told["inference_authenticity"]
    assert seen[1].fingerprint in told["inference_authenticity"]
    assert "/perception/line: output of stage perception, sequence 2" in told["data_provenance"]
    assert "/scan: recorded" in told["data_provenance"]
    assert "TPM" in told["execution_environment"]
    assert "log test/log: 9 leaves, 9 under a signed checkpoint" in told["settlement"]
    assert told["disclosure"].endswith("raise: ")


@pytest.mark.parametrize(
    ("checks", "axis", "words"),
    [
        ({"reexecuted": True}, "model_integrity", "the certified model makes these outputs"),
        ({"reexecuted": True}, "inference_authenticity", "run again on the recorded inputs"),
        ({"reexecuted": False}, "model_integrity", "the model gave other outputs"),
        ({"reexecuted": False}, "inference_authenticity", "does not bear out"),
        ({"signed": False}, "inference_authenticity", "does not match the statement"),
        ({"signed": False, "linked": False}, "data_provenance", "not validly signed"),
        ({"sources": [], "seen": [], "linked": False}, "data_provenance", "its inputs were not joined"),
        (
            {"sources": [None] * 2, "seen": [True, False], "linked": False},
            "data_provenance",
            "/scan: no recorded message",
        ),
        (
            {"sources": [None] * 2, "seen": [True, True], "linked": False},
            "data_provenance",
            "that attestation is missing",
        ),
        ({"logged": False}, "settlement", "not a leaf of the log under a checkpoint"),
    ],
)
def test_reason_says_what_is_missing(seen: Seen, checks: dict[str, object], axis: str, words: str) -> None:
    assert words in reasons_of(replace(last_of(seen, "planning"), **checks), seen[1], LOG)[axis]


def test_reasons_without_registry_log_or_trust(seen: Seen) -> None:
    blind = replace(last_of(seen, "planning"), signed=None, certified=None, logged=None)
    told = reasons_of(blind, None, None)
    for axis in ("model_integrity", "inference_authenticity", "execution_environment"):
        assert "no registry was given" in told[axis]
        assert told[axis].endswith("og-ros audit --registry DIR")
    assert told["settlement"].endswith("og-ros audit --ledger DIR")
    assert "no registry stands for the key" in reasons_of(blind, None, replace(LOG, trusted=False))["settlement"]


def test_reasons_name_the_certificate_that_failed(tmp_path: Path) -> None:
    run = honest_run(2)
    with_stage = run.of_stage("planning")
    for index, _ in with_stage:
        run.resign(index, robot="other")
    *_, registry, _ = see(run, tmp_path)
    inference = Inference(run.of_stage("planning")[0][1], "/t", 0)
    kinds = [finding.kind for finding in check(inference, registry)]
    assert kinds == ["key_wrong_robot"]
    told = reasons_of(inference, registry, None)
    assert "for stage planning of robot demo, not for stage planning of robot other" in told["inference_authenticity"]


def test_hidden_fields_are_named(seen: Seen) -> None:
    committed = hidden(last_of(seen, "planning"), Disclosure.COMMITTED)
    assert "inputs[0] on /perception/line: committed" in reasons_of(committed, None, None)["disclosure"]
    revealed = replace(committed, disclosed=frozenset({("inputs", 0)}))
    assert "inputs[0] on /perception/line: committed, and revealed" in reasons_of(revealed, None, None)["disclosure"]


def test_every_level_of_every_axis_can_be_explained(seen: Seen) -> None:
    """Also those that nothing reaches yet; only the top of an axis has nothing that would raise it."""
    facts = facts_of(last_of(seen, "planning"), seen[1], LOG)
    for axis, levels in AXES.items():
        for level in levels:
            reason = explain(axis, level, facts)
            assert reason.as_json()["level"] == level
            assert bool(reason.raised_by) == (level != levels[-1]), (axis, level)
