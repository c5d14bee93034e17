"""Takes evidence as it arrives and appraises it on a thread of its own, for an auditor or a gate."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rclpy.node import Node

from og_ros.audit.appraiser import Appraised, Appraiser
from og_ros.audit.findings import Finding
from og_ros.audit.records import Record
from og_ros.errors import OgError
from og_ros.evidence.message import EVIDENCE_TYPE, evidence_topic
from og_ros.nodes.evidence_publisher import evidence_qos
from og_ros.nodes.topics import message_class

# A message is at most 260 kB. What finds no room is reported; renewals come again.
_WAITING: Final = 32
_KEPT: Final = 256


class EvidenceDesk:
    """Subscribes beside attestation topics; `deliver` gets what was found, on the desk's thread."""

    def __init__(
        self,
        node: Node,
        appraiser: Appraiser,
        deliver: Callable[[Appraised | Finding], None],
        report: Callable[[str, Exception | str], None],
    ) -> None:
        self._node, self._appraiser, self._deliver, self._report = node, appraiser, deliver, report
        self._kept: deque[Appraised | Finding] = deque(maxlen=_KEPT)
        self._subscriptions: dict[str, Any] = {}
        self._waiting: queue.Queue[Record | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="evidence", daemon=True)
        self._thread.start()

    @property
    def found(self) -> tuple[Appraised | Finding, ...]:
        """What was found lately, oldest first."""
        return tuple(self._kept)

    def listen(self, attestation_topic: str) -> None:
        """Hear the evidence that belongs to a topic of attestations."""
        topic = evidence_topic(attestation_topic)
        if topic not in self._subscriptions:
            self._subscriptions[topic] = self._node.create_subscription(
                message_class(EVIDENCE_TYPE), topic, partial(self._take, topic), evidence_qos(), raw=True
            )

    def close(self) -> None:
        """Take no more, and finish what waits; before the executor ends or after it."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._waiting.put(None)
        self._thread.join()

    def _take(self, topic: str, payload: bytes) -> None:
        try:
            self._waiting.put_nowait(Record(topic, EVIDENCE_TYPE, payload, time.time_ns()))
        except queue.Full:
            self._report("evidence", f"evidence on {topic} arrives faster than it can be appraised; some was not")

    def _work(self) -> None:
        while (record := self._waiting.get()) is not None:
            try:
                found = self._appraiser.examine(record)
            except OgError as error:  # a policy whose reference values cannot be read
                self._report("evidence", error)
                continue
            except Exception as error:  # a verifier of somebody else; the desk must go on
                self._report("evidence", error)
                continue
            if found is not None:
                self._kept.append(found)
                self._deliver(found)
