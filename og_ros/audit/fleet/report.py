"""The report of a fleet's audit: each recording's verdict, then robots, stages, models and keys over all of them."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.fleet.crosscheck import FleetFinding, Overlap
from og_ros.audit.fleet.task import Outcome
from og_ros.audit.levels import AXES, lower
from og_ros.audit.reports.report import Verdict

VERSION: Final = 1
_ROOT: Final = re.compile(r" sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Audited:
    """A recording with what became of its audit; `reused` says that the state of an earlier run had it."""

    recording: Path
    outcome: Outcome
    reused: bool

    @property
    def verdict(self) -> Verdict:
        """Its report's verdict; NOT_CHECKED where it could not be audited."""
        return Verdict.NOT_CHECKED if self.outcome.error else Verdict(self.outcome.data["report"]["verdict"])


@dataclass(frozen=True)
class FleetReport:
    """The outcome of a fleet's audit, recordings in the order of their paths."""

    audited: tuple[Audited, ...]
    findings: tuple[FleetFinding, ...]
    overlaps: tuple[Overlap, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst: VIOLATED where any recording or any check across them is, else NOT_CHECKED where any is."""
        verdicts = {one.verdict for one in self.audited}
        if any(f.finding.severity is Severity.VIOLATION for f in self.findings):
            return Verdict.VIOLATED
        return next(v for v in (Verdict.VIOLATED, Verdict.NOT_CHECKED, Verdict.HOLDS) if v in verdicts)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data for JSON."""
        return {
            "version": VERSION,
            "holds": self.verdict is Verdict.HOLDS,
            "verdict": self.verdict.value,
            "verdicts": {v.value: sum(one.verdict is v for one in self.audited) for v in Verdict},
            "recordings": [_recording(one) for one in self.audited],
            "robots": robots(self.audited),
            "models": _users(self.audited, "model_digest", ("model", "model_version")),
            "keys": _users(self.audited, "key", ("stage",)),
            "findings": [finding.as_json() for finding in self.findings],
            "overlaps": [{**asdict(o), "recordings": list(o.recordings)} for o in self.overlaps],
            "not_checked": self.not_checked,
        }

    @property
    def not_checked(self) -> list[str]:
        """What no audit of any recording could tell, in sentences, with how many recordings each is about."""
        notes: Counter[str] = Counter()
        for one in self.audited:
            failure = ["the recording: its audit failed"] if one.outcome.error else []
            # Roots differ from registry to registry; the note is the same.
            notes.update(failure or [_ROOT.sub("", note) for note in one.outcome.data["report"]["not_checked"]])
        whole = len(self.audited)
        return [note if count == whole else f"{note} ({count} of {whole} recordings)" for note, count in notes.items()]


def _recording(one: Audited) -> dict[str, Any]:
    data: dict[str, Any] = {
        "recording": str(one.recording),
        "verdict": one.verdict.value,
        "error": one.outcome.error or None,
        "reused": one.reused,
    }
    if not one.outcome.error:
        report = one.outcome.data["report"]
        names = ("duration_s", "messages", "attestations", "decisions", "linked", "chain_latency_ms", "finding_counts")
        data.update({name: report[name] for name in names})
        data["robots"] = sorted({session["robot"] for session in one.outcome.data["sessions"]})
        data["registry"] = report["registry"]
    return data


def robots(audited: Iterable[Audited]) -> dict[str, Any]:
    """Return, for each robot: verdicts, latencies, and each stage's records, levels, models, keys and findings.

    A recording of several robots counts for each of them: findings and latencies do not say which robot they are of.
    """
    by_robot: dict[str, list[Audited]] = {}
    for one in audited:
        for robot in {session["robot"] for session in one.outcome.data.get("sessions", ())}:
            by_robot.setdefault(robot, []).append(one)
    return {robot: _robot(robot, by_robot[robot]) for robot in sorted(by_robot)}


def _robot(robot: str, audited: Sequence[Audited]) -> dict[str, Any]:
    latencies = [found for one in audited if (found := one.outcome.data["report"]["chain_latency_ms"])]
    stages = {s["stage"] for one in audited for s in _sessions(one, robot)}
    return {
        "recordings": len(audited),
        "verdicts": {v.value: sum(one.verdict is v for one in audited) for v in Verdict},
        "decisions": sum(one.outcome.data["report"]["decisions"] for one in audited),
        "linked": sum(one.outcome.data["report"]["linked"] for one in audited),
        "chain_latency_ms": {
            "median_of_medians": statistics.median(found["median"] for found in latencies),
            "max": max(found["max"] for found in latencies),
        }
        if latencies
        else None,
        "stages": {stage: _stage(robot, stage, audited) for stage in sorted(stages)},
    }


def _stage(robot: str, stage: str, audited: Sequence[Audited]) -> dict[str, Any]:
    sessions = [s for one in audited for s in _sessions(one, robot) if s["stage"] == stage]
    counts: Counter[str] = Counter()
    levels: dict[str, str] = {}
    for one in audited:
        counts.update(one.outcome.data["findings_by_stage"].get(stage, {}))
        for axis in AXES:
            found = one.outcome.data["report"]["levels"].get(axis, {}).get("stages", {}).get(stage)
            if found is not None:
                levels[axis] = lower(axis, (found, levels.get(axis, found)))
    return {
        "sessions": len({(s["key"], s["session"]) for s in sessions}),
        "attestations": sum(s["records"] for s in sessions),
        "inference_ms": {
            "median_of_medians": statistics.median(s["inference_ms"]["median"] for s in sessions),
            "max": max(s["inference_ms"]["max"] for s in sessions),
        },
        "levels": levels,
        "models": sorted({f"{s['model']} {s['model_version']}".strip() for s in sessions}),
        "keys": sorted({s["key"] for s in sessions}),
        "findings": dict(sorted(counts.items())),
    }


def _sessions(one: Audited, robot: str) -> list[Mapping[str, Any]]:
    return [s for s in one.outcome.data["sessions"] if s["robot"] == robot]


def _users(audited: Iterable[Audited], identity: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return who used each model or key: its names, robots and number of recordings."""
    found: dict[str, dict[str, Any]] = {}
    for one in audited:
        for session in one.outcome.data.get("sessions", ()):
            entry = found.setdefault(session[identity], {"names": set(), "robots": set(), "recordings": set()})
            entry["names"].add(" ".join(str(session[name]) for name in names).strip())
            entry["robots"].add(session["robot"])
            entry["recordings"].add(one.recording)
    return {
        key: {"names": sorted(e["names"]), "robots": sorted(e["robots"]), "recordings": len(e["recordings"])}
        for key, e in sorted(found.items())
    }


def finding_totals(audited: Iterable[Audited], severity: Severity) -> Counter[str]:
    """Return how often each kind of finding of a severity came, over all recordings."""
    totals: Counter[str] = Counter()
    for one in audited:
        if not one.outcome.error:
            counts = one.outcome.data["report"]["finding_counts"]
            totals.update({kind: n for kind, n in counts.items() if KINDS[kind].severity is severity})
    return totals
