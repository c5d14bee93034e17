"""What a sealed recording stores in place of each message, and what it stores beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from og_ros.attest.cdr import CdrReader
from og_ros.attest.sealed_wire import (
    DEFINITION_TOPIC,
    DEFINITION_TYPE,
    SEAL_TOPIC,
    SEAL_TYPE,
    SEALED_TYPE,
    TopicDefinition,
    write_definition,
    write_seal,
    write_sealed,
)
from og_ros.attest.sealing import Sealer
from og_ros.errors import AttestationError
from og_ros.nodes.interface_definition import interface_definition
from og_ros.nodes.recording import RecordedTopic

# Attestations and what an auditor says of them stay readable; they hold digests and no data.
_CLEAR_TYPES: Final = "og_ros/msg/"


@dataclass(frozen=True)
class Stored:
    """One message as it is stored."""

    topic: RecordedTopic
    payload: bytes


class RecordingSeal:
    """Seals the messages of a recording, but those of og_ros itself. Used by the recording's writing thread alone.

    `secrets` are the topics that a robot's stages commit to, each with the robot's disclosure secret.
    Raises ConfigError when og_ros's own message types are not installed.
    """

    def __init__(self, sealer: Sealer, secrets: Mapping[str, bytes] | None = None) -> None:
        self._sealer = sealer
        self._secrets = dict(secrets or {})
        self._seals = _own_topic(SEAL_TOPIC, SEAL_TYPE)
        self._definitions = _own_topic(DEFINITION_TOPIC, SEALED_TYPE)
        self._sealed_definition = interface_definition(SEALED_TYPE)
        self._described: set[str] = set()

    def stored(self, topic: RecordedTopic) -> RecordedTopic:
        """Return a topic as the recording stores it: the same name and QoS, another type unless it stays clear."""
        if topic.type.startswith(_CLEAR_TYPES):
            return topic
        definition = self._sealed_definition
        return RecordedTopic(topic.name, definition.name, definition.text, definition.type_hash, topic.qos)

    def message(self, topic: RecordedTopic, timestamp_ns: int, payload: bytes) -> Iterator[Stored]:
        """Yield what stands for a message: when they are new its Seal and its topic's definition, then itself sealed.

        Raises AttestationError for what is no CDR payload, which cannot be sealed.
        """
        if topic.type.startswith(_CLEAR_TYPES):
            yield Stored(topic, payload)
            return
        yield from self.definition(topic, timestamp_ns)
        stamp_ns = _stamp_of(payload) if topic.stamped else 0
        secret = self._secrets.get(topic.name)
        yield from self._seal(self.stored(topic), topic.type, timestamp_ns, payload, stamp_ns, secret)

    def definition(self, topic: RecordedTopic, timestamp_ns: int) -> Iterator[Stored]:
        """Yield the definition of a topic, once."""
        if topic.name in self._described or topic.type.startswith(_CLEAR_TYPES):
            return
        self._described.add(topic.name)
        data = write_definition(TopicDefinition(topic.name, topic.type, topic.type_hash, topic.definition))
        yield from self._seal(self._definitions, DEFINITION_TYPE, timestamp_ns, data)

    def _seal(
        self, stored: RecordedTopic, type: str, at_ns: int, payload: bytes, stamp_ns: int = 0,
        secret: bytes | None = None,
    ) -> Iterator[Stored]:  # fmt: skip
        sealed, seal = self._sealer.seal(stored.name, type, payload, at_ns, stamp_ns, secret)
        if seal is not None:
            yield Stored(self._seals, write_seal(seal))
        yield Stored(stored, write_sealed(sealed))


def _own_topic(name: str, type: str) -> RecordedTopic:
    definition = interface_definition(type)
    return RecordedTopic(name, type, definition.text, definition.type_hash)


def _stamp_of(payload: bytes) -> int:
    """Return the stamp of a message that begins with a Header; 0 for one that cannot be read."""
    try:
        return CdrReader(payload).time()
    except AttestationError:
        return 0
