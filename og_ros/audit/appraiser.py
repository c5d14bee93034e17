"""Appraiser: reads and appraises the evidence of signing keys as it was recorded or received, each message once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from og_ros.audit.findings import Finding
from og_ros.audit.records import Record
from og_ros.errors import EvidenceError
from og_ros.evidence.appraisal import Appraisal, Tier
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier
from og_ros.evidence.message import EvidenceMessage, decode_message
from og_ros.registry import Registry

SOFTWARE: Final = "software"
# So many messages are remembered as appraised; an older one that comes again is appraised again.
_MAX_SEEN: Final = 4096
_LATEST_NS: Final = 2**62
# What a verifier's reason means for an audit; every other one is `evidence_refused`.
_KIND_OF_REASON: Final[Mapping[str, str]] = {
    **dict.fromkeys(("too_old", "from_the_future", "replayed"), "evidence_stale"),
    **dict.fromkeys(("not_bound", "wrong_nonce", "key_not_measured"), "evidence_other_key"),
    **dict.fromkeys(("another_robot", "manifest_of_another_stage"), "evidence_other_robot"),
    **dict.fromkeys(("measurement_mismatch", "manifest_not_allowed", "model_not_allowed"), "environment_drift"),
    # og_ros.evidence.drift
    **dict.fromkeys(
        (
            "python_changed", "image_changed", "environment_changed", "package_version", "package_changed",
            "package_added", "package_missing", "model_changed", "config_changed", "adapter_changed", "og_ros_changed",
            "file_changed",
        ),
        "environment_drift",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Appraised:
    """One piece of evidence that was examined, without its document: on which topic, whose key, and what was found.

    `appraisal` is None where it was not appraised, or is of a key that cannot be the one of whom it names.
    """

    topic: str
    key_id: bytes
    evidence: Evidence
    appraisal: Appraisal | None = None
    findings: tuple[Finding, ...] = ()
    not_checked: tuple[str, ...] = ()


class Appraiser:
    """Appraises messages of EVIDENCE_TYPE under one policy; for one thread at a time.

    Without a policy (None) only `software` is appraised: whoever names no roots and no reference values has nothing to
    hold other evidence against.
    """

    def __init__(self, policy: AppraisalPolicy | None, registry: Registry | None) -> None:
        self._policy, self._registry = policy, registry
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def examine(self, record: Record) -> Appraised | Finding | None:
        """Appraise a message as of its arrival; None where the same bytes were appraised before."""
        name = sha256(record.payload).digest()
        if name in self._seen:
            return None
        self._seen[name] = None
        if len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)
        try:
            message = decode_message(record.payload)
        except EvidenceError as error:
            text = f"malformed: {error}"
            return Finding("evidence_refused", text, topic=record.topic, received_ns=record.received_ns)
        evidence = message.evidence
        examined = Appraised(record.topic, message.key_id, replace(evidence, document=b""))
        stranger = self._stranger(message)
        if stranger is not None:
            kind, text = stranger
            return replace(examined, findings=(_finding(message, record, kind, text),))
        who = f"{evidence.format} evidence of stage {evidence.context.stage}"
        if self._policy is None and evidence.format != SOFTWARE:
            return replace(examined, not_checked=(f"{who}: the policy has no section `evidence` to hold it against",))
        try:
            found = verifier(evidence.format).appraise(evidence, self._policy or AppraisalPolicy(), _time_of(record))
        except EvidenceError as error:
            return replace(examined, not_checked=(f"{who}: {error}",))
        return replace(
            examined,
            appraisal=found,
            findings=tuple(_refusals(message, record, found)),
            not_checked=tuple(f"{who}: {note}" for note in found.not_checked),
        )

    def _stranger(self, message: EvidenceMessage) -> tuple[str, str] | None:
        """Return the kind and the sentence of evidence whose key is nobody's, or not of the stage that it names."""
        if self._registry is None:
            return None
        context, key = message.evidence.context, self._registry.key(message.key_id)
        if key is None:
            return "evidence_other_key", "its key is not in the registry, so it speaks for no attestation"
        if (key.robot, key.stage) == (context.robot, context.stage):
            return None
        kind = "evidence_other_robot" if key.robot != context.robot else "evidence_other_key"
        return kind, f"its key is certified for stage {key.stage} of robot {key.robot}, not of robot {context.robot}"


def _time_of(record: Record) -> int:
    """Return when a record arrived, ns; a hostile recording may say what no calendar has."""
    return min(max(record.received_ns, 0), _LATEST_NS)


def _refusals(message: EvidenceMessage, record: Record, appraisal: Appraisal) -> Iterator[Finding]:
    """Yield what contraindicates evidence; what only warns is in the report's environments."""
    for reason in appraisal.reasons:
        if reason.tier is Tier.CONTRAINDICATED:
            kind = _KIND_OF_REASON.get(reason.code, "evidence_refused")
            yield _finding(message, record, kind, f"{reason.code}: {reason.message}")


def _finding(message: EvidenceMessage, record: Record, kind: str, text: str) -> Finding:
    evidence = message.evidence
    return Finding(
        kind,
        f"stage {evidence.context.stage}: {evidence.format} evidence of key {message.key_id.hex()[:16]}: {text}",
        topic=record.topic,
        stage=evidence.context.stage,
        received_ns=record.received_ns,
    )
