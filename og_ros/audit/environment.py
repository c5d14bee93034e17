"""The environment of a signing key over a span of time, as its evidence shows it, and what drifts away from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from og_ros.attest import Statement
from og_ros.attest.statement import NO_DIGEST
from og_ros.evidence.appraisal import Appraisal, Provenance, Tier
from og_ros.evidence.interface import Evidence
from og_ros.registry import Admission
from og_ros.registry.certificate import ADMITTED_LEVELS
from og_ros.registry.timestamp import format_time, show_time

ALWAYS_NS: Final = 2**62
SOFTWARE_LEVEL: Final = "software_key"
# Claims of a measured environment that attestations are held against: the digests (hex) that it was measured with.
MODELS_CLAIM: Final = "models"
PROCESSING_CLAIM: Final = "processing"


@dataclass(frozen=True, slots=True)
class Environment:
    """What one piece of evidence shows of a key, for what is signed from `since_ns` to `until_ns`.

    `level` is that on the axis execution_environment; evidence that supports none shows no more than its absence does,
    and `refusal` says why. `contradicts`: it is bound to the key, and speaks against its environment. `appraisal` is
    None where the registry keeps the verdict of an authority: then `certifier` is its name. `models` and `processing`
    are the digests (hex) of what was measured, None where the evidence does not say.
    """

    level: str
    format: str
    provenance: str
    since_ns: int
    until_ns: int
    verified_at_ns: int
    refusal: str = ""
    appraisal: Appraisal | None = None
    certifier: str = ""
    contradicts: bool = False
    models: frozenset[str] | None = None
    processing: frozenset[str] | None = None

    def covers(self, at_ns: int) -> bool:
        """Return whether it says anything of a time."""
        return self.since_ns <= at_ns <= self.until_ns

    def shows_as(self, other: Environment) -> bool:
        """Return whether it shows the same as another, but for the time."""
        mine = (self.level, self.format, self.provenance, self.refusal, self.certifier, self.models, self.processing)
        return mine == (
            other.level, other.format, other.provenance, other.refusal, other.certifier, other.models, other.processing
        )  # fmt: skip

    def describe(self) -> str:
        """Return it in one line, for a person."""
        text = f"{self.format} evidence of {show_time(self.verified_at_ns)}, key in {place_of(self.provenance)}"
        if self.refusal:
            return f"{text}, supports no level: {self.refusal}"
        if self.certifier:
            return f"{text}, appraised by {self.certifier} when it certified the key, and not here"
        return f"{text}, appraised as {self._tier()}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for the report."""
        appraisal = self.appraisal
        return {
            "level": self.level,
            "format": self.format,
            "key_provenance": self.provenance,
            "tier": self._tier(),
            "verified_at": format_time(self.verified_at_ns),
            "valid_until": format_time(self.until_ns) if self.until_ns < ALWAYS_NS else None,
            "admitted_by": self.certifier or None,
            "reasons": [
                {"code": reason.code, "tier": reason.tier.name.lower(), "message": reason.message}
                for reason in (appraisal.reasons if appraisal is not None else ())
            ],
            "not_checked": list(appraisal.not_checked) if appraisal is not None else [],
            "policy": appraisal.policy if appraisal is not None else "",
            "verifier": appraisal.verifier if appraisal is not None else "",
        }

    def _tier(self) -> str:
        """Return the tier of the TEE or, without one, of the platform."""
        if self.appraisal is None:
            return Tier.NONE.name.lower()
        tee = self.appraisal.status("tee")
        return (tee if tee is not Tier.NONE else self.appraisal.status("platform")).name.lower()


def environment_of(appraisal: Appraisal, evidence: Evidence, skew_ns: int) -> Environment:
    """Return the environment that an appraisal shows; `skew_ns` is how far clocks may be apart."""
    level = appraisal.level()
    refused = level not in ADMITTED_LEVELS
    return Environment(
        level=SOFTWARE_LEVEL if refused else level,
        format=evidence.format,
        provenance=str(appraisal.claims.get("key_provenance", ""))[:64],
        since_ns=evidence.collected_at_ns - skew_ns,
        until_ns=appraisal.valid_until_ns,
        verified_at_ns=appraisal.verified_at_ns,
        refusal=_refusal(appraisal) if refused else "",
        appraisal=appraisal,
        contradicts=bool(appraisal.claims.get("key_bound", True)) and _speaks_against(appraisal),
        models=None if refused else _digests(appraisal, MODELS_CLAIM),
        processing=None if refused else _digests(appraisal, PROCESSING_CLAIM),
    )


def _speaks_against(appraisal: Appraisal) -> bool:
    return any(reason.tier is Tier.CONTRAINDICATED for reason in appraisal.reasons)


def _refusal(appraisal: Appraisal) -> str:
    """Return why evidence shows nothing: what speaks against it or, where nothing does, what is missing."""
    against = "; ".join(reason.message for reason in appraisal.reasons)
    return against or "; ".join(appraisal.not_checked) or "it supports no level"


def admitted_environment(admission: Admission, certifier: str, until_ns: int | None, skew_ns: int) -> Environment:
    """Return the environment that an authority saw when it certified a key; it counts as long as the certificate."""
    return Environment(
        level=admission.level,
        format=admission.format,
        provenance=admission.provenance,
        since_ns=admission.verified_at_ns - skew_ns,
        until_ns=ALWAYS_NS if until_ns is None else until_ns,
        verified_at_ns=admission.verified_at_ns,
        certifier=certifier,
    )


def drift(statement: Statement, environment: Environment) -> Iterator[str]:
    """Yield, as the end of a sentence, what a statement names and its measured environment does not hold."""
    model, processing = statement.model.digest.hex(), statement.runtime.processing_digest.hex()
    named = statement.model.digest != NO_DIGEST  # a source or a witness may name none
    if environment.models is not None and named and model not in environment.models:
        yield f"model {statement.model.name} ({model[:16]}) is not one that its environment was measured with"
    if environment.processing is not None and processing not in environment.processing:
        yield f"pre- and post-processing {processing[:16]} is not what its environment was measured with"


def _digests(appraisal: Appraisal, claim: str) -> frozenset[str] | None:
    found = appraisal.claims.get(claim)
    return frozenset(str(item) for item in found) if isinstance(found, (list, tuple)) else None


def place_of(provenance: str) -> str:
    """Return in words where a key lives."""
    return {
        Provenance.SOFTWARE: "a file, or the memory of a process",
        Provenance.TOKEN: "a PKCS#11 token",
        Provenance.TPM_QUOTED: "the memory of a process that a TPM measured",
        Provenance.TPM_RESIDENT: "a TPM",
        Provenance.TEE: "a trusted execution environment",
    }.get(provenance, "an unknown place")
