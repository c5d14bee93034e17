"""The source node: signs sensor data beside a driver that cannot be changed, by subscribing to what it publishes.

It can only say what arrived here. So it signs nothing on a topic that has a second publisher, and nothing from another
node than `driver_node`, if that is given. Whoever can change the driver signs inside of it: og_ros.nodes.sensor_signer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from rclpy.node import Node

from og_ros.attest.digest import ALGORITHMS, is_computable
from og_ros.errors import ConfigError
from og_ros.nodes.node_parameters import SIGNING, TEXTS, NodeParameters
from og_ros.nodes.process import run_node
from og_ros.nodes.sensor_signer import SensorSigner
from og_ros.nodes.topics import message_class, publisher_problem

_PARAMETERS: Final[dict[str, tuple[Any, str]]] = {
    "source": ("", "name of the source, as its key's certificate has it (default: node name)"),
    "topics": (TEXTS, "topics to sign, each as TOPIC:TYPE"),
    "driver": ("", "file of the driver (program or firmware), if the registry certifies it; its digest is signed"),
    "driver_name": ("", "name of the driver in the registry"),
    "driver_version": ("", "version of the driver in the registry"),
    "driver_node": ("", "full name of the driver's node; messages of any other are not signed"),
    **SIGNING,
}
RULE: Final = "signed as received from the topic's one publisher"


class Source(Node):
    """Subscribes raw to sensor topics, and publishes a signed record of each on `<first topic>/attestation`."""

    def __init__(self, **options: Any) -> None:
        super().__init__("source", **options)
        given = NodeParameters(self, _PARAMETERS)
        topics = given.topics("topics")
        signing = given.signing(given.text("source") or self.get_name())
        digest = given.choice("digest", tuple(ALGORITHMS))
        if not is_computable(digest):
            raise ConfigError(f"digest {digest} needs the PyPI package {digest}")
        kinds = {topic: message_class(kind) for topic, kind in topics.items()}
        qos = given.qos()
        self._driver_node = given.text("driver_node")
        driver = given.path("driver")
        self._signer = SensorSigner(
            self,
            source=signing.stage,
            key=signing.key,
            topics=list(topics),
            robot=signing.robot,
            driver=driver,
            driver_name=given.text("driver_name"),
            driver_version=given.text("driver_version"),
            attestation_topic=given.text("attestation_topic"),
            registry=signing.registry,
            registry_root=signing.registry_root,
            queue=signing.queue,
            digest=digest,
            rule=RULE + (f" {self._driver_node}" if self._driver_node else ""),
            journal=signing.journal,
            journal_limit_mb=signing.journal_limit_mb,
            journal_days=signing.journal_days,
            evidence=signing.evidence,
        )
        self.faults = self._signer.faults
        for topic, kind in kinds.items():
            self.create_subscription(kind, topic, partial(self._receive, topic, kind), qos, raw=True)

    def close(self) -> None:
        """Publish every record that is due."""
        self._signer.close()
        self.get_logger().info(f"{self._signer.published} messages signed")

    def _receive(self, topic: str, kind: Any, payload: bytes) -> None:
        began = time.monotonic_ns()
        start_ns = self._signer.now_ns()
        wrong = publisher_problem(self, topic, self._driver_node)
        if wrong:
            self.faults.report(f"not signed on {topic}", wrong)
            return
        self._signer.sign(topic, kind, payload, start_ns, began)


def main(args: Sequence[str] | None = None) -> int:
    """Run a source as a process."""
    return run_node(Source, args, events=True)


if __name__ == "__main__":
    raise SystemExit(main())
