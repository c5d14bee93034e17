"""The recorder node: writes raw messages of many topics to an MCAP rosbag2, attestations as everything else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

from og_ros.attest.commitment import load_secret
from og_ros.attest.content_key import PERIOD_S, load_recipients
from og_ros.attest.sealing import Sealer
from og_ros.errors import BagError, ConfigError
from og_ros.evidence.message import EVIDENCE_TYPE, evidence_topic
from og_ros.nodes.faults import Faults
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.parameters import Bounds, declare, describe
from og_ros.nodes.process import run_node
from og_ros.nodes.recording import RecordedTopic, Recording
from og_ros.nodes.recording_seal import RecordingSeal
from og_ros.nodes.topics import has_header, matching_qos, message_class

# Messages that may wait in the middleware for this node. Attestations come 1000 deep from their publisher.
DEPTH: Final = 1000
_PARAMETERS: Final[dict[str, tuple[Any, str]]] = {
    "output": ("", "directory of the recording; it must not exist"),
    "topics": (Parameter.Type.STRING_ARRAY, "topics to record; TOPIC:TYPE subscribes before there is a publisher"),
    "all": (False, "record every topic but hidden ones"),
    "evidence": (True, "record the evidence of keys beside every topic of attestations that is recorded"),
    "compression": ("none", "none or zstd (a chunk at a time)"),
    "duration": (0.0, "s; 0: until stopped"),
    "memory_mb": (256, "messages that wait for the disk take at most so much memory, MB; what is more is dropped"),
    "flush_period": (1.0, "s after which a message is safe from a crash"),
    "discovery_period": (0.25, "s between looks for new topics"),
    "seal": (Parameter.Type.STRING_ARRAY, "public keys (PEM, P-256) of those who may open the recording; none: clear"),
    "seal_period": (PERIOD_S, "s after which a sealed recording gets a new content key"),
    "committed": (Parameter.Type.STRING_ARRAY, "topics that stages commit to: sealed with the commitment to each"),
    "disclosure_key": ("", "file of the robot's disclosure secret, for those topics"),
}
_BOUNDS: Final[dict[str, Bounds]] = {
    "duration": (0.0, 1e9),
    "memory_mb": (1, 1_000_000),
    "flush_period": (0.01, 3600.0),
    "discovery_period": (0.01, 60.0),
    "seal_period": (0.1, 1e9),
}


class Recorder(Node):
    """Subscribes raw to topics as they appear, each with the QoS of its publishers, and records what arrives.

    Messages are stamped with the wall time at which they arrived, as `ros2 bag record` does.
    """

    starts_anew = False
    """A deaf recorder ends: a recording is one directory, made once."""

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder", **options)
        for name, (default, text) in _PARAMETERS.items():
            declare(self, name, default, describe(text, _BOUNDS.get(name), read_only=True))
        self.finished = False
        self.exit_code = 0
        self._faults = Faults(self.get_logger())
        self._lost: Counter[str] = Counter()
        self._wanted = self._parse_topics()
        self._all = bool(self._value("all"))
        if not self._wanted and not self._all:
            raise ConfigError("there is nothing to record: set topics, or all: true")
        if not self._value("output"):
            raise ConfigError("output is missing: the directory of the recording")
        compression = self._value("compression")
        if compression not in ("none", "zstd"):
            raise ConfigError(f"compression is {compression!r}; it must be none or zstd")
        seal = self._make_seal()
        self._subscriptions_by_topic: dict[str, Any] = {}
        self._skipped: set[str] = set()
        self._heard: set[str] = set()
        self.recording = Recording(
            Path(self._value("output")),
            compression=compression,
            max_bytes=int(self._value("memory_mb")) * 2**20,
            flush_s=float(self._value("flush_period")),
            seal=seal,
        )
        self._discover()
        wall = Clock(clock_type=ClockType.STEADY_TIME)  # not the node's: simulated time may stand still
        self.create_timer(self._value("discovery_period"), self._discover, clock=wall)
        if self._value("duration") > 0:
            self.create_timer(float(self._value("duration")), self._finish, clock=wall)
        self.get_logger().info(f"recording to {self.recording.path}" + (", sealed" if seal is not None else ""))

    def close(self) -> None:
        """Finish the recording; says what was written, dropped and lost. Sets exit_code 1 when the disk failed."""
        for topic, subscription in self._subscriptions_by_topic.items():
            self._take_waiting(topic, subscription)
            self.destroy_subscription(subscription)
        self._subscriptions_by_topic.clear()
        try:
            summary = self.recording.close()
        except BagError as error:
            self.get_logger().error(str(error))
            self.exit_code = 1
            return
        messages, topics = sum(summary.messages.values()), len(summary.messages)
        self.get_logger().info(f"{self.recording.path}: {messages} messages of {topics} topics")
        for counts, what in (
            (summary.dropped, "dropped: the disk was too slow"),
            (self._lost, "lost on their way here"),
        ):
            for topic, count in sorted(counts.items()):
                self.get_logger().warning(f"{topic}: {count} messages {what}")

    def _value(self, name: str) -> Any:
        return self.get_parameter(name).value

    def _texts(self, name: str) -> list[str]:
        return [text for text in self.get_parameter_or(name).value or [] if text]  # ROS has no empty list of texts

    def _make_seal(self) -> RecordingSeal | None:
        recipients, committed = self._texts("seal"), self._texts("committed")
        if not recipients:
            if committed:
                raise ConfigError("committed topics are recorded in clear without seal: give the recipients' keys")
            return None
        secrets = {}
        if committed:
            if not self._value("disclosure_key"):
                raise ConfigError("disclosure_key is missing: the robot's disclosure secret, for the committed topics")
            secret = load_secret(Path(self._value("disclosure_key")))
            secrets = {self.resolve_topic_name(topic): secret for topic in committed}
        return RecordingSeal(Sealer(load_recipients(map(Path, recipients)), self._value("seal_period")), secrets)

    def _parse_topics(self) -> dict[str, str]:
        found = {}
        for item in self._texts("topics"):
            topic, _, kind = item.partition(":")
            if not topic:
                continue
            if kind:
                message_class(kind)
            found[self.resolve_topic_name(topic)] = kind
        return found

    def _discover(self) -> None:
        present = dict(self.get_topic_names_and_types())
        for topic, kind in self._wanted.items():
            if kind and topic not in present:
                present[topic] = [kind]
        beside = {evidence_topic(topic) for topic in self._wanted} if self._value("evidence") else set()
        for topic, kinds in present.items():
            hidden = any(part.startswith("_") for part in topic.split("/"))
            evidence = topic in beside and EVIDENCE_TYPE in kinds
            if topic in self._wanted or evidence or (self._all and not hidden):
                self._follow(topic, kinds)

    def _follow(self, topic: str, kinds: Sequence[str]) -> None:
        """Subscribe to a topic, or again when its publishers turned out to offer another QoS."""
        wish = self._wanted.get(topic) or kinds[0]
        known = self.recording.topics.get(topic)
        if topic in self._skipped or (known is None and not self._describable(topic, wish, kinds)):
            return
        kind = known.type if known is not None else wish
        publishers = self.get_publishers_info_by_topic(topic)
        profiles = tuple(_stored(p) for p in publishers)
        if known is None or (profiles and set(profiles) != set(known.qos)):
            definition = interface_definition(kind)
            stamped = has_header(message_class(kind))
            self.recording.set_topic(
                RecordedTopic(topic, kind, definition.text, definition.type_hash, profiles, stamped)
            )
        qos = matching_qos(self, topic, DEPTH)
        present = self._subscriptions_by_topic.get(topic)
        if present is not None and (not publishers or _same(present.qos_profile, qos)):
            return
        events = SubscriptionEventCallbacks(message_lost=partial(self._on_lost, topic))
        self._subscriptions_by_topic[topic] = self.create_subscription(
            message_class(kind), topic, partial(self._receive, topic), qos, raw=True, event_callbacks=events
        )
        if present is not None:
            self.destroy_subscription(present)

    def _describable(self, topic: str, kind: str, kinds: Sequence[str]) -> bool:
        if len(kinds) > 1:
            self.get_logger().warning(f"{topic} has {len(kinds)} types ({', '.join(kinds)}); recording {kind}")
        try:
            message_class(kind)
            interface_definition(kind)
        except ConfigError as error:
            self._skipped.add(topic)
            self.get_logger().warning(f"{topic} is not recorded: {error}")
            return False
        return True

    def _receive(self, topic: str, payload: bytes) -> None:
        if topic not in self._heard:  # its publishers may be newer than the last look for them
            self._heard.add(topic)
            self._follow(topic, [self.recording.topics[topic].type])
        if not self.recording.write(topic, time.time_ns(), payload):
            if self.recording.error is not None:
                self._finish()
            else:
                self._faults.report(f"recording {topic}", "dropped: the disk is too slow")

    def _take_waiting(self, topic: str, subscription: Any) -> None:
        """Record what arrived before the stop and no callback has taken yet."""
        for _ in range(DEPTH):
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, True)
            if taken is None:
                return
            self._receive(topic, taken[0])

    def _on_lost(self, topic: str, event: Any) -> None:
        self._lost[topic] += event.total_count_change

    def _finish(self) -> None:
        self.finished = True


def _same(a: QoSProfile, b: QoSProfile) -> bool:
    return a.reliability == b.reliability and a.durability == b.durability


def _stored(publisher: TopicEndpointInfo) -> Qos:
    """Return a publisher's QoS as rosbag2 stores it."""
    qos = publisher.qos_profile
    return Qos(
        QosHistory(int(qos.history)),
        qos.depth,
        QosReliability.RELIABLE if qos.reliability == ReliabilityPolicy.RELIABLE else QosReliability.BEST_EFFORT,
        QosDurability.TRANSIENT_LOCAL if qos.durability == DurabilityPolicy.TRANSIENT_LOCAL else QosDurability.VOLATILE,
        _duration(qos.deadline),
        _duration(qos.lifespan),
        QosLiveliness(int(qos.liveliness)),
        _duration(qos.liveliness_lease_duration),
        bool(qos.avoid_ros_namespace_conventions),
    )


def _duration(duration: Any) -> QosTime:
    return QosTime(duration.nanoseconds // 10**9, duration.nanoseconds % 10**9)


def main(args: Sequence[str] | None = None) -> int:
    """Run the recorder as a process."""
    return run_node(Recorder, args, linger_s=0.7)


if __name__ == "__main__":
    raise SystemExit(main())
