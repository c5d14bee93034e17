"""The result of an appraisal: AR4SI trust vectors, claims, reasons, and what was not checked.

After draft-ietf-rats-ar4si (trustworthiness claims and tiers) and draft-ietf-rats-ear (one submodule for each of
platform, TEE and inference). There is no single score: a status is the worst of its own vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final


class Tier(IntEnum):
    """AR4SI's tiers; the worst of several is not the highest number: NONE says nothing and lies between 2 and 32."""

    NONE = 0
    AFFIRMING = 2
    WARNING = 32
    CONTRAINDICATED = 96


_WORST_FIRST: Final = (Tier.CONTRAINDICATED, Tier.WARNING, Tier.NONE, Tier.AFFIRMING)


def worst(tiers: list[Tier]) -> Tier:
    """Return the worst tier; NONE of no tiers: missing evidence is none, never affirming."""
    return next((tier for tier in _WORST_FIRST if tier in tiers), Tier.NONE)


class Provenance:
    """Where a key lives, as far as the evidence shows: values of the claim `key_provenance`."""

    SOFTWARE: Final = "software"
    TOKEN: Final = "pkcs11-token"
    TPM_QUOTED: Final = "tpm-quoted"
    TPM_RESIDENT: Final = "tpm-resident"
    TEE: Final = "tee"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that a check found: a fixed code for programs and policies, and a sentence for people."""

    code: str
    message: str
    tier: Tier = Tier.CONTRAINDICATED


@dataclass(frozen=True)
class Appraisal:
    """What a verifier found about one piece of evidence.

    Attributes:
        format: of the evidence: software, tpm2-quote, aws-nitro, tdx, sgx, sev-snp, or a plug-in's.
        key: SPKI DER of the key that the evidence was appraised for.
        submodules: of platform, tee and inference, each its AR4SI vector: claim (instance_identity, configuration,
            executables, file_system, hardware, runtime_opaque, storage_opaque, sourced_data) to tier. Absent: none.
        claims: what the evidence says, as JSON: measurements, TCB status, key_provenance, debug …
        reasons: what speaks against it, each with its tier; empty when nothing does.
        not_checked: what a relying party might expect to have been checked and was not, a sentence each.
        verified_at_ns: the time it was judged at (wall, ns).
        valid_until_ns: when it must be renewed; never after the certificates and collateral behind it.
        policy: SHA-256 of the appraisal policy used, hex.
        verifier: name and version of the program that judged.
    """

    format: str
    key: bytes
    submodules: Mapping[str, Mapping[str, Tier]]
    claims: Mapping[str, Any]
    reasons: tuple[Reason, ...]
    not_checked: tuple[str, ...]
    verified_at_ns: int
    valid_until_ns: int
    policy: str
    verifier: str
    cap: Tier = field(default=Tier.AFFIRMING)
    """The best that the platform's status may be: WARNING for swtpm and for test roots."""

    def status(self, submodule: str) -> Tier:
        """Return the status of a submodule: the worst of its vector, of the reasons and of the cap; NONE if absent."""
        vector = self.submodules.get(submodule)
        if not vector:
            return Tier.NONE
        return worst([*vector.values(), *(reason.tier for reason in self.reasons), self.cap])

    @property
    def accepted(self) -> bool:
        """Whether nothing contraindicates it and the platform or the TEE says something."""
        tiers = [self.status(name) for name in ("platform", "tee")]
        return Tier.CONTRAINDICATED not in tiers and any(t in (Tier.AFFIRMING, Tier.WARNING) for t in tiers)

    def level(self) -> str:
        """Return the level on the axis execution_environment that it supports: none, software_key, measured or tee.

        A verifier names it in the claim `level` once all that the level stands for was checked; no claim, no level.
        """
        if any(reason.tier is Tier.CONTRAINDICATED for reason in self.reasons):
            return "none"
        if self.format == "software":
            return "software_key"
        return str(self.claims.get("level", "none")) if self.accepted else "none"
