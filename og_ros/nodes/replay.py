"""Publishes a recording into ROS: the recorded bytes, unchanged, at the recorded pace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from og_ros.attest.cdr import CdrWriter
from og_ros.audit.recording.bag import Bag
from og_ros.errors import BagError, ConfigError
from og_ros.nodes.topics import message_class, wait_until_heard

CLOCK_TOPIC: Final = "/clock"
CLOCK_PERIOD_NS: Final = 10_000_000
_DEPTH: Final = 1000
_SLEEP_S: Final = 0.1
_HEARD_WITHIN_S: Final = 5.0


@dataclass
class ReplaySummary:
    """What a replay published, messages a topic, and which topics it left out, with the reason."""

    published: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)


class Replay:
    """Publishers for the topics of a recording."""

    def __init__(self, node: Node, bag: Bag, topics: Collection[str] | None = None, clock: bool = False) -> None:
        """Make a publisher a topic; with `clock`, /clock comes from the recording's time instead of its messages.

        Topics whose type is not installed are left out (`summary.skipped`). Raises BagError when a wanted topic is not
        in the recording, or nothing is left.
        """
        self._node, self._bag = node, bag
        self.summary = ReplaySummary()
        self.stopped = False
        missing = sorted(set(topics or ()) - bag.topics.keys())
        if missing:
            raise BagError(f"{bag.path} has no topic {missing[0]}; it has {', '.join(sorted(bag.topics))}")
        self.publishers: dict[str, Any] = {}
        for name, topic in bag.topics.items():
            if (topics is not None and name not in topics) or (clock and name == CLOCK_TOPIC):
                continue
            try:
                kind = message_class(topic.type)
            except ConfigError as error:
                self.summary.skipped[name] = str(error)
                continue
            self.publishers[name] = node.create_publisher(kind, name, _qos(topic.latched))
        if not self.publishers:
            reasons = "; ".join(self.summary.skipped.values()) or "no topic is chosen"
            raise BagError(f"nothing of {bag.path} can be published: {reasons}")
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, _DEPTH) if clock else None

    @property
    def total(self) -> int:
        """Messages that one pass publishes."""
        return sum(self._bag.topics[name].count for name in self.publishers)

    def wait_for_subscribers(self, timeout_s: float, count: int | Mapping[str, int] = 1) -> list[str]:
        """Wait until each topic has `count` subscribers, or as many as a mapping says of it (none: it is not waited
        for); returns the topics that had fewer in time.
        """
        awaited = count if isinstance(count, Mapping) else dict.fromkeys(self.publishers, count)
        end = time.monotonic() + timeout_s
        while True:
            lonely = [name for name, p in self.publishers.items() if p.get_subscription_count() < awaited.get(name, 0)]
            if self.stopped or not lonely or time.monotonic() >= end:
                break
            time.sleep(_SLEEP_S / 2)
        # The subscribers' side of the match may be a moment behind, and best-effort messages would be gone.
        time.sleep(_SLEEP_S)
        return lonely

    def stop(self) -> None:
        """Make `run` return; may be called from a signal handler."""
        self.stopped = True

    def run(self, rate: float = 1.0, progress: Callable[[int, int], None] | None = None) -> None:
        """Publish every message once; `rate` 2 is twice as fast, 0 as fast as possible.

        Raises BagError when the recording is damaged.
        """
        total = self.total
        began: float | None = None
        first = clock_ns = 0
        for done, record in enumerate(self._bag.records(list(self.publishers)), 1):
            if began is None:
                began, first = time.monotonic(), record.received_ns
            if rate > 0:
                self._sleep_until(began + (record.received_ns - first) / 1e9 / rate)
            if self.stopped:
                break
            if self._clock is not None and record.received_ns - clock_ns >= CLOCK_PERIOD_NS:
                self._clock.publish(_clock_payload(record.received_ns))
                clock_ns = record.received_ns
            self.publishers[record.topic].publish(bytes(record.payload))
            self.summary.published[record.topic] += 1
            if progress is not None:
                progress(done, total)

    def finish(self) -> bool:
        """Wait until reliable subscribers have everything; returns False when some have not after a while."""
        return wait_until_heard(self.publishers.values(), _HEARD_WITHIN_S)

    def _sleep_until(self, moment: float) -> None:
        while not self.stopped and (rest := moment - time.monotonic()) > 0:
            time.sleep(min(rest, _SLEEP_S))


def _clock_payload(nanoseconds: int) -> bytes:
    writer = CdrWriter()
    writer.time(nanoseconds)
    return writer.payload()


def _qos(latched: bool) -> QoSProfile:
    """Reliable whatever was recorded: a best-effort subscriber hears it too, and nothing is lost here."""
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.RELIABLE, durability=durability)
