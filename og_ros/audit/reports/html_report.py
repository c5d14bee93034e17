"""The report as one self-contained HTML page that checks its own evidence in the reader's browser.

The page carries three things. The report as its program-readable JSON, and figures for its plots: both are the
auditor's word, so their SHA-256 are shown, and the auditor's signature is checked where there is one. And exhibits:
signed records, messages, certificates and proofs, which the page decodes and verifies itself; nothing that it shows of
them is taken from anywhere else.
"""

from __future__ import annotations

import base64
import datetime
import html
import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import og_ros
from og_ros.audit.findings import KINDS, Finding
from og_ros.audit.observer import Observer
from og_ros.audit.recording.bag import Bag
from og_ros.audit.records import Inference
from og_ros.audit.reports.exhibit_sources import Exhibits, gather
from og_ros.audit.reports.exhibits import Budget, ChainRecord, Decision, ExhibitCollector
from og_ros.audit.reports.page_source import PAGE, content_hash, fill, link
from og_ros.audit.reports.report import Report, Verdict
from og_ros.audit.reports.series import SeriesCollector
from og_ros.errors import ReportError
from og_ros.registry import Registry, strict_json
from og_ros.registry.registry import fingerprint

_HEADLINES: Final = {
    Verdict.HOLDS: "The recording holds",
    Verdict.VIOLATED: "The recording does not hold",
    Verdict.NOT_CHECKED: "The recording could not be checked",
}


class HtmlCollector(Observer):
    """Watches an audit for the page: give it to `audit_bag` as an observer, then to `write_html`."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.exhibits = ExhibitCollector(budget)
        self.series = SeriesCollector()

    def inference(self, inference: Inference) -> None:
        """An attestation was read and checked."""
        self.exhibits.inference(inference)
        self.series.inference(inference)

    def decision(self, inference: Inference) -> None:
        """A decision was judged."""
        self.exhibits.decision(inference)
        self.series.decision(inference)

    def finding(self, finding: Finding) -> None:
        """Something was found."""
        self.exhibits.finding(finding)
        self.series.finding(finding)


def write_html(
    report: Report,
    collector: HtmlCollector,
    bag: Bag,
    registry: Registry | None,
    ledger: Path | None,
    path: Path,
    *,
    exhibits: Exhibits | None = None,
    summary: bytes | None = None,
) -> None:
    """Write the page of an audit that `collector` watched; the recording must be open again.

    `exhibits` are those that `gather` gave, where they are at hand already. `summary` is the auditor's signed summary,
    a DSSE envelope as JSON. Raises ReportError when the file cannot be written, and BagError, LogError or RegistryError
    when a source can no longer be read.
    """
    if exhibits is None:
        exhibits = gather(collector.exhibits, bag, registry, ledger)
    text = render(report.as_json(), report.verdict, collector, bag, exhibits, summary)
    try:
        path.write_bytes(text.encode("utf-8", "replace"))
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def render(
    report: dict[str, Any],
    verdict: Verdict,
    collector: HtmlCollector,
    bag: Bag,
    exhibits: Exhibits,
    summary: bytes | None = None,
) -> str:
    """Return the page's HTML; `report` is the report as JSON has it."""
    canonical = strict_json.dumps(report)
    sentences = list(_sentences(report, verdict))
    audited = f"{_utc(time.time_ns())} by og_ros {og_ros.__version__}"
    facts = list(_facts(report, bag, audited, sha256(canonical).hexdigest()))
    figures = {
        "version": 1,
        "audited": audited,
        "severities": {kind: KINDS[kind].severity.name.lower() for kind in report["finding_counts"] if kind in KINDS},
        "meanings": {kind: KINDS[kind].meaning for kind in report["finding_counts"] if kind in KINDS},
        "start_ns": str(bag.start_ns),
        "length_ms": (bag.end_ns - bag.start_ns) / 1e6,
        "series": collector.series.as_json(bag.start_ns),
        "exhibits": _manifest(exhibits, bag.start_ns),
    }
    figures_text = _embeddable(figures)
    script, style = link(PAGE / "ui" / "main.js"), (PAGE / "style.css").read_text(encoding="utf-8")
    slots = {
        "title": html.escape(f"{_HEADLINES[verdict]}: audit of {report['recording']}"),
        "policy": f"default-src 'none'; script-src {content_hash(script)}; style-src {content_hash(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "style": style,
        "script": script,
        "verdict": verdict.value,
        "headline": html.escape(_HEADLINES[verdict]),
        "sentences": "\n".join(f"<p>{html.escape(text)}</p>" for text in sentences),
        "facts": "\n".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts),
        "not_checked": "\n".join(f"<li>{html.escape(note)}</li>" for note in report["not_checked"]),
        "findings": "\n".join(_static_findings(report)),
        "figures_digest": sha256(figures_text.encode()).hexdigest(),
        "report_digest": sha256(canonical).hexdigest(),
        "figures": figures_text,
        "report": _base64(canonical),
        "summary": "" if summary is None else _base64(summary),
        "pieces": "\n".join(_pieces(exhibits)),
        "software": html.escape(f"og_ros {og_ros.__version__}"),
    }
    return fill((PAGE / "template.html").read_text(encoding="utf-8"), slots)


