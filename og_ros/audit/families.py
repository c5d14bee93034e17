"""Families of findings: which subject of the audit a kind is about, and whether a report shows that it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from og_ros.audit.findings import KINDS, Severity

# The first kind of each section of KINDS; a section goes on to the next one's first kind.
_FIRST: Final = {
    "no_attestations": "records",
    "unregistered_key": "keys",
    "model_not_certified": "models",
    "chain_broken": "sessions",
    "output_altered": "data",
    "log_invalid": "log",
    "reexecution_differs": "reexecution",
    "stage_missing": "policy",
    "replayed_across_recordings": "fleet",
    "pack_altered": "packs",
    "attestation_missing": "gate",
}
FAMILIES: Final = tuple(_FIRST.values())
"""The subjects of an audit, in the order in which it checks them."""

OTHER: Final = "other"
"""The family of a kind that this version does not know, as a report of a later version may have."""

# Checks that need something beside the recording: the field of the report that says that it was there, and what it is.
_REGISTRY: Final = ("registry", "no registry was given")
_LOG: Final = ("log", "no log was read")
_POLICY: Final = ("policy", "no policy was given")
_ALWAYS: Final = ("", "")
_NEEDS_BY_FAMILY: Final = {
    "keys": _REGISTRY,
    "models": _REGISTRY,
    "log": _LOG,
    "reexecution": ("reexecution", "no model was run again"),
    "policy": _POLICY,
    "fleet": ("recordings", "it takes more than one recording to see it"),
    "packs": ("pack", "no evidence pack was verified"),
    "gate": ("gate", "a gate finds it, while the robot runs"),
}
_NEEDS: Final = {
    "signature_invalid": _REGISTRY,
    "root_not_trusted": _REGISTRY,
    **dict.fromkeys(
        ("settlement_forged", "settlement_differs", "settlement_missing", "settlement_contract_unknown"),
        ("settlement", "no receipts of a chain were given"),
    ),
    **dict.fromkeys(
        ("cosignature_invalid", "witness_forked"), ("witnesses", "no checkpoint has a cosignature that counts")
    ),
    "timestamp_invalid": ("timestamps", "no time stamp was verified"),
    # These have defaults that hold without a policy.
    "loss_exceeds_policy": _ALWAYS,
    "decision_unlinked": _ALWAYS,
}


def _families() -> dict[str, str]:
    found, family = {}, OTHER
    for kind in KINDS:
        family = _FIRST.get(kind, family)
        found[kind] = family
    return found


FAMILY_OF: Final[Mapping[str, str]] = _families()
"""The family of each kind of finding."""


def family_of(kind: str) -> str:
    """Return the family of a kind of finding; OTHER for a kind that this version does not know."""
    return FAMILY_OF.get(kind, OTHER)


def severity_of(kind: str, report: Mapping[str, Any]) -> Severity:
    """Return a kind's severity; for a kind that this version does not know, what the report says, else VIOLATION."""
    if kind in KINDS:
        return KINDS[kind].severity
    named = {f["severity"].upper() for f in report["findings"] if f["kind"] == kind}
    return max((Severity[name] for name in named if name in Severity.__members__), default=Severity.VIOLATION)


def violations(report: Mapping[str, Any]) -> dict[str, int]:
    """Return how often each kind of violation was found, by a report as `Report.as_json` gives it."""
    counts: Mapping[str, int] = report["finding_counts"]
    return {kind: n for kind, n in counts.items() if n and severity_of(kind, report) is Severity.VIOLATION}


def why_not_checked(kind: str, report: Mapping[str, Any]) -> str:
    """Return why the check behind a kind was not made, in a few words; empty where it was made, or found something."""
    if report["finding_counts"].get(kind):
        return ""
    if not report["attestations"] and kind not in ("no_attestations", "malformed_attestation", "recording_incomplete"):
        return "the recording holds no attestation that could be read"
    field, reason = _NEEDS.get(kind) or _NEEDS_BY_FAMILY.get(family_of(kind)) or ("", "")
    return reason if field and report.get(field) is None else ""
