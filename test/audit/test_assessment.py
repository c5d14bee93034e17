"""Assessments: every predicate on honest, empty and violated runs, and the rules that no profile can loosen."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from audit_reports import NAMES, audited, report, with_finding
from scenario import honest_run

from og_ros.audit.families import FAMILY_OF
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.reports.assessment import STANDING, assess, render
from og_ros.audit.reports.predicates import PREDICATES
from og_ros.audit.reports.regulation import Clause, Profile, Strength, Support, builtin_profiles, load_profile

LIMITS = {"latency_bounded": 100.0}
VIOLATIONS = [kind for kind, known in KINDS.items() if known.severity is Severity.VIOLATION]
HARDWARE = ("environment_measured", "models_reexecuted", "sample_reexecuted", "log_witnessed")


def ask(name: str, of: dict[str, Any], limit: float | None = None) -> bool:
    """Ask one predicate, with its default number."""
    predicate = PREDICATES[name]
    number = limit if limit is not None else LIMITS.get(name, predicate.default or 0.0)
    answer = predicate.ask(of, number)
    assert answer.because
    return answer.holds


def with_everything() -> dict[str, Any]:
    """Return the report of the honest run as if it had reached what cannot be reached yet, under a policy."""
    best = report("holds")
    for axis, level in (
        ("model_integrity", "re-executed"),
        ("execution_environment", "measured"),
        ("settlement", "witnessed"),
    ):
        best["levels"][axis]["lowest"] = level
    best["policy"] = "0" * 64
    best["reexecution"] = {
        "population": 18, "selected": 18, "not_reproduced": 0, "not_reproduced_share_at_most": 0.0, "confidence": 0.95,
    }  # fmt: skip
    return best


def one_clause(support: Support, **fields: Any) -> Profile:
    """Return a profile of one clause."""
    known: dict[str, Any] = {
        "title": "t", "asks": "a", "text_read": True, "source": "https://example.org", "cannot_show": ("x",),
        "shows": "s",
    }  # fmt: skip
    return Profile(1, "one", "One", "r", {"1": Clause(support=support, **{**known, **fields})})


def strength(support: Support, of: dict[str, Any], **fields: Any) -> Strength:
    """Return the strength of one clause."""
    return assess(one_clause(support, **fields), of).clauses[0].strength


# ---- predicates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PREDICATES)
def test_on_the_honest_run(name: str) -> None:
    assert ask(name, report("holds")) == (name not in (*HARDWARE, "policy_met"))
    assert ask(name, with_everything())


@pytest.mark.parametrize("name", PREDICATES)
def test_nothing_holds_for_an_empty_recording(name: str) -> None:
    assert not ask(name, report("empty"))


@pytest.mark.parametrize("name", PREDICATES)
def test_presence_of_fields_is_no_behaviour(name: str) -> None:
    """A report with every field filled in, registry, log, policy and stages, and no event."""
    hollow = with_everything()
    hollow.update(attestations=0, decisions=0, linked=0, chain_latency_ms=None, topics={})
    for tally in hollow["levels"].values():
        tally.update(lowest=None, counts={}, stages={})
    assert not ask(name, hollow)


# Which findings take which predicate down, beside the figures that go with them.
AGAINST = {
    "signed_by_certified_keys": {"keys", "signature_invalid", "overclaimed"},
    "models_certified": {"models", "session_changed"},
    "models_reexecuted": {"models", "reexecution"},
    "sample_reexecuted": {"models", "reexecution"},
    "environment_measured": {"keys"},
    "sessions_without_gaps": {"sessions"},
    "sessions_from_their_start": {"sessions"},
    "messages_accounted": {"data", "records"},
    "clock_checked": {"clock_disagrees", "clock_went_back", "cause_after_effect"},
    "latency_bounded": {"latency_exceeds_policy"},
    "log_covers_all": {"log"},
    "log_witnessed": {"log"},
    "data_in_clear": {"digest_not_checked"},
    "policy_met": {"policy"},
    "decisions_recorded": set(),
    "decisions_linked": set(),
}
HARMLESS = {
    ("sessions_without_gaps", "session_joined_late"),
    ("messages_accounted", "recording_edge"),
    ("messages_accounted", "output_not_recorded"),
    ("messages_accounted", "input_not_recorded"),
    ("messages_accounted", "mode_downgraded"),
    ("log_covers_all", "only_in_log"),
    ("log_witnessed", "only_in_log"),
    ("policy_met", "decision_unlinked"),
}
CLOCKS = {"clock_disagrees", "clock_went_back"}


def test_every_predicate_is_asked_about_every_finding() -> None:
    assert AGAINST.keys() == PREDICATES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_run_with_a_finding_of_every_kind(kind: str) -> None:
    found = with_finding(kind)
    best = with_everything()
    best.update({name: found[name] for name in ("findings", "finding_counts", "verdict", "holds")})
    for name, against in AGAINST.items():
        contradicted = not against.isdisjoint({kind, FAMILY_OF[kind]}) and (name, kind) not in HARMLESS
        if name.startswith("sessions_") and kind in CLOCKS:
            contradicted = False
        assert ask(name, best) is not contradicted, name


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("decisions_linked", {"linked": 5}),
        ("latency_bounded", {"chain_latency_ms": {"median": 1.0, "max": 101.0}}),
        ("latency_bounded", {"chain_latency_ms": None}),
        ("log_covers_all", {"log": None}),
        ("sample_reexecuted", {"reexecution": None}),
        (
            "sample_reexecuted",
            {
                "reexecution": {
                    "population": 18, "selected": 9, "not_reproduced": 0, "not_reproduced_share_at_most": 0.06,
                    "confidence": 0.95,
                }
            },
        ),
        ("policy_met", {"policy": None}),
        ("policy_met", {"policy": {"digest": None}}),
        ("messages_accounted", {"topics": {"/a": {"messages": 0, "references": 3, "missing": 0}}}),
        ("messages_accounted", {"topics": {"/a": {"messages": 9, "references": 9, "missing": 1}}}),
    ],
)
def test_figures_decide(name: str, change: dict[str, Any]) -> None:
    assert ask(name, with_everything())
    assert not ask(name, {**with_everything(), **change})


def test_numbers_decide() -> None:
    half = {**report("holds"), "linked": 3}
    assert ask("decisions_linked", half, 0.5)
    assert not ask("decisions_linked", half, 0.51)
    lossy = {**report("holds"), "topics": {"/a": {"messages": 100, "references": 99, "missing": 1}}}
    assert ask("messages_accounted", lossy, 0.01)
    assert not ask("messages_accounted", lossy, 0.009)


def test_a_checkpoint_that_covers_less_than_the_log_is_not_enough() -> None:
    behind = report("holds")
    behind["log"]["checkpointed"] -= 1
    assert not ask("log_covers_all", behind)


@pytest.mark.parametrize("axis", ["model_integrity", "inference_authenticity", "settlement", "disclosure"])
def test_a_level_that_is_not_known_reaches_nothing(axis: str) -> None:
    odd = with_everything()
    odd["levels"][axis]["lowest"] = "blessed"
    before = {name for name in PREDICATES if ask(name, with_everything())}
    after = {name for name in PREDICATES if ask(name, odd)}
    assert after < before


# ---- rules that no profile can loosen --------------------------------------------------------------------------------

EASY = Support(weak=("decisions_recorded",), partial=("decisions_linked 0",), substantial=("clock_checked",))


def test_strengths_need_the_ones_below() -> None:
    best = with_everything()
    assert strength(EASY, best) is Strength.SUBSTANTIAL
    assert strength(Support(weak=("decisions_recorded",)), best) is Strength.WEAK
    assert strength(Support(weak=("latency_bounded 1",), partial=("decisions_recorded",)), best) is Strength.NONE
    assert strength(Support(), best) is Strength.NONE


def test_keys_in_software_support_partially_at_most() -> None:
    assert strength(EASY, report("holds")) is Strength.PARTIAL


@pytest.mark.parametrize("name", ["empty", "not_checked", "violated"])
def test_empty_unchecked_and_violated_runs_support_nothing(name: str) -> None:
    assert strength(EASY, report(name)) is Strength.NONE


def test_a_registry_that_nobody_pinned_supports_weakly_at_most() -> None:
    best = {**with_everything(), "registry": report("unpinned")["registry"]}
    assert strength(EASY, best) is Strength.WEAK


def test_a_text_that_was_not_read_supports_weakly_at_most() -> None:
    assert strength(EASY, with_everything(), text_read=False) is Strength.WEAK


def test_no_registry_supports_nothing_whatever_the_verdict_says() -> None:
    assert strength(EASY, {**with_everything(), "registry": None}) is Strength.NONE


@pytest.mark.parametrize("kind", VIOLATIONS)
def test_a_violation_leaves_its_clauses_unsupported_and_is_named(kind: str) -> None:
    found = with_finding(kind)
    best = with_everything()
    best.update({name: found[name] for name in ("findings", "finding_counts", "verdict", "holds")})
    for contradicted_by in (("all",), (kind,), (FAMILY_OF[kind],)):
        (result,) = assess(one_clause(EASY, contradicted_by=contradicted_by), best).clauses
        assert result.strength is Strength.NONE
        assert result.contradicted_by == {kind: 1}
        assert any(f"{kind} 1" in why for why in result.limited_by)
    other = "session_forked" if kind != "session_forked" else "key_expired"
    (result,) = assess(one_clause(EASY, contradicted_by=(other,)), best).clauses
    assert (result.strength, dict(result.contradicted_by)) == (Strength.WEAK, {})


def test_a_violation_of_a_kind_that_is_not_known_contradicts_everything() -> None:
    best = with_everything()
    best.update(verdict="violated", holds=False, finding_counts={"from_the_future": 1})
    assert strength(EASY, best, contradicted_by=("key_expired",)) is Strength.NONE


# ---- the profiles that come along ------------------------------------------------------------------------------------


def strengths(name: str, of: dict[str, Any]) -> dict[str, str]:
    return {c.number: c.strength.name.lower() for c in assess(load_profile(name), of).clauses}


@pytest.mark.parametrize("name", builtin_profiles())
@pytest.mark.parametrize("run", ["empty", "not_checked"])
def test_an_empty_and_an_unchecked_run_support_no_clause(name: str, run: str) -> None:
    assert set(strengths(name, report(run)).values()) == {"none"}


@pytest.mark.parametrize("name", builtin_profiles())
def test_a_forged_record_supports_no_clause(name: str) -> None:
    assert set(strengths(name, report("violated")).values()) == {"none"}


def test_what_an_honest_run_supports() -> None:
    honest = report("holds")
    assert strengths("eu-ai-act", honest) == {
        "12(1)": "partial", "12(2)": "partial", "14(1)": "none", "14(4)": "none", "15(1)": "weak", "15(4)": "none",
        "15(5)": "partial", "19(1)": "weak",
    }  # fmt: skip
    assert strengths("eu-machinery", honest) == {
        "1.1.9-p2": "none", "1.1.9-p3": "partial", "1.1.9-p4": "weak", "1.1.9-p5": "partial", "1.2.1-1a": "none",
        "1.2.1-1f": "weak", "1.2.1-2b": "partial", "1.2.1-2c": "none",
    }  # fmt: skip
    assert strengths("un-r157", honest) == {"8.2": "none", "8.3": "weak", "8.4": "none", "8.5": "weak", "8.6": "none"}
    assert strengths("us-21cfr11", honest) == {
        "11.10(a)": "partial", "11.10(b)": "partial", "11.10(c)": "weak", "11.10(d)": "none", "11.10(e)": "partial",
        "11.10(k)": "none", "11.50": "none", "11.70": "partial",
    }  # fmt: skip


def test_an_identity_without_hardware_supports_no_access_control() -> None:
    """Who may use a software key is not known, so it says nothing about access."""
    assert strengths("us-21cfr11", report("holds"))["11.10(d)"] == "none"
    assert strengths("us-21cfr11", with_everything())["11.10(d)"] == "weak"


@pytest.mark.parametrize("name", builtin_profiles())
def test_more_evidence_never_supports_less(name: str) -> None:
    order = list(Strength)
    low, high = (assess(load_profile(name), r).clauses for r in (report("holds"), with_everything()))
    for less, more in zip(low, high, strict=True):
        assert order.index(more.strength) >= order.index(less.strength)
    no_log = assess(load_profile(name), report("no_log")).clauses
    assert all(less.strength <= more.strength for less, more in zip(no_log, low, strict=True))


def test_a_lossy_run_supports_less(tmp_path: Path) -> None:
    skip = frozenset({("/wheel_command/attestation", 10), ("/camera/image", 20)})
    lossy = audited(honest_run(30, skip=skip), ledger=False)
    assert strengths("eu-ai-act", lossy)["12(1)"] in ("none", "weak")
    assert strengths("us-21cfr11", lossy)["11.10(b)"] == "none"


def test_a_run_that_loses_nothing_but_violates_elsewhere_is_weak() -> None:
    expired = with_finding("model_expired")
    assert strengths("eu-ai-act", expired)["12(1)"] == "weak"
    assert strengths("eu-ai-act", expired)["15(1)"] == "none"


@pytest.mark.parametrize("name", builtin_profiles())
@pytest.mark.parametrize("run", NAMES)
def test_the_outcome_says_what_it_is_not(name: str, run: str) -> None:
    assessment = assess(load_profile(name), report(run))
    data, text = assessment.as_json(), render(assessment)
    assert data["standing"] == STANDING
    assert "no legal claim" in text
    assert len(data["clauses"]) == len(assessment.profile.clauses)
    for clause, shown in zip(assessment.clauses, data["clauses"], strict=True):
        assert shown["cannot_show"]
        assert bool(shown["shows"]) == (clause.strength > Strength.NONE)
        assert f"{clause.number}  {clause.clause.title}: {shown['strength']}" in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_assessing_changes_no_report() -> None:
    before = report("holds")
    after = copy.deepcopy(before)
    assess(load_profile("eu-ai-act"), after)
    assert after == before
