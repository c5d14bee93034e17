"""Writes an audit report as JUnit XML, so that CI systems show each check of an audit as a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree

from og_ros.audit.families import FAMILIES, OTHER, family_of, severity_of, why_not_checked
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.reports.plain_text import visible

_CLASS: Final = "og_ros.audit"


def junit(report: Mapping[str, Any]) -> str:
    """Return a JUnit XML document: a suite a family of checks, a case a kind of finding, and one for the verdict.

    `report` is what `Report.as_json` gives. A violation is a failure; a warning or a remark is a passed case with its
    text as output. A check that was not made is skipped, with the reason. A recording that could not be checked is an
    error of the case `verdict`, so that no CI system takes missing evidence for a pass.
    """
    kinds: dict[str, list[str]] = {family: [] for family in (*FAMILIES, OTHER)}
    for kind in dict.fromkeys((*KINDS, *report["finding_counts"])):
        kinds[family_of(kind)].append(kind)
    name = f"og-ros audit {visible(report['recording'])}"
    root = ElementTree.Element("testsuites", name=name)
    suites = [_suite(family, [_case(kind, report) for kind in found]) for family, found in kinds.items() if found]
    root.extend([_suite("verdict", [_verdict(report)]), *suites])
    _count(root)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(family: str, cases: list[ElementTree.Element]) -> ElementTree.Element:
    suite = ElementTree.Element("testsuite", name=family)
    for case in cases:
        case.set("classname", f"{_CLASS}.{family}")
    suite.extend(cases)
    _count(suite)
    return suite


def _count(element: ElementTree.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    element.set("time", "0")


def _case(kind: str, report: Mapping[str, Any]) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name=kind, time="0")
    count = report["finding_counts"].get(kind, 0)
    reason = why_not_checked(kind, report)
    if reason:
        ElementTree.SubElement(case, "skipped", message=f"not checked: {reason}")
    elif count and severity_of(kind, report) is Severity.VIOLATION:
        lines = _lines(kind, count, report)
        failure = ElementTree.SubElement(case, "failure", message=lines[0], type=kind)
        failure.text = "\n".join(lines)
    elif count:
        ElementTree.SubElement(case, "system-out").text = "\n".join(_lines(kind, count, report))
    return case


def _lines(kind: str, count: int, report: Mapping[str, Any]) -> list[str]:
    """Return a line for each listed finding of a kind, and one for those that are only counted."""
    lines = []
    for finding in report["findings"]:
        if finding["kind"] == kind:
            place = "" if finding["sequence"] is None else f" [sequence {finding['sequence']}]"
            lines.append(visible(finding["message"]) + place)
    if count > len(lines):
        lines.append(f"{count - len(lines)} {'more ' if lines else ''}findings of this kind are counted and not listed")
    return lines


def _verdict(report: Mapping[str, Any]) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name="verdict", time="0")
    notes = "\n".join(visible(note) for note in report["not_checked"])
    if report["verdict"] == "violated":
        counts = ", ".join(f"{visible(kind)} {count}" for kind, count in report["finding_counts"].items())
        ElementTree.SubElement(case, "failure", message=f"violated: {counts}", type="violated").text = counts
    elif report["verdict"] != "holds":
        message = "the recording could not be checked: missing evidence is no pass"
        ElementTree.SubElement(case, "error", message=message, type="not_checked").text = notes
    if notes and report["verdict"] in ("holds", "violated"):
        ElementTree.SubElement(case, "system-out").text = f"Not checked:\n{notes}"
    return case
