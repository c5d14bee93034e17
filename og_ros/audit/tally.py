"""What an audit counts: findings, of which the first of each kind and topic are kept, and what the run had."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from og_ros.audit.findings import Finding, Severity

# So many findings of one kind on one topic are kept whole; the rest are counted.
KEPT_FINDINGS: Final = 50


@dataclass
class FindingLog:
    """Findings as they come: the first of each kind and topic in full, the rest counted."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    violations: int = 0
    warnings: int = 0
    _by_place: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Take one finding."""
        self.counts[finding.kind] += 1
        self.violations += finding.severity is Severity.VIOLATION
        self.warnings += finding.severity is Severity.WARNING
        place = (finding.kind, finding.topic)
        self._by_place[place] += 1
        if self._by_place[place] <= KEPT_FINDINGS:
            self.kept.append(finding)


@dataclass
class Tally:
    """What a run had: counts of attestations and decisions, and the chain latencies in ns.

    `other_clock` counts the decisions whose sensor stamps are of another clock, so that they have no latency.
    """

    attestations: int = 0
    decisions: int = 0
    linked: int = 0
    other_clock: int = 0
    latencies_ns: array[int] = field(default_factory=lambda: array("q"))
