"""Shows an audit report to a person at a terminal."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from og_ros.audit.environment import place_of
from og_ros.audit.findings import Finding, Severity
from og_ros.audit.levels import AXES
from og_ros.audit.reports.assessment import render
from og_ros.audit.reports.report import Report, Verdict
from og_ros.cli.reexecution import reexecution_lines
from og_ros.cli.terminal import Terminal

SHOWN_FINDINGS: Final = 12
_STYLE: Final = {Severity.INFO: "dim", Severity.WARNING: "yellow", Severity.VIOLATION: "bold red"}
_VERDICT: Final = {
    Verdict.HOLDS: ("HOLDS", "bold green"),
    Verdict.VIOLATED: ("VIOLATED", "bold red"),
    Verdict.NOT_CHECKED: ("COULD NOT BE CHECKED", "bold yellow"),
}


def show_report(report: Report, console: Console | None = None) -> None:
    """Print verdict, counts, stages, findings, levels and what was not checked."""
    console = console or Terminal(soft_wrap=True)
    word, style = _VERDICT[report.verdict]
    tally = report.auditor.tally
    console.print(Text.assemble("Audit of ", report.recording, ": ", (word, style)))
    share = f" ({tally.linked / tally.decisions:.1%})" if tally.decisions else ""
    console.print(f"  {report.messages} messages in {report.duration_s:.1f} s, {tally.attestations} attestations")
    console.print(f"  {tally.decisions} decisions, {tally.linked} traced back to sensor data{share}")
    if tally.latencies_ns:
        median = statistics.median(tally.latencies_ns) / 1e6
        console.print(f"  sensor to command: {median:.1f} ms median, {max(tally.latencies_ns) / 1e6:.1f} ms at most")
    log = report.auditor.log
    if log is not None:
        console.print(f"  log {log.origin}: {log.size} leaves, {log.covered} under a signed checkpoint")
        for told in (log.witnessed, log.stamped):
            if told:
                console.print(Text(f"  {told}"))
    if report.sealed is not None:
        opened, count = report.sealed["opened"], report.sealed["messages"]
        console.print(f"  {count} sealed messages, {opened} of them opened")
    _show_levels(report, console)
    if report.reexecution is not None:
        console.print("\nRe-execution:")
        for line in reexecution_lines(report.reexecution):
            console.print(Text(f"  {line}"))
    if report.endurance is not None:
        _show_endurance(report.endurance, console)
    _show_environments(report, console)
    _show_findings(report, console)
    for profile in report.profiles:
        console.print()
        console.print(Text(render(profile)))
    if report.not_checked:
        console.print("\nNot checked:")
        for note in report.not_checked:
            console.print(Text(f"  - {note}", style="dim"))


def _show_levels(report: Report, console: Console) -> None:
    levels = report.auditor.levels.by_stage()
    if not levels:
        return
    title = "Lowest level of each stage, and of the decisions over their whole chain"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("", style="dim")
    statements = sorted(report.auditor.stages.items())
    for stage, _ in statements:
        table.add_column(Text(stage), overflow="fold")
    table.add_column("whole chain", overflow="fold")
    table.add_row("model", *(Text(f"{s.model.name} {s.model.version}".strip()) for _, s in statements))
    table.add_row("key", *(s.key_id.hex()[:12] for _, s in statements))
    report_levels = report.auditor.levels.as_json()
    for axis in AXES:
        chain = report_levels[axis]["decisions"]["lowest"] or ""
        cells = [*(levels[stage][axis] for stage, _ in statements), chain]
        table.add_row(axis.replace("_", " "), *(cell.replace("_", " ") for cell in cells))
    console.print()
    console.print(table)
    raises: dict[str, list[str]] = {}
    for by_axis in report.auditor.levels.reasons().values():
        for axis, reason in by_axis.items():
            if reason.raised_by and axis not in raises.setdefault(reason.raised_by, []):
                raises[reason.raised_by].append(axis)
    if raises:
        console.print("\nWhat would raise a level:")
    for text, axes in raises.items():
        console.print(Text(f"  - {', '.join(axis.replace('_', ' ') for axis in axes)}: {text}", style="dim"))


def _show_endurance(endurance: Mapping[str, Any], console: Console) -> None:
    """Print what still holds of each kind of evidence at the date of the judgement."""
    broken = ", ".join(f"{name} since {since}" for name, since in endurance["broken"].items()) or "none"
    console.print(f"\nWhat still holds at {endurance['at']} (broken: {broken}):")
    for claim in endurance["claims"]:
        signatures = ", ".join(f"{name} {state}" for name, state in claim["signatures"].items())
        text = f"{claim['status']:<7} {claim['count']} {claim['claim']} ({signatures}): {claim['rests_on']}"
        console.print(Text(f"  {text}", style="bold red" if claim["status"] == "broken" else "default"))


def _show_environments(report: Report, console: Console) -> None:
    """Print what the evidence of each key shows, and what was not checked of it, if there was any."""
    environments = report.auditor.environments.as_json()
    if environments:
        console.print("\nEvidence of keys:")
    for one in environments:
        whose = f"as {one['admitted_by']} appraised it" if one["admitted_by"] else f"appraised as {one['tier']}"
        level = one["level"].replace("_", " ")
        evidence = f"{one['format']}, {whose}, key in {place_of(one['key_provenance'])}"
        console.print(Text(f"  {one['stage']}, key {one['key'][:12]}: {level} ({evidence})"))
        for reason in one["reasons"]:
            console.print(Text(f"    {reason['tier']} {reason['code']}: {reason['message']}", style="yellow"))


def _show_findings(report: Report, console: Console) -> None:
    """Print each kind of finding once for a stage or topic, with its first sentence and how often it came."""
    if not report.findings:
        console.print("\nNo findings.")
        return
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in report.findings:
        groups.setdefault((finding.kind, finding.stage or finding.topic), []).append(finding)
    console.print("\nFindings:")
    for (kind, _), findings in list(groups.items())[:SHOWN_FINDINGS]:
        first = findings[0]
        place = f", sequence {first.sequence}" if first.sequence is not None and "sequence" not in first.message else ""
        count = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        mark = Text(f"  {first.severity.name.lower():<9} {kind}: ", style=_STYLE[first.severity])
        console.print(mark.append(f"{first.message}{place}{count}", style="default"))
    counts = report.auditor.findings.counts
    if len(groups) > SHOWN_FINDINGS or sum(counts.values()) > len(report.findings):
        summary = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        console.print(f"  in all: {summary}")
