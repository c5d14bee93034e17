"""Evidence for tests of what becomes of an appraisal: a platform that a few lines of Python imitate, and its verifier.

What verifiers themselves must refuse is tested on real documents in test/evidence. Here a document is what the tests
say that its platform signed.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any
from unittest import mock

from scenario import MODELS, Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.records import Record
from og_ros.evidence.appraisal import Appraisal, Reason, Tier
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.message import EVIDENCE_TYPE, EvidenceMessage, encode_message, evidence_topic
from og_ros.evidence.software import SoftwareAttester

HOUR_NS = 3600 * 10**9
OUTPUTS = {"perception": "/perception/line", "planning": "/planning/reference", "control": "/wheel_command"}


class MadeVerifier:
    """Believes a document if its binding is right and it is not too old; `level` and `claims` are as it says."""

    format = "made"

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        said = json.loads(evidence.document)
        reasons = [Reason(code, f"it says {code}", Tier.CONTRAINDICATED) for code in said["against"]]
        expected = binding(evidence.format, evidence.nonce, evidence.key, evidence.context)
        if said["binding"] != expected.hex():
            reasons.append(Reason("not_bound", "it is bound to another key"))
        if now_ns - said["made_ns"] > policy.max_age_s * 1e9:
            reasons.append(Reason("too_old", "it is too old"))
        tier = Tier.CONTRAINDICATED if reasons else Tier.AFFIRMING
        return Appraisal(
            format=evidence.format,
            key=evidence.key,
            submodules={"tee": {"hardware": tier, "executables": tier}},
            claims={"level": said["level"], "key_provenance": said["level"], **said["claims"]},
            reasons=tuple(reasons),
            not_checked=("whether the tests tell the truth",),
            verified_at_ns=now_ns,
            valid_until_ns=now_ns + int(said["valid_s"] * 1e9),
            policy="00" * 32,
            verifier="made 1",
        )


def made(
    run: Run,
    stage: str,
    at_ns: int,
    *,
    level: str = "tee",
    against: tuple[str, ...] = (),
    valid_s: float = 3600.0,
    **claims: Any,
) -> Evidence:
    """Return evidence of a stage's key, collected at a time; `models` are its own unless given."""
    key, context, nonce = keys.spki(run.signers[stage].public_key), Context(run.robot, stage), os.urandom(32)
    said = {
        "binding": binding("made", nonce, key, context).hex(), "level": level, "against": against, "made_ns": at_ns,
        "valid_s": valid_s, "claims": {"models": [MODELS[stage].hex()], **claims},
    }  # fmt: skip
    return Evidence("made", json.dumps(said).encode(), key, nonce, context, at_ns)


def software(signer: SoftwareSigner, robot: str, stage: str, at_ns: int) -> Evidence:
    """Return software evidence of a key as its attester would have made it at a time."""
    with mock.patch("og_ros.evidence.software.time.time_ns", return_value=at_ns):
        return SoftwareAttester(signer).attest(keys.spki(signer.public_key), bytes(32), Context(robot, stage))


def publish(run: Run, evidence: Evidence, stage: str, at_ns: int, node: str = "") -> Record:
    """Put evidence into a run's records, on a stage's topic, where its time of arrival belongs; returns the record."""
    payload = encode_message(EvidenceMessage(evidence, node or f"/{stage}"))
    record = Record(evidence_topic(f"{OUTPUTS[stage]}/attestation"), EVIDENCE_TYPE, payload, at_ns)
    run.records.append(record)
    run.records.sort(key=lambda one: one.received_ns)
    return record


def with_evidence(run: Run, level: str = "tee", **changes: Any) -> Run:
    """Give each stage of a run evidence, a second before its first message."""
    at_ns = run.records[0].received_ns - 10**9
    for stage in run.signers:
        publish(run, made(run, stage, at_ns, level=level, **changes), stage, at_ns)
    return run


def claiming(evidence: Evidence, **changes: Any) -> Evidence:
    """Return evidence with other words around the same document."""
    return replace(evidence, **changes)
