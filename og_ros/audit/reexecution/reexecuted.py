"""What running one recorded inference again showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Outcome(str, Enum):
    """What running an inference again showed."""

    REPRODUCED = "reproduced"
    WITHIN_TOLERANCE = "reproduced_within_tolerance"
    UNAVAILABLE = "unavailable"
    DIFFERS = "differs"

    @property
    def badness(self) -> int:
        """Its place among the outcomes, the best first."""
        return list(Outcome).index(self)


@dataclass(frozen=True)
class Reexecution:
    """The outcome for one inference.

    Attributes:
        outcome: see Outcome. REPRODUCED means bit for bit, whether that was demanded or not.
        detail: for DIFFERS what differs and by how much, for UNAVAILABLE the reason; empty otherwise.
        unlike: what differs between the machine that attested and this one, so that bit-exactness is not demanded.
        errors: the largest distance of two numbers, by output topic; only where bytes differed.
    """

    outcome: Outcome
    detail: str = ""
    unlike: tuple[str, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "outcome": self.outcome.value,
            "detail": self.detail,
            "unlike": list(self.unlike),
            "errors": dict(self.errors),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reexecution:
        """Read what `as_json` gave; raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        return cls(
            Outcome(data["outcome"]),
            str(data["detail"]),
            tuple(map(str, data["unlike"])),
            {str(topic): float(error) for topic, error in data["errors"].items()},
        )


def unavailable(reason: str) -> Reexecution:
    """Return the outcome of an inference that could not be run again."""
    return Reexecution(Outcome.UNAVAILABLE, reason)
