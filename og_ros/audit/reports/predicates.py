"""Predicates over a report: what a run did, with the figures behind each answer. No field's mere presence is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from og_ros.audit.families import FAMILY_OF
from og_ros.audit.levels import AXES, reaches

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """Whether a predicate holds for a run, and the figures that say so, in a few words."""

    holds: bool
    because: str


@dataclass(frozen=True)
class Predicate:
    """A named question to a report.

    `asks` says what it is about; `limit` what its number means, empty where it takes none; `default` is that number
    where a profile gives none, None where it must.
    """

    asks: str
    ask: Callable[[Report, float], Answer]
    limit: str = ""
    default: float | None = None


def _decisions_recorded(report: Report, _: float) -> Answer:
    return Answer(
        report["decisions"] > 0,
        f"{report['decisions']} decisions in {report['attestations']} attestations over {report['duration_s']:g} s",
    )


def _decisions_linked(report: Report, least: float) -> Answer:
    decisions, linked = report["decisions"], report["linked"]
    enough = decisions > 0 and linked / decisions >= least
    return Answer(enough, f"{linked} of {decisions} decisions; {least:.1%} are needed")


def _signed_by_certified_keys(report: Report, _: float) -> Answer:
    return _level(report, "inference_authenticity", "signed", ("keys",), ("signature_invalid", "overclaimed"))


def _models_certified(report: Report, _: float) -> Answer:
    return _level(report, "model_integrity", "certified", ("models",), ("session_changed",))


def _models_reexecuted(report: Report, _: float) -> Answer:
    return _level(report, "model_integrity", "re-executed", ("models", "reexecution"))


def _sample_reexecuted(report: Report, most: float) -> Answer:
    ran = report.get("reexecution")
    if not report["attestations"] or not ran or not ran["selected"] or ran["not_reproduced_share_at_most"] is None:
        return Answer(False, "no model was run again")
    found = _found(report, ("reexecution", "models"))
    share = ran["not_reproduced_share_at_most"]
    figures = (
        f"{ran['selected']} of {ran['population']} inferences were run again: at most {share:.2%} of all may differ, "
        f"at {ran['confidence']:.0%} confidence; {most:.2%} may"
    )
    return Answer(share <= most and not found, found or figures)


def _environment_measured(report: Report, _: float) -> Answer:
    return _level(report, "execution_environment", "measured", ("keys",))


def _data_in_clear(report: Report, _: float) -> Answer:
    return _level(report, "disclosure", "clear", (), ("digest_not_checked",))


def _log_covers_all(report: Report, _: float) -> Answer:
    log = report["log"]
    if log is None:
        return Answer(False, "no log that holds was read")
    if log["checkpointed"] < log["size"]:
        return Answer(False, f"{log['size'] - log['checkpointed']} of {log['size']} leaves are under no checkpoint")
    return _level(report, "settlement", "logged", ("log",), except_for=("only_in_log",))


def _log_witnessed(report: Report, _: float) -> Answer:
    return _level(report, "settlement", "witnessed", ("log",), except_for=("only_in_log",))


def _sessions_without_gaps(report: Report, _: float) -> Answer:
    found = _found(report, ("sessions",), except_for=("clock_disagrees", "clock_went_back", "session_joined_late"))
    return Answer(
        report["attestations"] > 0 and not found,
        found or f"{report['attestations']} attestations, each after the one before it",
    )


def _sessions_from_their_start(report: Report, _: float) -> Answer:
    answer = _sessions_without_gaps(report, 0)
    late = report["finding_counts"].get("session_joined_late", 0)
    return Answer(False, f"session_joined_late {late}") if answer.holds and late else answer


def _messages_accounted(report: Report, most: float) -> Answer:
    topics = report["topics"]
    found = _found(report, ("data",), except_for=("recording_edge", "output_not_recorded", "input_not_recorded"))
    found = found or _found(report, ("records",), except_for=("mode_downgraded",))
    if found or not topics:
        return Answer(False, found or "no topic was checked")
    absent = sorted(name for name, topic in topics.items() if not topic["messages"])
    if absent:
        return Answer(False, f"{len(absent)} of {len(topics)} topics were not recorded")
    share = max(t["missing"] / max(t["messages"], t["references"], 1) for t in topics.values())
    return Answer(share <= most, f"at most {share:.2%} of a topic's records lack their counterpart; {most:.2%} may")


def _clock_checked(report: Report, _: float) -> Answer:
    found = _found(report, (), ("clock_disagrees", "clock_went_back", "cause_after_effect"))
    return Answer(
        report["attestations"] > 0 and not found, found or f"{report['attestations']} signing times fit their arrival"
    )


def _latency_bounded(report: Report, most: float) -> Answer:
    latency = report["chain_latency_ms"]
    if latency is None:
        return Answer(False, "no decision has a time from sensor to command")
    found = _found(report, (), ("latency_exceeds_policy",))
    figures = f"at most {latency['max']:g} ms; {most:g} ms are allowed"
    return Answer(latency["max"] <= most and not found, found or figures)


def _policy_met(report: Report, _: float) -> Answer:
    if policy_digest(report) is None:
        return Answer(False, "no policy was given")
    found = _found(report, ("policy",), except_for=("decision_unlinked",))
    return Answer(report["attestations"] > 0 and not found, found or "every demand of the policy was met")


PREDICATES: Final[Mapping[str, Predicate]] = MappingProxyType(
    {
        "decisions_recorded": Predicate("At least one decision was recorded.", _decisions_recorded),
        "decisions_linked": Predicate(
            "Decisions were traced back to recorded sensor messages.", _decisions_linked, "least share, 0 to 1", 1.0
        ),
        "signed_by_certified_keys": Predicate(
            "Every attestation is signed by a key that the registry certifies for it.", _signed_by_certified_keys
        ),
        "models_certified": Predicate(
            "Every attestation names a model that the registry certifies, the same one throughout a session.",
            _models_certified,
        ),
        "models_reexecuted": Predicate("Every output was made again by the certified model.", _models_reexecuted),
        "sample_reexecuted": Predicate(
            "A sample of the outputs was made again by the certified models, so that few others can differ.",
            _sample_reexecuted, "greatest share that may differ, 0 to 1", 0.05,
        ),
        "environment_measured": Predicate(
            "Every key is bound to a measured environment (TPM or better).", _environment_measured
        ),
        "data_in_clear": Predicate("Every input and output can be read in clear.", _data_in_clear),
        "log_covers_all": Predicate(
            "Every attestation is a leaf of a certified log, under a signed checkpoint.", _log_covers_all
        ),
        "log_witnessed": Predicate("A witness cosigned the log's checkpoints.", _log_witnessed),
        "sessions_without_gaps": Predicate(
            "No attestation is missing, doubled or out of order in its session.", _sessions_without_gaps
        ),
        "sessions_from_their_start": Predicate(
            "The same, and every session was recorded from its first attestation on.", _sessions_from_their_start
        ),
        "messages_accounted": Predicate(
            "Recorded messages and attestations match, on every topic that an attestation names.",
            _messages_accounted, "greatest share without counterpart, 0 to 1", 0.0,
        ),
        "clock_checked": Predicate("Signing times fit times of arrival, and no clock went back.", _clock_checked),
        "latency_bounded": Predicate(
            "No decision took longer from sensor to command.", _latency_bounded, "greatest time in ms"
        ),
        "policy_met": Predicate("A policy was given, and every demand of it was met.", _policy_met),
    }
)  # fmt: skip
"""Every predicate by name."""


def policy_digest(report: Report) -> str | None:
    """Return the SHA-256 of a report's policy in hex, or None where there was none."""
    policy = report["policy"]
    digest: str | None = policy["digest"] if isinstance(policy, Mapping) else policy
    return digest


def _level(
    report: Report,
    axis: str,
    least: str,
    families: Iterable[str],
    kinds: Iterable[str] = (),
    except_for: Iterable[str] = (),
) -> Answer:
    """Answer whether every attestation reaches a level, and nothing was found that speaks against it."""
    lowest = report["levels"][axis]["lowest"]
    found = _found(report, families, kinds, except_for)
    if lowest is None or not report["attestations"]:
        return Answer(False, "no attestation was counted")
    # A level that this version does not know reaches nothing.
    holds = lowest in AXES[axis] and reaches(axis, lowest, least)
    return Answer(holds and not found, found or f"the lowest {axis.replace('_', ' ')} is {lowest}; {least} is needed")


def _found(report: Report, families: Iterable[str], kinds: Iterable[str] = (), except_for: Iterable[str] = ()) -> str:
    """Return the findings of some families and kinds, of any severity, with their counts; empty where there is none."""
    wanted = {*(kind for kind, family in FAMILY_OF.items() if family in families), *kinds} - {*except_for}
    return ", ".join(f"{kind} {count}" for kind, count in report["finding_counts"].items() if count and kind in wanted)
