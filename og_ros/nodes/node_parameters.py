"""Parameters of the source and witness nodes: declared with a description, read as what they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from og_ros.errors import ConfigError
from og_ros.nodes.evidence_publisher import EvidenceChoice
from og_ros.nodes.parameters import Bounds, declare, describe
from og_ros.nodes.record_session import Signing
from og_ros.stages.pipeline import BOUNDS

TEXTS: Final = Parameter.Type.STRING_ARRAY
SIGNING: Final[dict[str, tuple[Any, str]]] = {
    "robot": ("", "name of the robot in every record; none: OG_ROS_ROBOT, the namespace, or robot"),
    "key": ("", "PEM file of the private key (mode 0600), or pkcs11: URI"),
    "registry": ("", "directory of the registry that must certify the key"),
    "registry_root": ("", "sha256:... fingerprint that the registry's root must have"),
    "require_certified": (True, "refuse to start with a key that the registry does not certify"),
    "queue": (256, "records that may wait for their signature before the node waits"),
    "attestation_topic": ("", "topic of the attestations; none: <first topic>/attestation"),
    "digest": ("sha256", "algorithm of the messages' digests: sha256, blake3 or sha256-tree"),
    "reliability": ("best_effort", "of the subscriptions: best_effort hears every publisher, reliable loses nothing"),
    "depth": (100, "messages that may wait in the middleware for this node"),
    "journal": ("", "directory of the journal; empty: memory"),
    "journal_limit_mb": (64, "size of the journal, MB; the oldest records make room"),
    "journal_days": (7.0, "age at which records leave the journal, days"),
    "evidence": ("none", "attester that shows where the key lives, such as software or tpm2-quote; none: no evidence"),
    "evidence_file": ("", "evidence that a measured launch made, in place of an attester"),
    "evidence_renew_s": (240.0, "s after which evidence is made anew, or the file is looked at again"),
}

_BOUNDS: Final[dict[str, Bounds]] = {**BOUNDS, "patience_ms": (0.0, 10_000.0)}


class NodeParameters:
    """Declares parameters on a node, and reads them; raises ConfigError, naming the parameter."""

    def __init__(self, node: Node, parameters: Mapping[str, tuple[Any, str]]) -> None:
        self._node = node
        for name, (default, text) in parameters.items():
            declare(node, name, default, describe(text, _BOUNDS.get(name), read_only=True))

    def text(self, name: str, required: bool = False) -> str:
        """Return a text."""
        value = str(self._node.get_parameter(name).value)
        if required and not value:
            raise ConfigError(f"parameter {name} is missing")
        return value

    def texts(self, name: str) -> list[str]:
        """Return the texts of a list that are not empty."""
        return [text for text in self._node.get_parameter_or(name, Parameter(name, value=[""])).value or () if text]

    def path(self, name: str) -> Path | None:
        """Return a path; None where it is empty."""
        return Path(self.text(name)).expanduser() if self.text(name) else None

    def number(self, name: str) -> float:
        """Return a number, which rclpy keeps within its bounds."""
        return float(self._node.get_parameter(name).value)

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of a few texts."""
        value = self.text(name)
        if value not in choices:
            raise ConfigError(f"parameter {name} is {value!r}; it must be one of {', '.join(choices)}")
        return value

    def topics(self, name: str) -> dict[str, str]:
        """Return the types of topics that are given as TOPIC:TYPE, by full name, in their order."""
        found = {}
        for text in self.texts(name):
            topic, _, kind = text.partition(":")
            if not topic or not kind:
                raise ConfigError(f"parameter {name} has {text!r}; give TOPIC:TYPE, as /scan:sensor_msgs/msg/LaserScan")
            found[self._node.resolve_topic_name(topic)] = kind
        return found

    def qos(self) -> QoSProfile:
        """Return the QoS of the node's subscriptions."""
        reliability = self.choice("reliability", ("best_effort", "reliable"))
        depth = int(self.number("depth"))
        return QoSProfile(depth=depth, reliability=ReliabilityPolicy[reliability.upper()])

    def signing(self, stage: str) -> Signing:
        """Return who signs, from the parameters of SIGNING."""
        certified = bool(self._node.get_parameter("require_certified").value)
        return Signing(
            stage=stage,
            key=Path(self.text("key", required=True)).expanduser(),
            robot=self.text("robot"),
            registry=self.path("registry") if certified else None,
            registry_root=self.text("registry_root"),
            queue=int(self.number("queue")),
            journal=self.path("journal"),
            journal_limit_mb=int(self.number("journal_limit_mb")),
            journal_days=self.number("journal_days"),
            evidence=EvidenceChoice(self.text("evidence"), self.path("evidence_file"), self.number("evidence_renew_s")),
        )
