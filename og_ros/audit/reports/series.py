"""Time series of a run in bounded memory: latency and rate by stage, findings over time, levels by decision.

A series has a fixed number of bins over the time seen so far, each with its count, sum, least and greatest value; when
the run outgrows them, pairs of bins are merged. So a spike of one sample stays visible however long the run was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from og_ros.audit.findings import Finding, Severity
from og_ros.audit.levels import AXES, levels_of
from og_ros.audit.observer import Observer
from og_ros.audit.records import Inference
from og_ros.audit.reports.exhibits import chain_of

BINS: Final = 240
_BASE_WIDTH_NS: Final = 50_000_000
_MAX_STAGES: Final = 64
_MAX_TOPICS: Final = 64
_SAME_CLOCK_NS: Final = 86_400 * 10**9


class Envelope:
    """A series of values over time: BINS bins from `origin_ns` on, whose width doubles as time goes on."""

    def __init__(self, origin_ns: int) -> None:
        self.origin_ns = origin_ns
        self.width_ns = _BASE_WIDTH_NS
        self.counts: list[int] = []
        self.sums: list[float] = []
        self.least: list[float] = []
        self.greatest: list[float] = []

    def add(self, at_ns: int, value: float) -> None:
        """Take a value at a time; times before the origin count as the origin."""
        index = max(0, at_ns - self.origin_ns) // self.width_ns
        while index >= BINS:
            self._halve()
            index //= 2
        missing = index + 1 - len(self.counts)
        if missing > 0:
            self.counts += [0] * missing
            self.sums += [0.0] * missing
            self.least += [float("inf")] * missing
            self.greatest += [float("-inf")] * missing
        self.counts[index] += 1
        self.sums[index] += value
        self.least[index] = min(self.least[index], value)
        self.greatest[index] = max(self.greatest[index], value)

    def _halve(self) -> None:
        self.width_ns *= 2
        self.counts = [sum(self.counts[i : i + 2]) for i in range(0, len(self.counts), 2)]
        self.sums = [sum(self.sums[i : i + 2]) for i in range(0, len(self.sums), 2)]
        self.least = [min(self.least[i : i + 2]) for i in range(0, len(self.least), 2)]
        self.greatest = [max(self.greatest[i : i + 2]) for i in range(0, len(self.greatest), 2)]

    def as_json(self, start_ns: int) -> dict[str, Any]:
        """Return the series with times in ms from `start_ns`; a bin without values has None as least and greatest."""
        filled = [count > 0 for count in self.counts]
        return {
            "start_ms": round((self.origin_ns - start_ns) / 1e6, 3),
            "width_ms": self.width_ns / 1e6,
            "count": self.counts,
            "mean": [_round(s / c) if c else None for s, c in zip(self.sums, self.counts, strict=True)],
            "least": [_round(v) if ok else None for v, ok in zip(self.least, filled, strict=True)],
            "greatest": [_round(v) if ok else None for v, ok in zip(self.greatest, filled, strict=True)],
        }


class _Stage:
    """What one stage did: its durations in ms over time, and how often it named which topic."""

    def __init__(self, origin_ns: int) -> None:
        self.durations = Envelope(origin_ns)
        self.inputs: Counter[str] = Counter()
        self.outputs: Counter[str] = Counter()


class SeriesCollector(Observer):
    """Watches an audit and keeps its series. All of it is the auditor's word: none of it is signed by the robot."""

    def __init__(self) -> None:
        self._origin_ns: int | None = None
        self._stages: dict[str, _Stage] = {}
        self._other_stages = 0
        self._latency: Envelope | None = None
        self._findings: dict[Severity, Envelope] = {}
        self._untimed: Counter[Severity] = Counter()
        self._decision_levels: dict[str, Counter[str]] = {axis: Counter() for axis in AXES}
        self._chain_levels: dict[str, Counter[str]] = {axis: Counter() for axis in AXES}

    def inference(self, inference: Inference) -> None:
        """Count an inference: its duration, and the topics that it read and wrote."""
        statement = inference.attestation.statement
        stage = self._stages.get(statement.stage)
        if stage is None:
            if len(self._stages) >= _MAX_STAGES:
                self._other_stages += 1
                return
            stage = self._stages[statement.stage] = _Stage(self._origin(inference.received_ns))
        stage.durations.add(inference.received_ns, statement.duration_ns / 1e6)
        for counter, references in ((stage.inputs, statement.inputs), (stage.outputs, statement.outputs)):
            for topic in {reference.topic for reference in references}:
                if topic in counter or len(counter) < _MAX_TOPICS:
                    counter[topic] += 1

    def decision(self, inference: Inference) -> None:
        """Count a decision: its latency from sensor to command, its levels, and the lowest of its chain."""
        levels = levels_of(inference)
        lowest = inference.chain_levels or _lowest(inference)
        for axis in AXES:
            self._decision_levels[axis][levels[axis]] += 1
            self._chain_levels[axis][lowest[axis]] += 1
        if not inference.linked or inference.origin_ns is None:
            return
        statement = inference.attestation.statement
        latency_ns = statement.start_ns + statement.duration_ns - inference.origin_ns
        if abs(latency_ns) > _SAME_CLOCK_NS:
            return
        if self._latency is None:
            self._latency = Envelope(self._origin(inference.received_ns))
        self._latency.add(inference.received_ns, latency_ns / 1e6)

    def finding(self, finding: Finding) -> None:
        """Count a finding at its time."""
        if not finding.received_ns:
            self._untimed[finding.severity] += 1
            return
        series = self._findings.get(finding.severity)
        if series is None:
            series = self._findings[finding.severity] = Envelope(self._origin(finding.received_ns))
        series.add(finding.received_ns, 1.0)

    def as_json(self, start_ns: int) -> dict[str, Any]:
        """Return everything, with times in ms from `start_ns`, the recording's start."""
        return {
            "stages": {
                name: {
                    "duration_ms": stage.durations.as_json(start_ns),
                    "inputs": dict(stage.inputs),
                    "outputs": dict(stage.outputs),
                }
                for name, stage in sorted(self._stages.items())
            },
            "stages_not_shown": self._other_stages,
            "latency_ms": None if self._latency is None else self._latency.as_json(start_ns),
            "findings": {
                severity.name.lower(): {
                    "series": self._findings[severity].as_json(start_ns) if severity in self._findings else None,
                    "untimed": self._untimed[severity],
                }
                for severity in Severity
            },
            "levels": {
                axis: {
                    "order": list(order),
                    "decision": {level: self._decision_levels[axis][level] for level in order},
                    "chain": {level: self._chain_levels[axis][level] for level in order},
                }
                for axis, order in AXES.items()
            },
        }

    def _origin(self, at_ns: int) -> int:
        """Return the one origin of all series: the time of the first thing seen."""
        if self._origin_ns is None:
            self._origin_ns = at_ns
        return self._origin_ns


def _lowest(decision: Inference) -> Mapping[str, str]:
    """Return the lowest level of a chain on each axis."""
    chain = [levels_of(inference) for inference in chain_of(decision)]
    return {axis: min((levels[axis] for levels in chain), key=order.index) for axis, order in AXES.items()}


def _round(value: float) -> float:
    return round(value, 4)
