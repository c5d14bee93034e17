"""Regulation profiles: the files that come along, and how a wrong one is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from og_ros.audit.reports.predicates import PREDICATES
from og_ros.audit.reports.regulation import Strength, builtin_profiles, load_profile, read_condition
from og_ros.errors import ConfigError

GOOD = """\
version: 1
name: ours
title: Ours
regulation: House rules
clauses:
  "1":
    title: One
    asks: Something.
    text_read: true
    source: https://example.org/one
    shows: It.
    support:
      weak: [decisions_recorded]
      partial: [decisions_linked 0.5, latency_bounded 100]
    cannot_show: [the rest]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return path


def test_the_profiles_that_come_along() -> None:
    assert builtin_profiles() == ["eu-ai-act", "eu-machinery", "un-r157", "us-21cfr11"]
    for name in builtin_profiles():
        profile = load_profile(name)
        assert profile.name == name
        assert len(profile.digest) == 64
        assert len(profile.clauses) >= 5


@pytest.mark.parametrize("name", builtin_profiles())
def test_no_profile_claims_conformity(name: str) -> None:
    for number, clause in load_profile(name).clauses.items():
        said = f"{clause.shows} {clause.asks}".lower()
        for word in ("complian", "complies", "conforms", "satisf", "fulfil", "guarantee"):
            assert word not in said, f"{name} {number}"


def test_what_was_not_read_is_not_quoted() -> None:
    unread = [c for name in builtin_profiles() for c in load_profile(name).clauses.values() if not c.text_read]
    assert len(unread) == len(load_profile("un-r157").clauses)
    assert not any(clause.quote for clause in unread)
    assert "NOT READ" in load_profile("un-r157").notes[0]


def test_human_oversight_has_nothing_that_supports_it() -> None:
    clauses = load_profile("eu-ai-act").clauses
    assert not clauses["14(1)"].support.rungs
    assert not clauses["14(4)"].support.rungs


def test_an_own_profile_is_read(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path, GOOD))
    rungs = profile.clauses["1"].support.rungs
    assert [(s, [str(c) for c in conditions]) for s, conditions in rungs.items()] == [
        (Strength.WEAK, ["decisions_recorded"]),
        (Strength.PARTIAL, ["decisions_linked 0.5", "latency_bounded 100"]),
    ]
    assert profile.clauses["1"].contradicted_by == ("all",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "p.yaml:1: version is 2; it must be 1"),
        ("name: ours", "name: Our Own", "p.yaml:2: name must have"),
        ("title: Ours", "titel: Ours", "p.yaml:3: titel is not known"),
        ("title: Ours", "title: Ours\ntitle: Ours", "p.yaml:4: title is given twice"),
        ("title: Ours", "title: Ours\ndigest: x", "p.yaml:4: digest is not known"),
        ('  "1":', "  1:", "p.yaml:6: clauses.1: the key must be text"),
        ('  "1":', '  "1 a":', "clauses has the number '1 a'"),
        ("text_read: true", "text_read: yes please", "p.yaml:9: clauses.1.text_read is 'yes please'; it must be true"),
        ("text_read: true", 'text_read: false\n    quote: "words"', "p.yaml:10: clauses.1.quote is given for a text"),
        ("text_read: true", f'text_read: true\n    quote: "{"w" * 200}"', "p.yaml:10: clauses.1.quote has 200"),
        ("https://example.org", "ftp://example.org", "p.yaml:10: clauses.1.source must be an https"),
        ("    shows: It.\n", "", "clauses.1.shows is missing"),
        ("[the rest]", "[]", "p.yaml:15: clauses.1.cannot_show is empty"),
        ("[the rest]", "the rest", "p.yaml:15: clauses.1.cannot_show is 'the rest'; it must be a list"),
        (
            "decisions_recorded",
            "certified",
            "p.yaml:13: clauses.1.support.weak names 'certified', which is no predicate",
        ),
        ("decisions_recorded", "decisions_recorded 1", "p.yaml:13: clauses.1.support.weak has a number after"),
        ("linked 0.5", "linked 50", "p.yaml:14: clauses.1.support.partial has 50 after decisions_linked"),
        ("linked 0.5", "linked .nan", "p.yaml:14: clauses.1.support.partial has '.nan' after decisions_linked"),
        ("bounded 100", "bounded", "p.yaml:14: clauses.1.support.partial needs a number after latency_bounded"),
        ("weak:", "strong:", "p.yaml:13: clauses.1.support.strong is not known"),
        ("support:", "contradicted_by: [nothing]\n    support:", "clauses.1.contradicted_by has 'nothing'"),
        (GOOD, "", "must hold a mapping"),
        (GOOD, "a: [", "p.yaml:"),
        (GOOD[GOOD.index("clauses") :], "clauses: {}\n", "p.yaml:5: clauses is empty"),
    ],
)
def test_a_wrong_profile_names_the_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        load_profile(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="there is no profile 'gdpr'; there are eu-ai-act, eu-machinery"):
        load_profile("gdpr")


@given(st.text(max_size=60))
def test_any_condition_is_read_or_refused(text: str) -> None:
    name, problem = "", "condition"
    try:
        name = read_condition(text).predicate
    except ConfigError as error:
        problem = str(error)
    assert name in PREDICATES or problem.startswith("condition ")
