"""Levels: how far each claim about an inference is backed by evidence, axis by axis, never as one score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from og_ros.attest import Disclosure, Mode
from og_ros.audit.records import Inference

# Each axis with its levels, lowest first.
AXES: Final[dict[str, tuple[str, ...]]] = {
    "model_integrity": ("unknown", "claimed", "certified", "re-executed", "proven"),
    "inference_authenticity": ("none", "observed", "signed", "tee", "re-executed", "zk"),
    "data_provenance": ("unlinked", "linked", "signed_at_source"),
    "execution_environment": ("none", "software_key", "measured", "tee"),
    "settlement": ("none", "logged", "witnessed", "submitted", "included", "final"),
    "disclosure": ("absent", "committed", "clear"),
}

_DISCLOSURE: Final = {Disclosure.CLEAR: "clear", Disclosure.COMMITTED: "committed", Disclosure.ABSENT: "absent"}


def levels_of(inference: Inference) -> dict[str, str]:
    """Compute an inference's level on each axis from what its checks gave; nothing is taken from its own words."""
    statement = inference.attestation.statement
    signed = inference.signed is True
    authenticity = "none"
    if signed:
        authenticity = "observed" if statement.mode_used == Mode.OBSERVED else "signed"
    model = ("certified" if inference.certified else "claimed") if signed else "unknown"
    least_shown = max(reference.disclosure for reference in (*statement.inputs, *statement.outputs))
    return {
        "model_integrity": model,
        "inference_authenticity": authenticity,
        "data_provenance": "linked" if inference.linked else "unlinked",
        "execution_environment": "software_key" if signed else "none",
        "settlement": "logged" if inference.logged else "none",
        "disclosure": _DISCLOSURE[least_shown],
    }


class LevelTally:
    """Counts levels over a run: for each axis the lowest, and how many inferences had which."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = {axis: Counter() for axis in AXES}
        self._by_stage: dict[str, dict[str, str]] = {}

    def add(self, stage: str, levels: dict[str, str]) -> None:
        """Count one inference."""
        lowest = self._by_stage.setdefault(stage, dict(levels))
        for axis, level in levels.items():
            self._counts[axis][level] += 1
            lowest[axis] = lower(axis, (lowest[axis], level))

    def by_stage(self) -> dict[str, dict[str, str]]:
        """Return the lowest level of each stage on each axis."""
        return self._by_stage

    def as_json(self) -> dict[str, Any]:
        """Return, for each axis, the lowest level (None when nothing was counted), the counts, and it by stage."""
        return {
            axis: {
                "lowest": lower(axis, counts) if counts else None,
                "counts": {level: counts[level] for level in AXES[axis] if counts[level]},
                "stages": {stage: levels[axis] for stage, levels in sorted(self._by_stage.items())},
            }
            for axis, counts in self._counts.items()
        }


def lower(axis: str, levels: Iterable[str]) -> str:
    """Return the lowest of some levels of an axis."""
    order = AXES[axis]
    return min(levels, key=order.index)


def reaches(axis: str, level: str, minimum: str) -> bool:
    """Return whether a level is at or above a minimum on its axis."""
    order = AXES[axis]
    return order.index(level) >= order.index(minimum)
