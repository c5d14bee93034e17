"""Levels: how far each claim about an inference is backed by evidence, axis by axis, never as one score."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, Final

from og_ros.attest import Disclosure, Mode, Statement
from og_ros.audit.axes import AXES, LOWEST, lower, reaches
from og_ros.audit.reasons import Facts, Reason, explain
from og_ros.audit.records import Inference
from og_ros.registry.rules import names_no_model

__all__ = [
    "AXES",
    "LOWEST",
    "LevelTally",
    "chain_levels",
    "is_downgraded",
    "levels_of",
    "lower",
    "overclaim",
    "reaches",
    "weakest",
]

_DISCLOSURE: Final = {Disclosure.CLEAR: "clear", Disclosure.COMMITTED: "committed", Disclosure.ABSENT: "absent"}
# Weakest first; a mode above SIGNED needs evidence beside the signature.
_MODE_RANK: Final = {Mode.OBSERVED: 0, Mode.SIGNED: 1, Mode.TEE: 2, Mode.ZK: 3}


def levels_of(inference: Inference) -> Mapping[str, str]:
    """Compute an inference's level on each axis from what its checks gave; nothing is taken from its own words.

    Inferences of the same levels share one mapping: it is not to be changed.
    """
    statement = inference.attestation.statement
    return _levels(
        inference.signed is True and not inference.broken,
        statement.mode_used is Mode.OBSERVED or inference.key_role == "observer",
        inference.certified is True,
        names_no_model(statement),
        inference.reexecuted,
        inference.linked,
        inference.sourced,
        (inference.settled or "logged") if inference.logged is True else "none",
        _least_shown(statement, inference.disclosed),
        inference.environment.level if inference.environment is not None else "software_key",
    )


@cache
def _levels(
    signed: bool,
    observed: bool,
    certified: bool,
    modelless: bool,
    reexecuted: bool | None,
    linked: bool,
    sourced: bool,
    settlement: str,
    shown: Disclosure,
    environment: str,
) -> Mapping[str, str]:
    model, authenticity = "unknown", "none"
    if signed:
        authenticity = "observed" if observed else "signed"
        if environment == "tee" and not observed and reexecuted is not False:
            authenticity = "tee"
        # A certificate stands for bytes. Where running them gave another output, they did not make this one.
        model = "certified" if certified and reexecuted is not False else "claimed"
    if observed and model == "certified":
        model = "claimed"  # whoever looks on from outside does not see which bytes were loaded
    if modelless:
        model = "unknown"
    if signed and reexecuted and not observed:
        authenticity = "re-executed"
        model = "re-executed" if certified else "claimed"
    return {
        "model_integrity": model,
        "inference_authenticity": authenticity,
        "data_provenance": "unlinked" if not linked else "signed_at_source" if sourced else "linked",
        "execution_environment": environment if signed else "none",
        "settlement": settlement,
        "disclosure": _DISCLOSURE[shown],
    }


def _least_shown(statement: Statement, disclosed: frozenset[tuple[str, int]]) -> Disclosure:
    """Return how the least visible input or output is shown; a commitment that was revealed counts as clear."""
    worst = Disclosure.CLEAR
    for side, references in (("inputs", statement.inputs), ("outputs", statement.outputs)):
        for index, reference in enumerate(references):
            shown = reference.disclosure
            if shown > worst and not (shown is Disclosure.COMMITTED and (side, index) in disclosed):
                worst = shown
    return worst


def chain_levels(own: Mapping[str, str], sources: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """Return the lowest level on each axis over an inference and the chains behind it.

    `sources` holds the chain levels of each attested source; give LOWEST for one whose chain is not known. Inputs that
    no stage attests have none: whether they were recorded is in `data_provenance` of the inference itself.
    """
    lowest = own
    for source in sources:
        if source is not lowest and source != lowest:
            lowest = _lower_of(tuple(map(lowest.__getitem__, AXES)), tuple(map(source.__getitem__, AXES)))
    return lowest


@lru_cache(maxsize=4096)
def _lower_of(one: tuple[str, ...], other: tuple[str, ...]) -> Mapping[str, str]:
    return {axis: lower(axis, pair) for axis, *pair in zip(AXES, one, other, strict=True)}


def weakest(inference: Inference) -> dict[str, Inference]:
    """Return, for each axis, the inference nearest to a decision that has the lowest level of its chain.

    Where `sources` were cut before that inference was met, the lowest that can still be seen stands for it.
    """
    found: dict[str, tuple[str, Inference]] = {}
    goal = inference.chain_levels or LOWEST
    waiting, met = deque([inference]), {id(inference)}
    while waiting:
        one = waiting.popleft()
        for axis, level in levels_of(one).items():
            if one.attestation.statement.is_source and one is not inference:
                continue  # it runs nothing; what it is worth is in `data_provenance` of who read it
            if axis not in found or not reaches(axis, level, found[axis][0]):
                found[axis] = (level, one)
        if all(level == goal[axis] for axis, (level, _) in found.items()):
            break
        for source in one.sources:
            if source is not None and id(source) not in met:
                met.add(id(source))
                waiting.append(source)
    return {axis: one for axis, (_, one) in found.items()}


def overclaim(statement: Statement, key_role: str = "") -> str:
    """Return what a record claims above its evidence, as the end of a sentence; empty when it claims nothing so.

    A signature backs the modes SIGNED and OBSERVED. What backs TEE is evidence of the key, beside the record: see
    og_ros.audit.environments. Nothing backs more yet. Whoever was asked to observe, or has a key that is certified
    (`key_role`) for nothing else, and says that it ran the model, has nothing but its word for it.
    """
    used, requested = statement.mode_used, statement.mode_requested
    if _MODE_RANK[used] > _MODE_RANK[Mode.TEE]:
        return f"claims mode {used.name.lower()}, but no evidence of it was found"
    if used is Mode.SIGNED and requested is Mode.OBSERVED:
        return "claims to have run the model (mode signed), but was asked to observe only"
    if used is Mode.SIGNED and key_role == "observer":
        return "claims to have run the model (mode signed), but its key is certified to observe only"
    return ""


def is_downgraded(statement: Statement) -> bool:
    """Return whether a record says that a weaker mode was used than was asked for."""
    return _MODE_RANK[statement.mode_used] < _MODE_RANK[statement.mode_requested]


class LevelTally:
    """Counts levels over a run, of inferences and of decisions, and keeps for each stage why its lowest is so low."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {axis: Counter() for axis in AXES}
        self._decisions: dict[str, Counter[str]] = {axis: Counter() for axis in AXES}
        self._by_stage: dict[str, dict[str, str]] = {}
        self._facts: dict[str, dict[str, Facts]] = {}

    def add(
        self,
        stage: str | None,
        levels: Mapping[str, str],
        facts: Callable[[], Facts] | None = None,
        *,
        source: bool = False,
    ) -> None:
        """Count one inference; `facts` is called only where it is the first of its stage to be so low on an axis.

        A record of a `source` is no inference: it is shown with the stages, and counted nowhere else. One whose stage
        is not listed (None) is only counted.
        """
        if not source:
            for axis, level in levels.items():
                self._counts[axis][level] += 1
        if stage is None:
            return
        lowest = self._by_stage.get(stage)
        if lowest is None:
            lowest = self._by_stage[stage] = dict(levels)
            self._keep(stage, AXES, facts)
        for axis, level in levels.items():
            if level != lowest[axis] and not reaches(axis, level, lowest[axis]):
                lowest[axis] = level
                self._keep(stage, (axis,), facts)

    def add_decision(self, levels: Mapping[str, str]) -> None:
        """Count one decision by the levels of its whole chain."""
        for axis, level in levels.items():
            self._decisions[axis][level] += 1

    def merge(self, other: LevelTally) -> None:
        """Add what another tally counted, as of another part of the run."""
        for axis in AXES:
            self._counts[axis] += other._counts[axis]
            self._decisions[axis] += other._decisions[axis]
        for stage, levels in other._by_stage.items():
            lowest = self._by_stage.setdefault(stage, dict(levels))
            kept = self._facts.setdefault(stage, {})
            for axis, facts in other._facts.get(stage, {}).items():
                if axis not in kept or not reaches(axis, levels[axis], lowest[axis]):
                    kept[axis] = facts
            for axis, level in levels.items():
                lowest[axis] = lower(axis, (lowest[axis], level))

    def by_stage(self) -> dict[str, dict[str, str]]:
        """Return the lowest level of each stage on each axis."""
        return self._by_stage

    def reasons(self) -> dict[str, dict[str, Reason]]:
        """Return, for each stage and axis, why its lowest level is what it is, where facts were given."""
        return {
            stage: {axis: explain(axis, self._by_stage[stage][axis], facts) for axis, facts in by_axis.items()}
            for stage, by_axis in sorted(self._facts.items())
        }

    def as_json(self) -> dict[str, Any]:
        """Return, for each axis, the lowest level (None when nothing was counted), the counts, and it by stage.

        `decisions` holds the lowest and the counts over whole chains, `reasons` why a stage's lowest is what it is.
        """
        reasons = self.reasons()
        return {
            axis: {
                **_summary(axis, self._counts[axis]),
                "stages": {stage: levels[axis] for stage, levels in sorted(self._by_stage.items())},
                "decisions": _summary(axis, self._decisions[axis]),
                "reasons": {stage: by_axis[axis].as_json() for stage, by_axis in reasons.items() if axis in by_axis},
            }
            for axis in AXES
        }

    def _keep(self, stage: str, axes: Iterable[str], facts: Callable[[], Facts] | None) -> None:
        if facts is not None:
            self._facts.setdefault(stage, {}).update(dict.fromkeys(axes, facts()))


def _summary(axis: str, counts: Counter[str]) -> dict[str, Any]:
    return {
        "lowest": lower(axis, counts) if counts else None,
        "counts": {level: counts[level] for level in AXES[axis] if counts[level]},
    }
