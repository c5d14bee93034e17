"""A case: an attack by name, who makes it, what an audit must say of it, and about which records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from attacker import Attacker

from og_ros.audit.findings import KINDS, Severity
from og_ros.audit.records import Record

# The records that the finding must be about (and no other), or words that its message must hold; None: it has neither.
Accused = Iterable[Record] | str | None


# A record that is not to be believed leaves a gap in its session, and the commands that rest on it without a source.
UNREAD = ("attestation_lost", "decision_unlinked")


class Who(Enum):
    """Who attacks, by what he holds."""

    OUTSIDER = "an outsider on the robot's network, without any key"
    STAGE = "a dishonest stage, with its own valid key"
    INSIDER = "an insider with a valid key of another stage, robot or role"
    THIEF = "a thief with a key that is no longer, or not yet, valid"
    RECORDER = "a dishonest recorder, who edits the recording afterwards"
    LOG = "a dishonest log operator, with the log's key"
    REGISTRY = "whoever hands out the registry, without its authority's key"
    AUTHORITY = "a dishonest registry authority, with its key"


@dataclass(frozen=True)
class Attack:
    """An attack on a recording.

    `finding` is the kind that must be raised, and `besides` the other kinds that may follow from the same act: no
    other may come. `refused` instead is part of the one line with which an audit must refuse to begin. `missing` names
    the rule that an audit lacks to find it; such a case is expected to fail, and fails the suite once it does not.
    """

    name: str
    who: Who
    summary: str
    act: Callable[[Attacker], Accused]
    finding: str = ""
    besides: frozenset[str] = frozenset()
    refused: str = ""
    missing: str = ""

    @property
    def warns(self) -> bool:
        """Whether the finding is but a warning, so that the recording may hold all the same."""
        return self.finding in KINDS and KINDS[self.finding].severity is not Severity.VIOLATION


CASES: dict[str, Attack] = {}


def attack(
    who: Who, finding: str = "", besides: Iterable[str] = (), *, refused: str = "", missing: str = ""
) -> Callable[[Callable[[Attacker], Accused]], Callable[[Attacker], Accused]]:
    """Register a function as an attack: its name is the case's, its docstring what is done."""

    def register(act: Callable[[Attacker], Accused]) -> Callable[[Attacker], Accused]:
        name = act.__name__.replace("_", "-")
        assert name not in CASES, f"two attacks have the name {name}"
        assert (finding == "") != (refused == ""), f"{name} names a finding or a refusal"
        assert {finding, *besides} - {""} <= KINDS.keys() | {missing and finding}, f"{name} names an unknown finding"
        summary = " ".join((act.__doc__ or "").split())
        CASES[name] = Attack(name, who, summary, act, finding, frozenset(besides), refused, missing)
        return act

    return register
