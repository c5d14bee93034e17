"""Regulation profiles: data files that say, clause by clause, which behaviour of a run supports it, and how far."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.audit.families import FAMILIES, FAMILY_OF
from og_ros.audit.reports.predicates import PREDICATES
from og_ros.errors import ConfigError
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

VERSION: Final = 1
FOLDER: Final = Path(__file__).with_name("profiles")
ALL: Final = "all"
MAX_QUOTE: Final = 160
_CLAUSE_ID: Final = re.compile(r"[A-Za-z0-9.()-]{1,40}", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9-]{1,60}", re.ASCII)


class Strength(IntEnum):
    """How far a run supports a clause; no strength says that anything complies with it."""

    NONE = 0
    WEAK = 1
    PARTIAL = 2
    SUBSTANTIAL = 3

    @property
    def meaning(self) -> str:
        """What the strength says, in a sentence."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Strength.NONE: "Nothing in this run supports the clause.",
    Strength.WEAK: "The run shows something that the clause builds on, or its evidence rests on unchecked ground.",
    Strength.PARTIAL: "The run shows a part of what the clause asks for, for the time of the recording.",
    Strength.SUBSTANTIAL: "The run shows most of what a recording can show for the clause, for its own time.",
}


@dataclass(frozen=True)
class Condition:
    """A predicate that must hold, with its number."""

    predicate: str
    limit: float

    def __str__(self) -> str:
        return f"{self.predicate} {self.limit:g}" if PREDICATES[self.predicate].limit else self.predicate


@dataclass(frozen=True)
class Support:
    """What must hold for each strength, as "predicate" or "predicate NUMBER"; a higher one needs the lower ones too."""

    weak: tuple[str, ...] = ()
    partial: tuple[str, ...] = ()
    substantial: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for strength, texts in self.texts.items():
            for text in texts:
                read_condition(text, strength.name.lower())

    @property
    def texts(self) -> dict[Strength, tuple[str, ...]]:
        """The conditions of each strength that has any, as they are written."""
        rungs = {
            Strength.WEAK: self.weak,
            Strength.PARTIAL: self.partial,
            Strength.SUBSTANTIAL: self.substantial,
        }
        return {strength: texts for strength, texts in rungs.items() if texts}

    @property
    def rungs(self) -> dict[Strength, tuple[Condition, ...]]:
        """The conditions of each strength that has any, lowest first."""
        return {s: tuple(read_condition(text, s.name.lower()) for text in texts) for s, texts in self.texts.items()}


@dataclass(frozen=True)
class Clause:
    """A clause: what it asks for in our words, where it stands, what would support it, and what no run can show.

    `text_read` says whether whoever wrote the profile read the clause's own text, at `source`; only then may it be
    quoted. `contradicted_by` names the findings (kinds or families, or "all") in whose presence a run supports nothing.
    """

    title: str
    asks: str
    text_read: bool
    source: str
    cannot_show: tuple[str, ...]
    shows: str = ""
    quote: str = ""
    contradicted_by: tuple[str, ...] = (ALL,)
    support: Support = field(default_factory=Support)

    def __post_init__(self) -> None:
        if not self.source.startswith("https://"):
            raise ConfigError("source must be an https:// address: where the text can be read")
        if self.quote and not self.text_read:
            raise ConfigError("quote is given for a text that was not read; set text_read only if it was")
        if len(self.quote) > MAX_QUOTE:
            raise ConfigError(f"quote has {len(self.quote)} characters; quote at most {MAX_QUOTE}")
        if not self.cannot_show:
            raise ConfigError("cannot_show is empty; every clause asks for something that no recording shows")
        if self.support.texts and not self.shows:
            raise ConfigError("shows is missing: what the run shows where the support holds")
        for name in self.contradicted_by:
            if name not in (ALL, *FAMILIES, *FAMILY_OF):
                raise ConfigError(
                    f"contradicted_by has {name!r}, which is no kind of finding; a family is one of "
                    f"{', '.join(FAMILIES)}, or all"
                )


@dataclass(frozen=True)
class Profile:
    """A profile: clauses by their number. `digest` is the SHA-256 of its file, in hex."""

    version: int
    name: str
    title: str
    regulation: str
    clauses: Mapping[str, Clause]
    notes: tuple[str, ...] = ()
    digest: str = ""

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ConfigError(f"version is {self.version}; it must be {VERSION}")
        if not _NAME.fullmatch(self.name):
            raise ConfigError("name must have 1 to 60 of the characters a-z 0-9 -")
        if not self.clauses:
            raise ConfigError("clauses is empty")
        for number in self.clauses:
            if not _CLAUSE_ID.fullmatch(number):
                raise ConfigError(f"clauses has the number {number[:60]!a}; use A-Z a-z 0-9 . ( ) - only, at most 40")


def builtin_profiles() -> list[str]:
    """Return the names of the profiles that come with og_ros."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_profile(name: str | Path) -> Profile:
    """Read a profile by its name, or from a file; raises ConfigError, naming file, line and field."""
    own = FOLDER / f"{name}.yaml"
    path = own if str(name) in builtin_profiles() else Path(name)
    if not path.exists() and isinstance(name, str) and "/" not in name and not name.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"there is no profile {name[:80]!a}; there are {', '.join(builtin_profiles())}, or give a file's path"
        )
    file = YamlFile(path)
    try:
        if "digest" in file.data:
            raise ConfigError("digest is not known; it is computed")
        return build(Profile, {**file.data, "digest": sha256(path.read_bytes()).hexdigest()})
    except ConfigError as error:
        raise file.error(error) from error


def read_condition(text: str, where: str = "condition") -> Condition:
    """Read "predicate" or "predicate NUMBER"; raises ConfigError, its message beginning with `where`."""
    name, _, number = text.strip().partition(" ")
    predicate = PREDICATES.get(name)
    if predicate is None:
        raise ConfigError(f"{where} names {name[:60]!a}, which is no predicate; there are {', '.join(PREDICATES)}")
    if not number:
        if predicate.limit and predicate.default is None:
            raise ConfigError(f"{where} needs a number after {name}: {predicate.limit}")
        return Condition(name, predicate.default or 0.0)
    if not predicate.limit:
        raise ConfigError(f"{where} has a number after {name}, which takes none")
    if not re.fullmatch(r"\d{1,12}(\.\d{1,12})?", number.strip(), re.ASCII):
        raise ConfigError(f"{where} has {number[:40]!a} after {name}; give {predicate.limit}")
    limit = float(number)
    if predicate.default is not None and not 0 <= limit <= 1:
        raise ConfigError(f"{where} has {limit:g} after {name}; give {predicate.limit}")
    return Condition(name, limit)
