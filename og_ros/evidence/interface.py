"""Attester and Verifier, what passes between them, and how formats are found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal
from og_ros.evidence.binding import Context

GROUP: Final = "og_ros.evidence_verifiers"
"""Entry point group: the name is the format, the object a Verifier."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence as it travels: its format, the platform's document, and what the document was made for.

    `key` (SPKI DER), `nonce` and `context` are the attester's word until a verifier has found them in the document.
    """

    format: str
    document: bytes
    key: bytes
    nonce: bytes
    context: Context
    collected_at_ns: int


@dataclass(frozen=True)
class AppraisalPolicy:
    """What a relying party trusts; pure data, read from YAML, and named in the result by its digest.

    Attributes:
        roots: trust anchors, DER certificates, by name; none: the verifier's built-in roots of the vendors.
        test_roots: names of `roots` that are worth no more than `warning`.
        reference_values: what is expected, by format: the values and their meaning are the verifier's.
        collateral: what must be fetched beside a document (TCB info, CRLs, certificates), by name, as bytes.
        max_age_s, max_skew_s: how old a document may be, and how far ahead of `now`.
        nonce: what the relying party asked with; None: it did not ask, and freshness is on the document's time.
    """

    roots: Mapping[str, bytes] = field(default_factory=dict)
    test_roots: frozenset[str] = frozenset()
    reference_values: Mapping[str, Any] = field(default_factory=dict)
    collateral: Mapping[str, bytes] = field(default_factory=dict)
    max_age_s: float = 300.0
    max_skew_s: float = 60.0
    nonce: bytes | None = None


class Attester(Protocol):
    """Makes evidence on a platform. `attest` raises EvidenceError and says what the platform answered."""

    @property
    def format(self) -> str: ...

    def available(self) -> str:
        """Why it cannot attest here; empty when it can."""

    def attest(self, key: bytes, nonce: bytes, context: Context) -> Evidence:
        """Make evidence that binds a key (SPKI DER), a nonce (16 to 64 bytes) and a context."""


class Verifier(Protocol):
    """Appraises evidence of one format; pure: everything that it knows is in its arguments."""

    @property
    def format(self) -> str: ...

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge; a document that is malformed is contraindicated with the reason `malformed`, and raises nothing."""


@cache
def verifier(evidence_format: str) -> Verifier:
    """Return the verifier of a format, a plug-in's too; raises EvidenceError where there is none."""
    found = [point for point in entry_points(group=GROUP) if point.name == evidence_format]
    if not found:
        raise EvidenceError(f"there is no verifier for evidence of format {evidence_format!r}")
    if len(found) > 1:
        raise EvidenceError(f"several packages bring a verifier for {evidence_format!r}; remove all but one")
    loaded: Verifier = found[0].load()
    return loaded
