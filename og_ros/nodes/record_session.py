"""What a source and a witness share: a session of signed records beside somebody else's messages."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

import og_ros
from og_ros.attest import Clock, Mode, ModelReference, Runtime, Session
from og_ros.attest.key_reference import load_signer
from og_ros.attest.statement import NO_DIGEST
from og_ros.evidence.binding import Context
from og_ros.log.journal import Journal
from og_ros.nodes.attestation_publisher import AttestationPublisher, Inference, Message
from og_ros.nodes.evidence_publisher import NO_EVIDENCE, EvidenceChoice, publish_evidence
from og_ros.nodes.faults import Faults
from og_ros.nodes.journal_service import serve
from og_ros.nodes.topics import attestation_qos, message_class, wait_until_heard
from og_ros.registry import Registry
from og_ros.stages.certified import require_certified
from og_ros.stages.runtime import cpu_class, file_digest, processing_digest


@dataclass(frozen=True)
class Signing:
    """Who signs, and where the records go.

    Attributes:
        stage: name of the source, or of the stage that is observed.
        key: PEM file of the private key (mode 0600), or the URI of one in a PKCS#11 token.
        robot: none: OG_ROS_ROBOT in the environment, or the node's namespace, or "robot".
        registry, registry_root: when given, the key must be certified there, and the model if one is named.
        queue: records that may wait for their signature; then whoever adds one waits.
        journal: directory of the journal; none: the newest records, in memory.
        journal_limit_mb, journal_days: as for a stage, see og_ros.stages.pipeline.StageConfig.
        evidence: what shows where the key lives.
    """

    stage: str
    key: Path
    robot: str = ""
    registry: Path | None = None
    registry_root: str = ""
    queue: int = 256
    journal: Path | None = None
    journal_limit_mb: int = 64
    journal_days: float = 7.0
    evidence: EvidenceChoice = NO_EVIDENCE


class RecordSession:
    """Signs records on a thread of its own, keeps them in a journal, and publishes them on one topic."""

    def __init__(
        self,
        node: Node,
        signing: Signing,
        *,
        topic: str,
        model: ModelReference,
        runtime: Runtime,
        mode: Mode = Mode.SIGNED,
        source_of: tuple[str, ...] = (),
    ) -> None:
        """Begin a session; `topic` is that of its attestations, `source_of` the topics that a source signs.

        Raises KeyFileError, RegistryError, LogError or ConfigError.
        """
        signer = load_signer(signing.key)
        robot = signing.robot or os.environ.get("OG_ROS_ROBOT") or node.get_namespace().strip("/") or "robot"
        if signing.registry is not None:
            require_certified(
                Registry.open(signing.registry, pinned_root=signing.registry_root or None),
                robot=robot,
                stage=signing.stage,
                model=None if model.digest == NO_DIGEST else model,
                runtime=runtime,
                key_id=signer.key_id,
                now_ns=time.time_ns(),
                source_of=source_of,
            )
        self._node = node
        self.faults = Faults(node.get_logger())
        session = Session(
            robot=robot,
            stage=signing.stage,
            node=node.get_fully_qualified_name(),
            model=model,
            runtime=runtime,
            signer=signer,
        )
        self._journal = Journal(
            signing.journal,
            signing.stage,
            session.id,
            limit_bytes=signing.journal_limit_mb * 10**6,
            age_s=signing.journal_days * 86_400,
            report=self.faults.report,
        )
        self._service = serve(node, self._journal)
        self._publisher = node.create_publisher(message_class("og_ros/msg/Attestation"), topic, attestation_qos())
        self._evidence = publish_evidence(
            node,
            self._publisher.topic_name,
            signer,
            Context(robot, signing.stage),
            signing.evidence,
            self.faults.report,
        )
        self._attestations = AttestationPublisher(
            session, self._publisher.publish, self.faults.report, signing.queue, journal=self._journal, mode=mode
        )
        self._closed = False
        node.get_logger().info(
            f"{signing.stage}: key {signer.key_id.hex()[:16]}, attestations on {self._publisher.topic_name}"
        )

    @property
    def session(self) -> Session:
        """The session whose records are published."""
        return self._attestations.session

    @property
    def published(self) -> int:
        """How many records were signed and published."""
        return self._attestations.published

    @property
    def arrived(self) -> Callable[[str, bytes], None]:
        """Takes note of an attestation of what publishes on a topic; see AttestationPublisher.arrived."""
        return self._attestations.arrived

    def now_ns(self) -> int:
        """The node's clock, ns."""
        return int(self._node.get_clock().now().nanoseconds)

    def begin(self, message: Message) -> None:
        """Begin to hash a message beside whatever goes on."""
        message.hash_beside(self._attestations.pool)

    def submit(
        self, inputs: tuple[Message, ...], outputs: tuple[Message, ...], start_ns: int, began_ns: int, duration_ns: int
    ) -> None:
        """Queue a record: `start_ns` by the node's clock, `began_ns` and `duration_ns` monotonic."""
        clock = Clock.SIM if self._node.get_clock().ros_time_is_active else Clock.SYSTEM
        self._attestations.submit(Inference(inputs, outputs, start_ns, clock, began_ns, duration_ns))

    def close(self) -> None:
        """Publish every record that is due, and end the session; waits shortly until subscribers have them."""
        if self._closed:
            return
        self._closed = True
        if self._evidence is not None:
            self._evidence.close()
        self._attestations.close()
        self._journal.close()
        if self._node.context.ok():
            wait_until_heard([self._publisher])


def named_model(file: Path | None, name: str, version: str, format: str) -> ModelReference:
    """Return the reference of a driver or model by its file's digest; one of all zeros where no file is given.

    Raises ModelError when the file cannot be read.
    """
    digest = file_digest(file) if file is not None else NO_DIGEST
    return ModelReference(name or (file.stem if file is not None else "unnamed"), version, digest, format)


def runtime_of(what: str, options: str, *parts: bytes) -> Runtime:
    """Return the record of og_ros itself at work, with the rule that it worked by; `parts` is what defines it."""
    return Runtime(f"og_ros {what}", og_ros.__version__, "", options, cpu_class(), processing_digest(parts))
