"""Exhibits: which decisions of a run are shown with all their evidence, and what that evidence is.

An audit of a million decisions cannot hand over a million chains. An observer of the audit chooses a bounded number:
decisions with findings, the first and the last, the slowest, and an even sample over time. It copies their chains when
they are judged, since a streaming audit forgets them. What the choice then lacks (message bytes, proofs, certificates)
is fetched by `og_ros.audit.reports.exhibit_sources`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from og_ros.attest import Attestation
from og_ros.audit.findings import Finding
from og_ros.audit.levels import levels_of
from og_ros.audit.observer import Observer
from og_ros.audit.records import Inference

MAX_CHAIN: Final = 32
_MAX_NOTED: Final = 4000
_SAME_CLOCK_NS: Final = 86_400 * 10**9
# What the kinds of findings say against a record's signature or model, where the record itself was not kept.
_AGAINST_KEY: Final = ("signature_", "unregistered_key", "key_")
_AGAINST_MODEL: Final = ("model_", "processing_not_certified")


@dataclass(frozen=True)
class Budget:
    """How much is shown: decisions in all, those with findings among them, the slowest, and bytes of messages."""

    decisions: int = 200
    with_findings: int = 80
    slowest: int = 8
    alike: int = 6
    payload_bytes: int = 24 * 2**20


@dataclass(frozen=True)
class ChainRecord:
    """One attestation of a chain, where it arrived, and what the audit found of it (None: not checked, or not known).

    `levels` are its levels by axis at the time when its decision was judged; empty where they are not known.
    """

    attestation: Attestation
    topic: str
    received_ns: int
    signed: bool | None = None
    certified: bool | None = None
    logged: bool | None = None
    linked: bool | None = None
    levels: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> bytes:
        """The attestation's digest: SHA-256 of its COSE_Sign1 bytes."""
        return self.attestation.digest


@dataclass(frozen=True)
class Decision:
    """A decision to show: its chain (the decision's own record first), why it was chosen, and its latency in ns.

    `reasons` are of: finding, first, last, slowest, sample. `latency_ns` is the time from the oldest sensor stamp to
    the end of the inference; None where it has none.
    """

    chain: tuple[ChainRecord, ...]
    reasons: tuple[str, ...]
    latency_ns: int | None = None

    @property
    def record(self) -> ChainRecord:
        """The decision's own record."""
        return self.chain[0]


