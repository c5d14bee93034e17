"""Audits a recording and holds it against a policy with the judge alone, as a gate or another program would use it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from scenario import Run

from og_ros.audit.judge import Judge, RunTotals, chain_latency
from og_ros.audit.levels import LOWEST, LevelTally, chain_levels, levels_of
from og_ros.audit.observer import Observer
from og_ros.audit.policy import Policy
from og_ros.audit.records import Inference
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry


@dataclass
class Judged(Observer):
    """What was seen: every inference behind a decision once, joined, with its chain's levels; the decisions by name."""

    inferences: dict[bytes, Inference] = field(default_factory=dict)
    decisions: list[bytes] = field(default_factory=list)
    stages: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)

    def inference(self, inference: Inference) -> None:
        self.stages.add(inference.stage)
        self.outputs.update(output.topic for output in inference.attestation.statement.outputs)

    def decision(self, inference: Inference) -> None:
        self.decisions.append(self._take(inference).attestation.digest)

    def _take(self, inference: Inference) -> Inference:
        digest = inference.attestation.digest
        if digest not in self.inferences:
            sources = [None if source is None else self._take(source) for source in inference.sources]
            one = self.inferences[digest] = replace(inference, sources=sources)
            behind = [source.chain_levels or LOWEST for source in sources if source is not None]
            one.chain_levels = chain_levels(levels_of(one), behind)
        return self.inferences[digest]


def see(
    run: Run, directory: Path, *, ledger: bool = True, policy: Policy | None = None
) -> tuple[Judged, Registry, dict[str, tuple[int, int]]]:
    """Write and audit a run; returns what was seen, the registry, and the records of each topic (missing, all)."""
    run.write_registry(directory / "registry")
    run.write_bag(directory / "bag")
    if ledger:
        run.write_ledger(directory / "ledger")
    registry = Registry.open(directory / "registry")
    seen = Judged()
    named = Policy(decisions=policy.decisions if policy else ())
    report = audit_bag(directory / "bag", registry, directory / "ledger" if ledger else None, named, observers=[seen])
    topics = report.as_json()["topics"]
    return seen, registry, {t: (n["missing"], max(n["messages"], n["references"])) for t, n in topics.items()}


def judge(
    seen: Judged,
    registry: Registry | None,
    policy: Policy,
    topics: dict[str, tuple[int, int]] | None = None,
    reexecuted: dict[str, tuple[int, int]] | None = None,
) -> tuple[Counter[str], LevelTally, Judge]:
    """Hold what was seen against a policy; returns how often each kind of finding came, the levels and the judge."""
    found: Counter[str] = Counter()
    tally = LevelTally()
    judging = Judge(policy, registry)
    for inference in seen.inferences.values():
        levels = levels_of(inference)
        tally.add(inference.stage, levels)
        found.update(finding.kind for finding in judging.inference(inference, levels))
    for digest in seen.decisions:
        inference = seen.inferences[digest]
        assert inference.chain_levels is not None
        tally.add_decision(inference.chain_levels)
        latency_ns, _ = chain_latency(inference)
        found.update(f.kind for f in judging.decision(inference, inference.chain_levels, latency_ns))
    totals = RunTotals(seen.stages, seen.outputs, topics or {}, reexecuted=reexecuted or {})
    found.update(finding.kind for finding in judging.run(totals))
    return found, tally, judging
