"""JUnit: a parser reads it, each check is a case, what was not checked is no pass, any text is well-formed XML."""

from __future__ import annotations

from xml.etree import ElementTree

import junitparser
import pytest
from audit_reports import NAMES, report, with_finding
from hypothesis import given
from hypothesis import strategies as st

from og_ros.audit.families import FAMILIES, FAMILY_OF
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.reports.junit import junit


def parsed(text: str) -> junitparser.JUnitXml:
    """Return what a JUnit parser reads."""
    return junitparser.JUnitXml.fromstring(text.encode())


def cases(text: str) -> dict[str, junitparser.TestCase]:
    """Return the cases by name."""
    found = [case for suite in parsed(text) for case in suite]
    assert len({case.name for case in found}) == len(found)
    return {case.name: case for case in found}


def outcome(case: junitparser.TestCase) -> str:
    """Return passed, failure, error or skipped."""
    return {junitparser.Failure: "failure", junitparser.Error: "error", junitparser.Skipped: "skipped"}.get(
        type(case.result[0]) if case.result else None, "passed"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_parser_reads_it_and_its_counts_are_right(name: str) -> None:
    text = junit(report(name))
    whole = parsed(text)
    assert [suite.name for suite in whole] == ["verdict", *FAMILIES]
    found = cases(text)
    assert set(found) == {"verdict", *KINDS}
    declared = (whole.tests, whole.failures, whole.errors, whole.skipped)
    whole.update_statistics()
    assert declared == (whole.tests, whole.failures, whole.errors, whole.skipped)
    for suite in whole:
        for case in suite:
            assert case.classname == f"og_ros.audit.{suite.name}"
            assert suite.name == FAMILY_OF.get(case.name, "verdict")


def test_an_honest_run_passes_what_was_checked() -> None:
    found = cases(junit(report("holds")))
    outcomes = {name: outcome(case) for name, case in found.items()}
    assert outcomes["verdict"] == "passed"
    skipped = {name for name, result in outcomes.items() if result == "skipped"}
    elsewhere = ("reexecution", "policy", "fleet", "packs", "gate")
    others = {kind for kind, family in FAMILY_OF.items() if family in elsewhere or kind.startswith("settlement_")}
    others |= {"cosignature_invalid", "witness_forked", "timestamp_invalid"}  # nobody cosigned or stamped that log
    assert skipped == others - {"loss_exceeds_policy", "decision_unlinked", "root_not_trusted"}
    assert set(outcomes.values()) == {"passed", "skipped"}


def test_what_was_not_checked_is_skipped_and_the_verdict_an_error() -> None:
    found = cases(junit(report("not_checked")))
    assert outcome(found["verdict"]) == "error"
    for kind in ("unregistered_key", "model_not_certified", "signature_invalid", "root_not_trusted"):
        assert outcome(found[kind]) == "skipped"
        assert "no registry" in found[kind].result[0].message
    without_log = cases(junit(report("no_log")))
    assert outcome(without_log["missing_from_log"]) == "skipped"
    assert outcome(without_log["verdict"]) == "passed"


def test_an_empty_recording_fails_and_passes_nothing_but_the_reading() -> None:
    found = cases(junit(report("empty")))
    assert outcome(found["verdict"]) == outcome(found["no_attestations"]) == "failure"
    passed = {name for name, case in found.items() if outcome(case) == "passed"}
    assert passed == {"recording_incomplete", "malformed_attestation"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fails_or_is_told(kind: str) -> None:
    case = cases(junit(with_finding(kind, "something was found")))[kind]
    if KINDS[kind].severity is Severity.VIOLATION:
        assert outcome(case) == "failure"
        assert (case.result[0].type, case.result[0].message) == (kind, "something was found [sequence 3]")
    else:
        assert outcome(case) == "passed"
        assert case.system_out == "something was found [sequence 3]"


def test_findings_that_are_only_counted_are_not_lost() -> None:
    changed = with_finding("output_altered")
    changed["finding_counts"]["output_altered"] = 120
    assert "119 more findings" in cases(junit(changed))["output_altered"].result[0].text


def test_hostile_text_is_escaped() -> None:
    hostile = "]]></failure><testcase name='x'/>\x00\x0b\ufffe\ud800 \u202e&amp;"
    text = junit(with_finding("chain_broken", hostile))
    message = cases(text)["chain_broken"].result[0].message
    shown = "]]></failure><testcase name='x'/>\\x00\\x0b\\ufffe\\ud800 \\u202e&amp; [sequence 3]"
    assert message == shown


@given(st.text(), st.text(max_size=40))
def test_any_text_is_well_formed(message: str, recording: str) -> None:
    made = with_finding("session_forked", message)
    made["recording"] = recording
    made["not_checked"].append(message)
    root = ElementTree.fromstring(junit(made).encode())
    assert root.tag == "testsuites"