def _sentences(report: dict[str, Any], verdict: Verdict) -> Iterator[str]:
    """Yield the verdict in words."""
    decisions, linked = report["decisions"], report["linked"]
    counts: dict[str, int] = report["finding_counts"]
    violations = sum(n for kind, n in counts.items() if kind in KINDS and KINDS[kind].severity.name == "VIOLATION")
    others = sum(counts.values()) - violations
    if verdict is Verdict.HOLDS:
        yield "Every check that was made holds. What was not checked is listed below, and is part of this verdict."
    elif verdict is Verdict.VIOLATED:
        kinds = sorted(kind for kind in counts if kind in KINDS and KINDS[kind].severity.name == "VIOLATION")
        yield f"{_count(violations, 'violation')} found: {', '.join(kind.replace('_', ' ') for kind in kinds)}."
    else:
        yield "Something that the verdict rests on was missing, so nothing is said for or against the recording."
    share = f" ({linked / decisions:.1%})" if decisions else ""
    yield (
        f"{_count(decisions, 'decision')} in {report['duration_s']:.1f} s; {linked}{share} traced back to recorded "
        f"sensor messages. {_count(report['attestations'], 'attestation')} read."
    )
    latency = report["chain_latency_ms"]
    if latency:
        yield f"From sensor to command: {latency['median']:.1f} ms median, {latency['max']:.1f} ms at most."
    if others:
        yield f"{_count(others, 'other finding')} that {'do' if others != 1 else 'does'} not decide the verdict."


def _facts(report: dict[str, Any], bag: Bag, audited: str, digest: str) -> Iterator[tuple[str, str]]:
    """Yield what was audited, as names and values."""
    registry, log = report["registry"], report["log"]
    yield "Recording", report["recording"]
    if bag.count:
        yield "Recorded", f"{_utc(bag.start_ns)} to {_utc(bag.end_ns)} (the recorder's clock)"
    yield "Messages", str(report["messages"])
    yield "Robot", ", ".join(sorted({stage["robot"] for stage in report["stages"].values()})) or "none is named"
    yield "Registry root", registry["root"] if registry else "no registry was given"
    yield "Log", f"{log['origin']}, {log['size']} leaves, root sha256:{log['root']}" if log else "none was given"
    yield "Audited", audited
    yield "Report", f"sha256:{digest}"


def _manifest(exhibits: Exhibits, start_ns: int) -> dict[str, Any]:
    """Return what pieces are embedded, under which names, and what the audit found of each."""

    def decision(item: Decision) -> dict[str, Any]:
        return {
            "chain": [record.digest.hex() for record in item.chain],
            "reasons": list(item.reasons),
            "latency_ms": None if item.latency_ns is None else item.latency_ns / 1e6,
        }

    def record(item: ChainRecord) -> dict[str, Any]:
        statement = item.attestation.statement
        return {
            "name": f"{statement.stage} #{statement.sequence}",
            "at_ms": (item.received_ns - start_ns) / 1e6,
            "signed": item.signed,
            "certified": item.certified,
            "logged": item.logged,
            "linked": item.linked,
            "levels": dict(item.levels),
        }

    topics: dict[bytes, str] = {}
    for item in exhibits.records.values():
        for reference in (*item.attestation.statement.inputs, *item.attestation.statement.outputs):
            topics.setdefault(reference.digest, reference.topic)
    return {
        "total": exhibits.total,
        "decisions": [decision(item) for item in exhibits.decisions],
        "others": [decision(item) for item in exhibits.others],
        "records": {digest.hex(): record(item) for digest, item in exhibits.records.items()},
        "messages": {digest.hex(): topics[digest] for digest in exhibits.messages},
        "left_out": {digest.hex(): reason for digest, reason in exhibits.left_out.items()},
        "proofs": [digest.hex() for digest in exhibits.proofs],
        "registry": list(exhibits.registry),
        "fingerprint": _fingerprint(exhibits),
    }


def _fingerprint(exhibits: Exhibits) -> str | None:
    """Return the fingerprint of the newest root among the embedded files."""
    roots = [path for path in exhibits.registry if path.startswith("roots/")]
    if not roots:
        return None
    newest = max(roots, key=lambda path: int(path.removeprefix("roots/").partition(".")[0]))
    return fingerprint(base64.b64decode(json.loads(exhibits.registry[newest])["payload"]))


def _pieces(exhibits: Exhibits) -> Iterator[str]:
    """Yield the evidence, each piece an element of its own, so that a damaged one leaves the others readable."""
    for digest, record in exhibits.records.items():
        yield _piece("record", digest.hex(), record.attestation.cose)
    for digest, proof in exhibits.proofs.items():
        yield _piece("proof", digest.hex(), proof.encode())
    for path, data in exhibits.registry.items():
        yield _piece("registry", path, data)
    for digest, payload in exhibits.messages.items():
        yield _piece("message", digest.hex(), payload)


def _piece(kind: str, name: str, data: bytes) -> str:
    return f'<script type="text/plain" data-kind="{kind}" data-name="{html.escape(name)}">{_base64(data)}</script>'


def _static_findings(report: dict[str, Any]) -> Iterator[str]:
    """Yield what was found, by kind, for a reader whose browser runs no script."""
    for kind, count in report["finding_counts"].items():
        severity = KINDS[kind].severity.name.lower() if kind in KINDS else ""
        meaning = KINDS[kind].meaning if kind in KINDS else ""
        yield f"<li><b>{html.escape(kind)}</b> ({severity}, {count}): {html.escape(meaning)}</li>"
    if not report["finding_counts"]:
        yield "<li>No findings.</li>"


def _embeddable(tree: Any) -> str:
    """Return JSON in ASCII that can stand in an HTML script element: nothing in it ends or opens a tag."""
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _utc(nanoseconds: int) -> str:
    moment = datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
