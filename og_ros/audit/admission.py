"""Admission: whether the evidence that comes with a key is good enough for a policy, before the key is certified."""

from __future__ import annotations

import json
from hashlib import sha256

from og_ros.attest import keys
from og_ros.audit.axes import AXES, reaches
from og_ros.audit.policy import Policy
from og_ros.errors import EvidenceError
from og_ros.evidence import ear
from og_ros.evidence.appraisal import Tier
from og_ros.evidence.interface import Evidence, verifier
from og_ros.registry import Admission
from og_ros.registry.certificate import ADMITTED_LEVELS

_AXIS = "execution_environment"


def demanded(policy: Policy, stage: str) -> str:
    """Return the least level on execution_environment that a policy demands of a stage, the lowest where none."""
    return policy.stage(stage).levels.get(_AXIS, AXES[_AXIS][0])


def needs_evidence(policy: Policy, stage: str) -> bool:
    """Return whether a bare key cannot meet what a policy demands of a stage."""
    return not reaches(_AXIS, "software_key", demanded(policy, stage))


def admit(
    evidence: Evidence, policy: Policy, public_key: keys.PublicKey, robot: str, stage: str, now_ns: int
) -> tuple[Admission, bytes]:
    """Appraise evidence of a key that is to be certified for a stage of a robot.

    Returns what the certificate is to say, and the result (EAR, JSON) whose SHA-256 it names. Raises EvidenceError with
    the reasons where the evidence is of another key, is refused, or shows less than the policy demands.
    """
    if policy.evidence is None:
        raise EvidenceError("the policy has no section `evidence`, so there is nothing to hold evidence against")
    context = evidence.context
    if evidence.key != keys.spki(public_key):
        raise EvidenceError("the evidence is of another key than the one to be certified")
    if (context.robot, context.stage) != (robot, stage):
        whose = f"stage {context.stage} of robot {context.robot}"
        raise EvidenceError(f"the evidence was made for {whose}, not for stage {stage} of robot {robot}")
    found = verifier(evidence.format).appraise(evidence, policy.evidence, now_ns)
    against = [f"{r.code}: {r.message}" for r in found.reasons if r.tier is Tier.CONTRAINDICATED]
    if against:
        raise EvidenceError(f"the {evidence.format} evidence is refused: {'; '.join(against)}")
    level, least = found.level(), demanded(policy, stage)
    if level not in ADMITTED_LEVELS or not reaches(_AXIS, level, least):
        missing = "; ".join(found.not_checked)
        raise EvidenceError(
            f"the {evidence.format} evidence shows the level {level}, and {max(least, 'software_key', key=_rank)} is "
            f"needed; not checked: {missing or 'nothing'}"
        )
    result = json.dumps(ear.to_claims(found), sort_keys=True, indent=2).encode()
    admission = Admission(
        format=found.format,
        level=level,
        provenance=str(found.claims.get("key_provenance", "not-known")),
        verified_at_ns=found.verified_at_ns,
        valid_until_ns=found.valid_until_ns,
        policy=bytes.fromhex(found.policy),
        result=sha256(result).digest(),
        verifier=found.verifier,
    )
    return admission, result


def _rank(level: str) -> int:
    return AXES[_AXIS].index(level)
