"""Counts what running inferences again showed, by stage, and says what the sample proves of the whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from og_ros.attest import Statement
from og_ros.audit.findings import Finding
from og_ros.audit.reexecution.confidence import LEVEL, bad_at_most
from og_ros.audit.reexecution.reexecuted import Outcome, Reexecution

# So many different reasons of a stage are kept apart; the rest are counted together.
_KEPT_REASONS: Final = 20
_OTHER: Final = "other reasons"


@dataclass
class StageCount:
    """What was seen of one stage.

    Attributes:
        population: inferences of the stage in the recording.
        outcomes: how many that were run again, or should have been, had which outcome.
        unavailable: why some could not be run again.
        unlike: why bit-exactness was not demanded; `inexact` counts those inferences.
        errors: the largest distance of two numbers, by output topic.
    """

    population: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    unavailable: Counter[str] = field(default_factory=Counter)
    unlike: Counter[str] = field(default_factory=Counter)
    inexact: int = 0
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def selected(self) -> int:
        """Inferences that the sample took."""
        return self.outcomes.total()

    @property
    def not_reproduced(self) -> int:
        """Selected inferences whose outputs were not had again: they differ, or could not be run."""
        return self.outcomes[Outcome.DIFFERS] + self.outcomes[Outcome.UNAVAILABLE]

    @property
    def run_again(self) -> int:
        """Selected inferences that could be run again."""
        return self.selected - self.outcomes[Outcome.UNAVAILABLE]

    def add(self, reexecution: Reexecution) -> None:
        """Count one inference."""
        self.outcomes[reexecution.outcome] += 1
        if reexecution.outcome is Outcome.UNAVAILABLE:
            _count(self.unavailable, reexecution.detail, 1)
        elif reexecution.unlike:
            self.inexact += 1
            for reason in reexecution.unlike:
                _count(self.unlike, reason, 1)
        for topic, error in reexecution.errors.items():
            self.errors[topic] = max(error, self.errors.get(topic, 0.0))

    def merge(self, other: StageCount) -> None:
        """Add the counts of another part of the run."""
        self.population += other.population
        self.outcomes.update(other.outcomes)
        for mine, theirs in ((self.unavailable, other.unavailable), (self.unlike, other.unlike)):
            for reason, count in theirs.items():
                _count(mine, reason, count)
        self.inexact += other.inexact
        for topic, error in other.errors.items():
            self.errors[topic] = max(error, self.errors.get(topic, 0.0))

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain data for JSON."""
        return {
            **_shares(self.population, self.selected, self.not_reproduced),
            "run_again": self.run_again,
            "outcomes": {outcome.value: self.outcomes[outcome] for outcome in Outcome},
            "unavailable": dict(self.unavailable.most_common()),
            "bit_exactness_demanded": self.run_again - self.inexact,
            "tolerance_allowed": self.inexact,
            "tolerance_allowed_because": dict(self.unlike.most_common()),
            "largest_errors": {topic: self.errors[topic] for topic in sorted(self.errors)},
        }


@dataclass
class ReexecutionTally:
    """The counts of a run or of a part of it, and of each inference that was run again whether it was reproduced.

    `verdicts` maps the digest of an attestation to whether its outputs were reproduced; what was unavailable is not
    in it. `by_rules` counts the decisions of gates, which no model made: they are no part of the rest. Parts of one
    run, made with one selection, can be merged.
    """

    stages: dict[str, StageCount] = field(default_factory=dict)
    verdicts: dict[bytes, bool] = field(default_factory=dict)
    by_rules: int = 0

    def count(self, statement: Statement) -> None:
        """Count an inference of the run, selected or not."""
        self._stage(statement.stage).population += 1

    def add(self, statement: Statement, attestation_digest: bytes, reexecution: Reexecution) -> None:
        """Count an inference that was selected."""
        self._stage(statement.stage).add(reexecution)
        if reexecution.outcome is not Outcome.UNAVAILABLE:
            self.verdicts[attestation_digest] = reexecution.outcome is not Outcome.DIFFERS

    def merge(self, other: ReexecutionTally) -> None:
        """Add the counts of another part of the run."""
        for name, count in other.stages.items():
            self._stage(name).merge(count)
        self.verdicts.update(other.verdicts)
        self.by_rules += other.by_rules

    def findings(self) -> Iterator[Finding]:
        """Yield a finding for each stage and reason that inferences could not be run again."""
        for name, stage in sorted(self.stages.items()):
            for reason, count in stage.unavailable.most_common():
                yield Finding(
                    "reexecution_unavailable",
                    f"stage {name}: {count} of {stage.selected} sampled inferences could not be run again: {reason}",
                    stage=name,
                )

    def as_json(self) -> dict[str, Any]:
        """Return the counts as plain data for JSON."""
        stages = self.stages.values()
        return {
            **_shares(
                sum(stage.population for stage in stages),
                sum(stage.selected for stage in stages),
                sum(stage.not_reproduced for stage in stages),
            ),
            "confidence": LEVEL,
            "by_rules": self.by_rules,
            "outcomes": {outcome.value: sum(stage.outcomes[outcome] for stage in stages) for outcome in Outcome},
            "stages": {name: stage.as_json() for name, stage in sorted(self.stages.items())},
        }

    def _stage(self, name: str) -> StageCount:
        return self.stages.setdefault(name, StageCount())


def _shares(population: int, selected: int, not_reproduced: int) -> dict[str, Any]:
    """Return the sizes, and the largest share of the run that may not be reproducible, at the confidence LEVEL."""
    at_most = bad_at_most(population, selected, not_reproduced)
    return {
        "population": population,
        "selected": selected,
        "not_reproduced": not_reproduced,
        "not_reproduced_share_at_most": round(at_most / population, 6) if population else None,
    }


def _count(reasons: Counter[str], reason: str, count: int) -> None:
    known = reason in reasons or len(reasons) < _KEPT_REASONS
    reasons[reason if known else _OTHER] += count
