"""What a gate node has between configure and cleanup, and how its parameters, registry, key and limits make it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rclpy.node import Node

import og_ros
from og_ros.attest import ModelReference, Runtime, Session
from og_ros.attest.key_reference import load_signer
from og_ros.attest.signer import Signer
from og_ros.audit.appraiser import Appraised, Appraiser
from og_ros.audit.findings import Finding
from og_ros.audit.gate_decisions import GATE_FORMAT, GATE_STAGE
from og_ros.audit.policy import Policy, load_policy
from og_ros.errors import ConfigError, EnvelopeError
from og_ros.gate.delegation import Owner
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.limits import Limits, open_limits
from og_ros.gate.parameters import TEXTS
from og_ros.gate.settings import GateSettings
from og_ros.msg import Attestation
from og_ros.msg import Verdict as VerdictMessage
from og_ros.nodes.attestation_publisher import AttestationPublisher
from og_ros.nodes.evidence_desk import EvidenceDesk
from og_ros.nodes.faults import Faults
from og_ros.nodes.gate_parameters import GateParameters
from og_ros.nodes.gate_worker import GateWorker, Outlets
from og_ros.nodes.safe_motion import SafeMotion
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, message_class
from og_ros.registry import Registry

# Decisions that may wait for their signature; then the gate waits, its own queue fills, and that is overload.
SIGNING_QUEUE: Final = 4096


@dataclass
class GateWork:
    """What exists between configure and cleanup; `limits` and `worker` from activation on."""

    settings: GateSettings
    registry: Registry
    policy: Policy
    signer: Signer
    motion: SafeMotion
    outlets: Outlets
    attestation_publisher: Any
    desk: EvidenceDesk
    subscriptions: dict[str, Any] = field(default_factory=dict)
    limits: Limits | None = None
    worker: GateWorker | None = None


def set_up(
    node: Node, given: GateParameters, faults: Faults, take_evidence: Callable[[Appraised | Finding], None]
) -> GateWork:
    """Read parameters, registry, policy and key, and make the publishers; raises OgError for what cannot work.

    `take_evidence` gets evidence of keys once it is appraised, on a thread of its own.
    """
    settings = given.settings()
    robot = settings.robot
    for name in ("registry", "key", "output", "type", "robot"):
        if not given.text(name):
            raise ConfigError(f"{name} is missing: {TEXTS[name]}")
    if given.list("envelopes") and not given.text("state"):
        raise ConfigError(f"state is missing: {TEXTS['state']}")
    output, hand_over = node.resolve_topic_name(given.text("output")), given.text("hand_over")
    if output == settings.command:
        raise ConfigError(f"output is {output}, which is the input too: commands would pass beside the gate")
    if (settings.behaviour.kind == "hand_over") != bool(hand_over):
        raise ConfigError("safe_behaviour hand_over and the topic hand_over go together")
    if given.text("bypass") not in ("latch", "report", "ignore"):
        raise ConfigError(f"bypass is {given.text('bypass')!a}; it must be latch, report or ignore")
    policy_file = given.text("policy")
    policy = load_policy(Path(policy_file)) if policy_file else Policy()
    pinned = given.text("registry_root") or policy.registry_root
    registry = Registry.open(Path(given.text("registry")), pinned_root=pinned)
    Gatekeeper(settings, registry, policy)  # what is wrong with the policy must show now
    signer = load_signer(given.text("key"))
    kind = message_class(given.text("type"))
    motion = SafeMotion(settings.behaviour, kind)
    own_digest = bytes.fromhex(policy.digest) if policy.digest else hashlib.sha256().digest()
    session = Session(
        robot=robot,
        stage=GATE_STAGE,
        node=node.get_fully_qualified_name(),
        model=ModelReference(GATE_STAGE, policy.revision or "1", own_digest, format=GATE_FORMAT),
        runtime=Runtime("og_ros", og_ros.__version__, options=settings.mode, processing_digest=settings.digest),
        signer=signer,
    )
    verdicts = node.create_publisher(VerdictMessage, "~/verdict", 100)
    publisher = node.create_publisher(Attestation, verdicts.topic_name + ATTESTATION_SUFFIX, attestation_qos())
    outlets = Outlets(
        given.text("type"),
        node.create_publisher(kind, output, 10),
        node.create_publisher(kind, hand_over, 10) if hand_over else None,
        verdicts,
        AttestationPublisher(session, publisher.publish, faults.report, SIGNING_QUEUE),
    )
    desk = EvidenceDesk(node, Appraiser(policy.evidence, registry), take_evidence, faults.report)
    return GateWork(settings, registry, policy, signer, motion, outlets, publisher, desk)


def read_limits(work: GateWork, given: GateParameters) -> Limits | None:
    """Open the envelopes, issued by the registry's authorities; None without any. Raises EnvelopeError, OgError."""
    files = [Path(name) for name in given.list("envelopes")]
    if not files:
        return None
    limits = open_limits(files, Owner.of_registry(work.registry), work.settings.robot, Path(given.text("state")))
    command, kind = work.settings.command, work.outlets.type
    if limits.envelope.topics.get(command) != kind:
        raise EnvelopeError(f"the envelopes allow no commands on {command} of the type {kind}")
    return limits
