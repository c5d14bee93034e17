"""Signs sensor data inside its driver, in three lines: what the driver publishes is signed where it begins.

    class Camera(Node):
        def __init__(self):
            super().__init__("camera")
            self.sign = SensorSigner(self, source="camera", key="camera.pem", topics=["/camera/image"])
            self.images = self.sign.create_publisher(Image, "/camera/image", qos_profile_sensor_data)

        def on_frame(self, image):
            self.images.publish(image)

Each message has a record of its own, without inputs. The message is serialised once and published before anything is
signed. A registry has to certify the key with the role source, for these topics: only then does an audit call what
follows from the message `signed_at_source`. Run the node with og_ros.nodes.process.run_node, which publishes the last
records before it leaves; with rclpy.spin, call `sign.close()` while the context is still up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rclpy.serialization import serialize_message

from og_ros.audit.examine import stamp_of
from og_ros.errors import AttestationError, ConfigError
from og_ros.nodes.attestation_publisher import Message
from og_ros.nodes.evidence_publisher import NO_EVIDENCE, EvidenceChoice
from og_ros.nodes.record_session import RecordSession, Signing, named_model, runtime_of
from og_ros.nodes.topics import ATTESTATION_SUFFIX, has_header, type_name
from og_ros.stages.runtime import source_of


class SignedPublisher:
    """A publisher whose messages are signed at their source; otherwise as rclpy's."""

    def __init__(self, signer: SensorSigner, publisher: Any) -> None:
        self._signer, self._publisher = signer, publisher

    def publish(self, message: Any) -> None:
        """Publish a message, or one that is serialised already, and sign it."""
        start_ns, began = self._signer.now_ns(), time.monotonic_ns()
        payload = message if isinstance(message, bytes) else serialize_message(message)
        self._publisher.publish(payload)
        self._signer.sign(self._publisher.topic_name, self._publisher.msg_type, payload, start_ns, began)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)


class SensorSigner:
    """Signs the messages of a few topics as their source."""

    def __init__(
        self,
        node: Node,
        *,
        source: str,
        key: str | Path,
        topics: Sequence[str],
        robot: str = "",
        driver: str | Path | None = None,
        driver_name: str = "",
        driver_version: str = "",
        attestation_topic: str = "",
        registry: str | Path | None = None,
        registry_root: str = "",
        queue: int = 256,
        digest: str = "sha256",
        rule: str = "signed where it was published",
        journal: str | Path | None = None,
        journal_limit_mb: int = 64,
        journal_days: float = 7.0,
        evidence: EvidenceChoice = NO_EVIDENCE,
    ) -> None:
        """Begin a session.

        Args:
            node: the driver; its class's source file is named in the records as the processing.
            source: name of the source, as its key's certificate has it for `--stage`.
            key: PEM file of the private key (mode 0600), or the URI of one in a PKCS#11 token.
            topics: the topics that it signs, and no other.
            driver, driver_name, driver_version: file (program, firmware) and name of the driver, if the registry
                certifies it as it certifies models; none: the records name no driver.
            attestation_topic: none: `<first topic>/attestation`.
            digest: algorithm of the messages' digests; every stage that reads a topic must use the same.
            rule: how the messages came to be signed, in the records' runtime options.
            robot, registry, registry_root, queue, journal, journal_limit_mb, journal_days, evidence: see
                Signing.

        Raises KeyFileError, ModelError, RegistryError, LogError or ConfigError.
        """
        self.topics = tuple(node.resolve_topic_name(topic) for topic in topics)
        if not self.topics:
            raise ConfigError("topics is empty: name the topics whose messages are to be signed")
        self._digest = digest
        self._session = RecordSession(
            node,
            Signing(
                stage=source,
                key=Path(key),
                robot=robot,
                registry=Path(registry) if registry else None,
                registry_root=registry_root,
                queue=queue,
                journal=Path(journal) if journal else None,
                journal_limit_mb=journal_limit_mb,
                journal_days=journal_days,
                evidence=evidence,
            ),
            topic=attestation_topic or self.topics[0] + ATTESTATION_SUFFIX,
            model=named_model(Path(driver) if driver else None, driver_name or source, driver_version, "driver"),
            runtime=runtime_of("source", f"rule={rule}", source_of(type(node))),
            source_of=self.topics,
        )
        self._node = node
        self.faults = self._session.faults

    @property
    def session(self) -> Any:
        """The session whose records are published."""
        return self._session.session

    @property
    def published(self) -> int:
        """How many records were signed and published."""
        return self._session.published

    def create_publisher(self, msg_type: Any, topic: str, qos_profile: Any, **options: Any) -> SignedPublisher:
        """As Node.create_publisher; what it publishes is signed. Raises ConfigError for a topic that is not signed."""
        self._check(self._node.resolve_topic_name(topic))
        return SignedPublisher(self, self._node.create_publisher(msg_type, topic, qos_profile, **options))

    def sign(self, topic: str, msg_type: Any, payload: bytes, start_ns: int, began_ns: int) -> None:
        """Sign a message by its wire bytes: `start_ns` by the node's clock, `began_ns` monotonic, is when it began.

        Raises AttestationError for a topic that is not signed, and after `close`.
        """
        self._check(topic)
        stamp_ns = stamp_of(payload, has_header(msg_type))
        message = Message(topic, type_name(msg_type), payload, stamp_ns, algorithm=self._digest)
        self._session.begin(message)
        self._session.submit((), (message,), start_ns, began_ns, time.monotonic_ns() - began_ns)

    def now_ns(self) -> int:
        """The node's clock, ns."""
        return self._session.now_ns()

    def close(self) -> None:
        """Publish every record that is due, and end the session."""
        self._session.close()

    def _check(self, topic: str) -> None:
        if topic not in self.topics:
            raise AttestationError(f"{topic} is not one of the topics that are signed here: {', '.join(self.topics)}")