class ExhibitCollector(Observer):
    """Watches an audit and keeps the chains of the decisions that are worth showing."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.total = 0
        self._noted: dict[bytes, list[Finding]] = {}
        self._noted_alike: Counter[tuple[str, str]] = Counter()
        self._kept: dict[bytes, ChainRecord] = {}
        self._with_findings: dict[bytes, Decision] = {}
        self._alike: Counter[tuple[str, str]] = Counter()
        self._first: list[Decision] = []
        self._last: Decision | None = None
        self._slowest: list[tuple[int, int, Decision]] = []
        self._sample: list[Decision] = []
        self._stride = 1

    def finding(self, finding: Finding) -> None:
        """Remember the first findings of each kind and stage that name a record."""
        alike = (finding.kind, finding.stage)
        known = finding.record in self._noted
        if not finding.record or (len(self._noted) >= _MAX_NOTED and not known):
            return
        if known or self._noted_alike[alike] < 4 * self.budget.alike:
            self._noted_alike[alike] += 1
            self._noted.setdefault(finding.record, []).append(finding)

    def inference(self, inference: Inference) -> None:
        """Keep a record that something was found about while it was checked."""
        if inference.attestation.digest in self._noted:
            self._kept[inference.attestation.digest] = _record(inference)

    def decision(self, inference: Inference) -> None:
        """Copy the chain of a decision that belongs to the choice so far."""
        self.total += 1
        latency = _latency(inference)
        decision = Decision(tuple(_record(i) for i in chain_of(inference)), (), latency)
        self._last = decision
        if len(self._first) < 1:
            self._first.append(decision)
        if self._noted:
            self._choose_by_findings(decision)
        if latency is not None:
            item = (latency, -self.total, decision)
            if len(self._slowest) < self.budget.slowest:
                heapq.heappush(self._slowest, item)
            elif item > self._slowest[0]:
                heapq.heapreplace(self._slowest, item)
        if (self.total - 1) % self._stride == 0:
            self._sample.append(decision)
            if len(self._sample) > self.budget.decisions:
                # Every second one, so that the sample stays even over time however long the run gets.
                self._sample = self._sample[::2]
                self._stride *= 2

    def _choose_by_findings(self, decision: Decision) -> None:
        kinds = {(f.kind, f.stage) for record in decision.chain for f in self._noted.get(record.digest, ())}
        new = [kind for kind in kinds if self._alike[kind] < self.budget.alike]
        if new and len(self._with_findings) < self.budget.with_findings:
            self._alike.update(new)
            self._with_findings[decision.record.digest] = decision

    def chosen(self) -> list[Decision]:
        """Return the choice, the most worth showing first: findings, first, last, slowest, then the sample."""
        found: dict[bytes, Decision] = {}

        def add(decision: Decision, reason: str) -> None:
            known = found.get(decision.record.digest)
            if known is not None:
                found[decision.record.digest] = replace(known, reasons=(*known.reasons, reason))
            elif len(found) < self.budget.decisions:
                found[decision.record.digest] = replace(decision, reasons=(reason,))

        for decision in self._with_findings.values():
            add(decision, "finding")
        for decision in self._first:
            add(decision, "first")
        if self._last is not None:
            add(self._last, "last")
        for _, _, decision in sorted(self._slowest, reverse=True):
            add(decision, "slowest")
        for decision in _evenly(self._sample, self.budget.decisions - len(found)):
            add(decision, "sample")
        return list(found.values())

    def records_without_decision(self, chosen: list[Decision]) -> list[Finding | ChainRecord]:
        """Return what findings name and no chosen chain shows: the record where it was kept, else the finding."""
        shown = {record.digest for decision in chosen for record in decision.chain}
        left: list[Finding | ChainRecord] = []
        alike: Counter[tuple[str, str]] = Counter()
        for digest, findings in self._noted.items():
            if digest in shown or len(left) >= self.budget.with_findings:
                continue
            new = [f for f in findings if alike[(f.kind, f.stage)] < self.budget.alike]
            if new:
                alike.update((f.kind, f.stage) for f in new)
                left.append(self._kept.get(digest) or new[0])
        return left

    def facts_of(self, digest: bytes) -> tuple[bool | None, bool | None]:
        """Return what findings say of a record's signature and model: (signed, certified), None where nothing."""
        kinds = [finding.kind for finding in self._noted.get(digest, ())]
        signed = False if any(kind.startswith(_AGAINST_KEY) for kind in kinds) else None
        certified = False if any(kind.startswith(_AGAINST_MODEL) for kind in kinds) else None
        return signed, certified


def chain_of(decision: Inference) -> Iterator[Inference]:
    """Yield a decision and the inferences behind it, nearest first, at most MAX_CHAIN.

    An input that a stage made itself (its own last output) is the run's history and not followed.
    """
    seen = {id(decision)}
    waiting = [decision]
    for inference in waiting:
        yield inference
        for source in inference.sources:
            if source is None or source.stage == inference.stage or id(source) in seen or len(waiting) >= MAX_CHAIN:
                continue
            seen.add(id(source))
            waiting.append(source)


def _record(inference: Inference) -> ChainRecord:
    return ChainRecord(
        inference.attestation,
        inference.topic,
        inference.received_ns,
        inference.signed,
        inference.certified,
        inference.logged,
        inference.linked,
        levels_of(inference),
    )


def _latency(inference: Inference) -> int | None:
    """Return the time from sensor to command in ns; None where the stamps are of another clock."""
    if not inference.linked or inference.origin_ns is None:
        return None
    statement = inference.attestation.statement
    latency = statement.start_ns + statement.duration_ns - inference.origin_ns
    return latency if abs(latency) <= _SAME_CLOCK_NS else None


def _evenly(items: list[Decision], count: int) -> list[Decision]:
    """Return at most `count` items, spread evenly."""
    if count <= 0:
        return []
    step = max(1, -(-len(items) // count))
    return items[::step]
