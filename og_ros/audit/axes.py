"""The axes on which an audit measures, each with its levels in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# Each axis with its levels, lowest first.
AXES: Final[dict[str, tuple[str, ...]]] = {
    "model_integrity": ("unknown", "claimed", "certified", "re-executed", "proven"),
    "inference_authenticity": ("none", "observed", "signed", "tee", "re-executed", "zk"),
    "data_provenance": ("unlinked", "linked", "signed_at_source"),
    "execution_environment": ("none", "software_key", "measured", "tee"),
    "settlement": ("none", "logged", "witnessed", "submitted", "included", "final"),
    "disclosure": ("absent", "committed", "clear"),
}

LOWEST: Final[Mapping[str, str]] = {axis: levels[0] for axis, levels in AXES.items()}
"""The levels of what could not be checked at all."""

_RANK: Final = {axis: {level: rank for rank, level in enumerate(levels)} for axis, levels in AXES.items()}


def lower(axis: str, levels: Iterable[str]) -> str:
    """Return the lowest of some levels of an axis."""
    return min(levels, key=_RANK[axis].__getitem__)


def reaches(axis: str, level: str, minimum: str) -> bool:
    """Return whether a level is at or above a minimum on its axis."""
    rank = _RANK[axis]
    return rank[level] >= rank[minimum]


def below(axis: str, minimum: str) -> frozenset[str]:
    """Return the levels of an axis that do not reach a minimum."""
    return frozenset(AXES[axis][: _RANK[axis][minimum]])
