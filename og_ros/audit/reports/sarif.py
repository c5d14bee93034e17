"""Writes an audit report as SARIF 2.1.0 (OASIS), so that code-scanning systems and editors show its findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import quote

from og_ros import __version__
from og_ros.audit.families import family_of, severity_of
from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.reports.plain_text import visible
from og_ros.registry import strict_json

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NOT_CHECKED: Final = "verdict_not_checked"
"""The rule of a result that says that an audit could not check its recording: missing evidence is no pass."""

_LEVELS: Final = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.VIOLATION: "error"}
_FINGERPRINT: Final = "ogRosFinding/v1"


def sarif(report: Mapping[str, Any], files: Mapping[str, bytes] | None = None, folder: str = "") -> dict[str, Any]:
    """Return a SARIF log with one run: a rule a kind of finding, a result a finding.

    `report` is what `Report.as_json` gives; `files` are the recording's files with their SHA-256, as
    `recording_files.digest_files` gives them. Locations point to the recording's metadata.yaml, in `folder` (a path
    with slashes; empty: the recording lies where the log is read), and name stage, topic and sequence as a logical
    location. A finding has the same fingerprint in every audit of the same recording.
    """
    folder = quote(folder.rstrip("/")) + "/" if folder else ""
    base = folder + quote(report["recording"] or "recording", errors="replace")
    rules = _rules(report)
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    results = [*_findings(report), *_unlisted(report), *_verdict(report)]
    for result in results:
        result["ruleIndex"] = places[result["ruleId"]]
        location = result.setdefault("locations", [{}])[0]
        location["physicalLocation"] = {
            "artifactLocation": {"uri": f"{base}/metadata.yaml", "index": 0},
            # The index of the recording is its one text file; code-scanning systems want a line, and show this one.
            "region": {"startLine": 1},
        }
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "og_ros", "semanticVersion": __version__, "rules": rules}},
                "invocations": [_invocation(report)],
                "artifacts": _artifacts(base, files or {}),
                "results": results,
                "columnKind": "unicodeCodePoints",
                "properties": {"verdict": report["verdict"], "recording": visible(report["recording"])},
            }
        ],
    }


def fingerprint(finding: Mapping[str, Any]) -> str:
    """Return the SHA-256, in hex, of what makes a finding the same one in another audit of the same recording."""
    parts = [finding[name] for name in ("kind", "stage", "topic", "sequence", "received_ns", "attestation")]
    return sha256(strict_json.dumps(parts)).hexdigest()


def _rules(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    rules = [_rule(kind, known.severity, known.meaning) for kind, known in KINDS.items()]
    unknown = sorted({*report["finding_counts"], *(f["kind"] for f in report["findings"])} - KINDS.keys())
    rules += [_rule(kind, severity_of(kind, report), "A kind that this version does not know.") for kind in unknown]
    meaning = "The audit could not check the recording: evidence is missing, which is no pass."
    return [*rules, _rule(NOT_CHECKED, Severity.VIOLATION, meaning)]


def _rule(kind: str, severity: Severity, meaning: str) -> dict[str, Any]:
    return {
        "id": kind,
        "shortDescription": {"text": meaning},
        "fullDescription": {"text": meaning},
        "help": {"text": f"{meaning} See docs/reference/findings.md of og_ros."},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {"tags": ["audit", "verdict" if kind == NOT_CHECKED else family_of(kind)]},
    }


def _findings(report: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for finding in report["findings"]:
        mark = fingerprint(finding)
        places = [("stage", finding["stage"]), ("topic", finding["topic"])]
        if finding["sequence"] is not None:
            places.append(("record", str(finding["sequence"])))
        path: list[str] = []
        logical = []
        for kind, name in places:
            if name:
                path.append(visible(name))
                logical.append({"name": path[-1], "fullyQualifiedName": " ".join(path), "kind": kind})
        yield {
            "ruleId": finding["kind"],
            "level": _LEVELS[severity_of(finding["kind"], report)],
            "message": {"text": _text(finding["message"])},
            "locations": [{"logicalLocations": logical[::-1]} if logical else {}],
            "fingerprints": {_FINGERPRINT: mark},
            "partialFingerprints": {_FINGERPRINT: mark, "primaryLocationLineHash": f"{mark[:16]}:1"},
            "properties": {"receivedNs": str(finding["received_ns"]), "attestation": finding["attestation"]},
        }


def _unlisted(report: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield a result for the findings of each kind that a report only counts."""
    for kind, count in report["finding_counts"].items():
        more = count - sum(finding["kind"] == kind for finding in report["findings"])
        if more > 0:
            yield {
                "ruleId": kind,
                "level": _LEVELS[severity_of(kind, report)],
                "message": {"text": f"{more} more findings of this kind were counted and are not listed."},
                "occurrenceCount": more,
                "fingerprints": {_FINGERPRINT: sha256(f"more of {kind}".encode()).hexdigest()},
            }


def _verdict(report: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if report["verdict"] == "not_checked":
        reasons = " ".join(_text(f"{note}.") for note in report["not_checked"])
        yield {
            "ruleId": NOT_CHECKED,
            "level": "error",
            "message": {"text": f"The recording could not be checked. {reasons}".rstrip()},
            "fingerprints": {_FINGERPRINT: sha256(NOT_CHECKED.encode()).hexdigest()},
        }


def _invocation(report: Mapping[str, Any]) -> dict[str, Any]:
    invocation: dict[str, Any] = {
        "executionSuccessful": True,
        "exitCode": {"holds": 0, "violated": 1}.get(report["verdict"], 2),
    }
    notes = [{"level": "note", "message": {"text": _text(f"not checked: {note}")}} for note in report["not_checked"]]
    if notes:
        invocation["toolExecutionNotifications"] = notes
    return invocation


def _artifacts(base: str, files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    artifacts = []
    for name in ["metadata.yaml", *sorted(files.keys() - {"metadata.yaml"})]:
        artifact: dict[str, Any] = {"location": {"uri": f"{base}/{quote(name)}"}, "roles": ["analysisTarget"]}
        if name in files:
            artifact["hashes"] = {"sha-256": files[name].hex()}
        artifacts.append(artifact)
    return artifacts


def _text(text: str) -> str:
    """Return a message in which a robot's names make no link and no placeholder (SARIF sections 3.11.5 and 3.11.6)."""
    shown = visible(text).replace("{", "{{").replace("}", "}}")
    return re.sub(r"([\[\]\\])", r"\\\1", shown) if "[" in shown else shown
