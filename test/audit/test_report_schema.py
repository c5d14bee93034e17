"""The published schema of the report: real reports fit it, it describes every field, and the reader keeps to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from audit_reports import NAMES, report, with_finding
from hypothesis import given
from hypothesis import strategies as st

from og_ros.audit.findings import KINDS
from og_ros.audit.levels import AXES
from og_ros.audit.reports.predicates import PREDICATES
from og_ros.audit.reports.report_file import load_report, parse_report, report_digest, report_schema
from og_ros.errors import ReportError


def closed(schema: Any) -> Any:
    """Return the schema with every described object closed: a field that it does not describe is then an error."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(item) for name, item in schema.items()}
    if "properties" in found and isinstance(found["properties"], dict) and found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found


CLOSED = jsonschema.Draft202012Validator(closed(report_schema()))


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())


@pytest.mark.parametrize("name", NAMES)
def test_real_reports_fit_and_have_no_field_that_is_not_described(name: str) -> None:
    CLOSED.validate(json.loads(json.dumps(report(name))))


def test_a_report_of_a_run_that_was_run_again(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="re-execution needs onnxruntime (extra `robot`)")
    from model_run import drive

    from og_ros.audit.reexecution.rerun import ReexecutionPlan
    from og_ros.audit.reexecution.sampling import ALL, Beacon
    from og_ros.audit.run import audit_bag

    run = drive(tmp_path / "run", 6)
    plan = ReexecutionPlan(ALL, Beacon(b"test"), run.pipeline)
    made = json.loads(json.dumps(audit_bag(run.write_bag(), run.registry(), reexecution=plan).as_json()))
    CLOSED.validate(made)
    assert made["reexecution"]["selected"] > 0
    assert PREDICATES["sample_reexecuted"].ask(made, 0.05).holds
    assert PREDICATES["models_reexecuted"].ask(made, 0).holds


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_finding_fits(kind: str) -> None:
    CLOSED.validate(with_finding(kind))


def described(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for name, item in schema.get("properties", {}).items():
            yield f"{where}.{name}", item
        for name, item in schema.items():
            yield from described(item, f"{where}.{name}")
    elif isinstance(schema, list):
        for item in schema:
            yield from described(item, where)


def test_every_property_is_described() -> None:
    found = dict(described(report_schema()))
    assert len(found) > 50
    for name, item in found.items():
        assert item.get("description", "").rstrip().endswith("."), name


def test_the_axes_are_those_of_the_code() -> None:
    properties = report_schema()["properties"]["levels"]["properties"]
    for axis, levels in AXES.items():
        assert properties[axis]["description"].partition(": ")[2] == ", ".join(levels) + "."


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_report_reads_back_the_same(name: str, tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    saved.write_text(json.dumps(report(name), indent=2, ensure_ascii=False))
    assert load_report(saved) == report(name)
    assert report_digest(load_report(saved)) == report_digest(report(name))


def paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, item in items:
        yield from paths(item, (*path, name))


ODD: list[Any] = [None, True, -1, 2**70, 0.5, "", "x", "0" * 63, [], [1], {}, {"x": 1}]
PATHS = [path for path in paths(report("violated")) if path]


@given(st.sampled_from(PATHS), st.sampled_from([*ODD, "remove"]))
def test_the_reader_agrees_with_jsonschema(path: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(report("violated"))
    *way, last = path
    place: Any = changed
    for step in way:
        place = place[step]
    if value == "remove":
        del place[last]
    else:
        place[last] = value
    problem = ""
    try:
        parse_report(json.dumps(changed).encode())
    except ReportError as error:
        problem = str(error)
    assert "\n" not in problem
    assert (not problem) == jsonschema.Draft202012Validator(report_schema()).is_valid(changed)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "malformed JSON"),
        (b"[]", "the file must be of type object"),
        (b'{"version": 1, "version": 1}', "stands there twice"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "malformed JSON"),
        (b'{"version": NaN}', "no JSON number"),
        (rb'{"version": "\uDC00"}', "surrogate"),
    ],
)
def test_what_is_no_report_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ReportError, match=problem):
        parse_report(data)


def test_a_line_feed_after_a_digest_is_refused() -> None:
    changed = report("holds")
    changed["policy"] = "0" * 64 + "\n"
    with pytest.raises(ReportError, match="policy"):
        parse_report(json.dumps(changed).encode())


def test_the_version_is_a_number() -> None:
    for version in (True, 1.0, 2, "1"):
        with pytest.raises(ReportError, match="version must be 1"):
            parse_report(json.dumps({**report("holds"), "version": version}).encode())


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot read the report"):
        load_report(tmp_path / "none.json")


def test_the_digest_is_that_of_sorted_compact_json() -> None:
    import hashlib

    text = json.dumps(report("holds"), sort_keys=True, separators=(",", ":"))
    assert report_digest(report("holds")) == hashlib.sha256(text.encode()).digest()
