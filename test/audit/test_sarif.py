"""SARIF: valid by the official schema, a rule a kind, stable fingerprints, no word of a robot that a viewer obeys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audit_reports import NAMES, report, with_finding
from hypothesis import given
from hypothesis import strategies as st
from scenario import honest_run

from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.recording.recording_files import digest_files
from og_ros.audit.reports.sarif import NOT_CHECKED, fingerprint, sarif
from og_ros.audit.run import audit_bag

SCHEMA = json.loads((Path(__file__).parent / "data" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def run_of(made: dict[str, Any]) -> dict[str, Any]:
    """Return the one run of a log that is valid."""
    VALIDATOR.validate(json.loads(json.dumps(made)))
    (run,) = made["runs"]
    return run


@pytest.mark.parametrize("name", NAMES)
def test_logs_are_valid(name: str) -> None:
    run = run_of(sarif(report(name)))
    listed = [result["ruleId"] for result in run["results"] if result["ruleId"] != NOT_CHECKED]
    assert listed == [finding["kind"] for finding in report(name)["findings"]]


def test_an_honest_run_has_no_result_and_says_what_was_not_checked() -> None:
    run = run_of(sarif(report("holds")))
    assert run["results"] == []
    notes = [note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]]
    assert any("re-execution" in note for note in notes)
    assert run["invocations"][0]["exitCode"] == 0


def test_a_recording_that_could_not_be_checked_is_an_error() -> None:
    run = run_of(sarif(report("not_checked")))
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == (NOT_CHECKED, "error")
    assert "no registry" in result["message"]["text"]
    assert run["invocations"][0]["exitCode"] == 2


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_rule_with_its_level(kind: str) -> None:
    run = run_of(sarif(with_finding(kind)))
    (result,) = run["results"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    level = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.VIOLATION: "error"}[KINDS[kind].severity]
    assert (rule["id"], rule["shortDescription"]["text"]) == (kind, KINDS[kind].meaning)
    assert rule["defaultConfiguration"]["level"] == result["level"] == level


def test_a_finding_has_a_logical_location_from_stage_to_record() -> None:
    run = run_of(sarif(with_finding("chain_broken"), folder="runs/of may"))
    location = run["results"][0]["locations"][0]
    assert [(place["kind"], place["name"]) for place in location["logicalLocations"]] == [
        ("record", "3"),
        ("topic", "/wheel_command/attestation"),
        ("stage", "control"),
    ]
    assert location["logicalLocations"][0]["fullyQualifiedName"] == "control /wheel_command/attestation 3"
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "runs/of%20may/bag/metadata.yaml"


def test_the_recording_is_an_artifact_with_its_digests(tmp_path: Path) -> None:
    bag = honest_run(2).write_bag(tmp_path / "bag")
    artifacts = run_of(sarif(audit_bag(bag).as_json(), digest_files(bag)))["artifacts"]
    assert [artifact["location"]["uri"] for artifact in artifacts] == ["bag/metadata.yaml", "bag/bag.mcap"]
    assert all(len(artifact["hashes"]["sha-256"]) == 64 for artifact in artifacts)


def test_fingerprints_are_the_same_in_another_audit_and_differ_between_findings(tmp_path: Path) -> None:
    run = honest_run(12)
    for tick in (3, 5, 7):
        run.forge(run.of_stage("control")[tick][0], duration_ns=1)
    run.write_registry(tmp_path / "registry")
    bag = run.write_bag(tmp_path / "bag")
    marks = []
    for _ in range(2):
        results = run_of(sarif(audit_bag(bag).as_json()))["results"]
        marks.append([result["fingerprints"]["ogRosFinding/v1"] for result in results])
    assert marks[0] == marks[1]
    assert len(set(marks[0])) == len(marks[0])
    one, other = with_finding("chain_broken", "some words"), with_finding("chain_broken", "other words")
    assert fingerprint(one["findings"][0]) == fingerprint(other["findings"][0])


def test_findings_that_are_only_counted_are_not_lost() -> None:
    changed = with_finding("output_altered")
    changed["finding_counts"]["output_altered"] = 120
    results = run_of(sarif(changed))["results"]
    assert [result.get("occurrenceCount") for result in results] == [None, 119]


def test_a_kind_of_a_later_version_is_an_error_unless_the_report_says_less() -> None:
    changed = report("holds")
    changed["finding_counts"]["from_the_future"] = 2
    assert run_of(sarif(changed))["results"][0]["level"] == "error"
    changed["findings"].append(
        {**with_finding("chain_broken")["findings"][0], "kind": "from_the_future", "severity": "info"}
    )
    assert {result["level"] for result in run_of(sarif(changed))["results"]} == {"note"}


def test_names_of_a_robot_make_no_link_and_no_placeholder() -> None:
    hostile = "stage [click](https://evil.example) {0} \x1b[31m \u202etxt.exe\nnext"
    run = run_of(sarif(with_finding("chain_broken", hostile, stage="a\u202eb", topic="/x y\x00")))
    text = run["results"][0]["message"]["text"]
    assert text.isprintable()
    assert "\\[click\\](https://evil.example) {{0}}" in text
    names = [place["name"] for place in run["results"][0]["locations"][0]["logicalLocations"]]
    assert names == ["3", "/x y\\x00", "a\\u202eb"]


@given(st.text(), st.text(max_size=20), st.text(max_size=20), st.none() | st.integers(0, 2**64 - 1))
def test_any_text_gives_a_valid_log(message: str, stage: str, topic: str, sequence: int | None) -> None:
    made = with_finding("session_forked", message, stage=stage, topic=topic, sequence=sequence)
    made["recording"] = message
    text = json.dumps(sarif(made), ensure_ascii=False)
    VALIDATOR.validate(json.loads(text.encode().decode()))
