"""Every attack of the suite: one named case each, in files by what is attacked, gathered in CASES."""

from attack_cases import (
    clocks,
    data,
    evidence,
    identities,
    links,
    log,
    malformed,
    policies,
    recording,
    reexecution,
    registry,
    sessions,
    signatures,
    sources,
    witnesses,
)
from attack_cases.case import CASES, Attack, Who

__all__ = [
    "CASES",
    "Attack",
    "Who",
    "clocks",
    "data",
    "evidence",
    "identities",
    "links",
    "log",
    "malformed",
    "policies",
    "recording",
    "reexecution",
    "registry",
    "sessions",
    "signatures",
    "sources",
    "witnesses",
]
