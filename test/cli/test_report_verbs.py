"""og-ros report and og-ros profile, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import junitparser
import pytest
from audit_reports import report
from scenario import honest_run

from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.reports.assessment import STANDING
from og_ros.audit.reports.regulation import builtin_profiles
from og_ros.audit.reports.report_file import report_schema
from og_ros.cli.main import main


def saved(tmp_path: Path, name: str) -> str:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(report(name)))
    return str(path)


@pytest.mark.parametrize(("name", "code"), [("holds", 0), ("violated", 1), ("empty", 1), ("not_checked", 2)])
def test_report_converts_and_keeps_the_verdict(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sarif, junit = tmp_path / "a.sarif", tmp_path / "a.xml"
    bag = honest_run(2).write_bag(tmp_path / "bag")
    words = ["report", saved(tmp_path, name), "--sarif", str(sarif), "--junit", str(junit), "--bag", str(bag)]
    assert main([*words, "--folder", "runs"]) == code
    assert f"bag: {report(name)['verdict']}, " in capsys.readouterr().out
    run = json.loads(sarif.read_text())["runs"][0]
    assert run["properties"]["verdict"] == report(name)["verdict"]
    assert run["artifacts"][0]["location"]["uri"] == "runs/bag/metadata.yaml"
    kinds = [kind for kind in report(name)["finding_counts"] if KINDS[kind].severity is Severity.VIOLATION]
    failures = len(kinds) + (1 if kinds else 0)  # each kind, and the verdict
    assert junitparser.JUnitXml.fromfile(str(junit)).failures == failures


def test_report_writes_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", saved(tmp_path, "holds"), "--sarif", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert main(["report", saved(tmp_path, "holds"), "--junit", "-"]) == 0
    assert capsys.readouterr().out.startswith("<?xml")
    assert main(["report", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == report_schema()


@pytest.mark.parametrize("words", [["report"], ["report", "none.json"], ["profile", "show", "gdpr"]])
def test_what_cannot_be_read_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"og-ros {words[0]}: ")
    assert captured.err.count("\n") == 1


def test_profile_lists_and_shows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in builtin_profiles())
    for name in builtin_profiles():
        assert main(["profile", "show", name]) == 0
        text = capsys.readouterr().out
        assert main(["profile", "show", name, "--json"]) == 0
        for number, clause in json.loads(capsys.readouterr().out)["clauses"].items():
            assert f"{number}  {clause['title']}" in text


@pytest.mark.parametrize("name", builtin_profiles())
def test_profile_assesses(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["profile", "assess", name, "--report", saved(tmp_path, "holds")]
    assert main(words) == 0
    assert "no legal claim" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["profile"], shown["standing"]) == (name, STANDING)


def test_an_own_profile_with_an_error_names_the_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text("version: 1\nname: own\ntitle: T\nregulation: R\nclauses: [1]\n")
    assert main(["profile", "assess", str(tmp_path / "own.yaml"), "--report", saved(tmp_path, "holds")]) == 2
    assert "own.yaml:5: clauses is [1]; it must be a mapping" in capsys.readouterr().err
