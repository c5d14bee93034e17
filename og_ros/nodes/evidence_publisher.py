"""Publishes the evidence of a node's key, transient local, beside its attestations, and renews it on its own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.errors import OgError
from og_ros.evidence.attesters import attester
from og_ros.evidence.binding import Context
from og_ros.evidence.message import EVIDENCE_TYPE, EvidenceMessage, encode_message, evidence_topic
from og_ros.evidence.supply import NONE, Supply
from og_ros.nodes.topics import message_class


@dataclass(frozen=True)
class EvidenceChoice:
    """Where a node's evidence comes from: an attester's name (none: nowhere), or a file; renewed every `renew_s`."""

    attester: str = NONE
    file: Path | None = None
    renew_s: float = 240.0


NO_EVIDENCE: Final = EvidenceChoice()


def evidence_qos() -> QoSProfile:
    """Return the QoS of evidence: whoever comes later still gets the last of each node."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class EvidencePublisher:
    """Publishes at once, and again every `renew_s`; raises EvidenceError where there is no evidence to begin with.

    A renewal that fails is reported, and tried again when the next is due; auditors see the old evidence run out.
    """

    def __init__(
        self,
        node: Node,
        attestation_topic: str,
        supply: Supply,
        renew_s: float,
        report: Callable[[str, Exception | str], None],
    ) -> None:
        self._name = node.get_fully_qualified_name()
        self._supply, self._renew_s, self._report = supply, renew_s, report
        first = supply.next()
        topic = evidence_topic(attestation_topic)
        self.publisher: Any = node.create_publisher(message_class(EVIDENCE_TYPE), topic, evidence_qos())
        if first is not None:
            self.publisher.publish(encode_message(EvidenceMessage(first, self._name)))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="evidence", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the renewals; whoever made the node destroys `publisher`."""
        self._closing.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._closing.wait(self._renew_s):
            try:
                evidence = self._supply.next()
                if evidence is not None:
                    self.publisher.publish(encode_message(EvidenceMessage(evidence, self._name)))
            except OgError as error:
                self._report("evidence", error)


def publish_evidence(
    node: Node,
    attestation_topic: str,
    signer: Signer,
    context: Context,
    choice: EvidenceChoice,
    report: Callable[[str, Exception | str], None],
) -> EvidencePublisher | None:
    """Publish the evidence of a key, if there is to be any; raises EvidenceError where it cannot be had."""
    if choice.file is None and choice.attester == NONE:
        return None
    supply = Supply(
        key=keys.spki(signer.public_key),
        context=context,
        attester=attester(signer, choice.attester) if choice.file is None else None,
        file=choice.file,
    )
    return EvidencePublisher(node, attestation_topic, supply, choice.renew_s, report)
