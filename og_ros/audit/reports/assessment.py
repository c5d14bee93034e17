"""Assesses a run against a regulation profile: which evidence supports each clause, how far, and what it cannot show.

Rules that no profile can loosen: an empty record, and one whose signatures were not checked, support nothing; a finding
that contradicts a clause leaves it unsupported; unchecked ground (a registry that nobody pinned, a clause whose text
was not read, violations elsewhere in the run) supports weakly at most; keys in software support partially at most.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from og_ros.audit.families import OTHER, family_of, violations
from og_ros.audit.levels import AXES, reaches
from og_ros.audit.reports.plain_text import visible
from og_ros.audit.reports.predicates import PREDICATES
from og_ros.audit.reports.regulation import ALL, Clause, Condition, Profile, Strength
from og_ros.audit.reports.report_file import report_digest

STANDING: Final = (
    "This maps evidence of one recording to clauses. It makes no legal claim: it does not say that anything complies "
    "with anything, and who must decide that needs more than a recording."
)


@dataclass(frozen=True)
class Check:
    """A condition of a strength, whether it holds for the run, and why."""

    strength: Strength
    condition: Condition
    holds: bool
    because: str


@dataclass(frozen=True)
class ClauseResult:
    """What a run is worth for a clause.

    `contradicted_by` are the violations that leave it unsupported, with their counts; `limited_by` says what kept the
    strength lower than its conditions alone would give.
    """

    number: str
    clause: Clause
    strength: Strength
    checks: tuple[Check, ...]
    contradicted_by: Mapping[str, int]
    limited_by: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "clause": self.number,
            "title": self.clause.title,
            "asks": self.clause.asks,
            "quote": self.clause.quote,
            "text_read": self.clause.text_read,
            "source": self.clause.source,
            "strength": self.strength.name.lower(),
            "shows": self.clause.shows if self.strength else "",
            "checks": [
                {
                    "strength": check.strength.name.lower(),
                    "condition": str(check.condition),
                    "asks": PREDICATES[check.condition.predicate].asks,
                    "holds": check.holds,
                    "because": check.because,
                }
                for check in self.checks
            ],
            "contradicted_by": dict(self.contradicted_by),
            "limited_by": list(self.limited_by),
            "cannot_show": list(self.clause.cannot_show),
        }


@dataclass(frozen=True)
class Assessment:
    """A run held against a profile."""

    profile: Profile
    recording: str
    verdict: str
    report_digest: str
    clauses: tuple[ClauseResult, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "profile": self.profile.name,
            "profile_digest": self.profile.digest,
            "title": self.profile.title,
            "regulation": self.profile.regulation,
            "notes": list(self.profile.notes),
            "recording": self.recording,
            "verdict": self.verdict,
            "report_sha256": self.report_digest,
            "standing": STANDING,
            "strengths": {strength.name.lower(): strength.meaning for strength in Strength},
            "clauses": [result.as_json() for result in self.clauses],
        }


def assess(profile: Profile, report: Mapping[str, Any]) -> Assessment:
    """Hold a run against a profile; `report` is what `Report.as_json` or `load_report` gives."""
    return Assessment(
        profile=profile,
        recording=report["recording"],
        verdict=report["verdict"],
        report_digest=report_digest(report).hex(),
        clauses=tuple(_assess(number, clause, report) for number, clause in profile.clauses.items()),
    )


def _assess(number: str, clause: Clause, report: Mapping[str, Any]) -> ClauseResult:
    checks = tuple(
        Check(strength, condition, answer.holds, answer.because)
        for strength, conditions in clause.support.rungs.items()
        for condition in conditions
        for answer in [PREDICATES[condition.predicate].ask(report, condition.limit)]
    )
    reached = Strength.NONE
    for strength in clause.support.texts:
        if not all(check.holds for check in checks if check.strength == strength):
            break
        reached = strength
    contradictions = {kind: n for kind, n in violations(report).items() if _contradicts(kind, clause)}
    limits = list(_limits(clause, report, contradictions))
    strength = min([reached, *(limit for limit, _ in limits)])
    return ClauseResult(
        number, clause, strength, checks, contradictions, tuple(why for limit, why in limits if limit < reached)
    )


def _contradicts(kind: str, clause: Clause) -> bool:
    """Return whether a violation contradicts a clause; one of a kind that this version does not know always does."""
    family = family_of(kind)
    return family == OTHER or not {ALL, family, kind}.isdisjoint(clause.contradicted_by)


def _limits(
    clause: Clause, report: Mapping[str, Any], contradictions: Mapping[str, int]
) -> Iterator[tuple[Strength, str]]:
    """Yield what limits a clause's strength, whatever its conditions say."""
    if not report["attestations"] or not report["decisions"]:
        yield Strength.NONE, "the record is empty: no decision was recorded"
    elif report["registry"] is None or report["verdict"] == "not_checked":
        yield Strength.NONE, "the recording could not be checked, so anybody could have made it"
    if contradictions:
        yield Strength.NONE, f"violations contradict it: {_counted(contradictions)}"
    elsewhere = {kind: n for kind, n in violations(report).items() if kind not in contradictions}
    if elsewhere:
        yield Strength.WEAK, f"the run has violations elsewhere: {_counted(elsewhere)}"
    if report["registry"] is not None and not report["registry"]["pinned"]:
        yield Strength.WEAK, "nobody pinned the registry's root, so whoever made the recording could have made it too"
    if not clause.text_read:
        yield Strength.WEAK, "whoever wrote the profile has not read the clause's own text"
    axis = "execution_environment"
    environment = report["levels"][axis]["lowest"]
    if environment not in AXES[axis] or not reaches(axis, environment, "measured"):
        yield Strength.PARTIAL, "a key is in software: whoever read its file could sign, on any machine"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def render(assessment: Assessment, width: int = 100) -> str:
    """Return an assessment as plain text for a terminal, folded at `width` columns."""
    profile = assessment.profile
    head = f"{profile.title}: the recording {visible(assessment.recording)}, verdict {assessment.verdict}"
    lines = [*textwrap.wrap(head, width), *textwrap.wrap(STANDING, width)]
    for note in profile.notes:
        lines += textwrap.wrap(f"Note: {note}", width)
    for result in assessment.clauses:
        lines += ["", *_render(result, width)]
    lines += ["", *(f"{strength.name.lower():<12} {strength.meaning}" for strength in Strength)]
    return "\n".join(lines)


def _render(result: ClauseResult, width: int) -> Iterator[str]:
    clause = result.clause

    def folded(mark: str, text: str) -> list[str]:
        return textwrap.wrap(visible(text), width, initial_indent=mark, subsequent_indent=" " * len(mark))

    yield f"{result.number}  {clause.title}: {result.strength.name.lower()}"
    yield from folded("    asks: ", clause.asks)
    if not clause.text_read:
        yield "    the text of this clause was not read; this is what others say of it"
    if result.strength:
        yield from folded("    shows: ", clause.shows)
    for check in result.checks:
        state = "holds" if check.holds else "does not hold"
        yield from folded(f"    {check.strength.name.lower():<11} ", f"{check.condition} {state}: {check.because}")
    if not result.checks:
        yield "    nothing that og_ros records today would support it"
    for why in result.limited_by:
        yield from folded("    limited: ", why)
    if result.contradicted_by and not any("contradict" in why for why in result.limited_by):
        yield from folded("    contradicted by: ", _counted(result.contradicted_by))
    for gap in clause.cannot_show:
        yield from folded("    cannot show: ", gap)
