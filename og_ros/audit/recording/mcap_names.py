"""The schemas and channels of an MCAP file: which numbers stand for which topics, held against each other."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from og_ros.audit.recording.storage import StoredTopic, check_names
from og_ros.errors import BagError


@dataclass(frozen=True, slots=True)
class Schema:
    """A message type, the language of its definition, and the definition."""

    type: str = ""
    language: str = ""
    definition: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic as it is recorded; `schema` is the number of its type."""

    topic: str
    type: str
    schema: int
    encoding: str
    profiles: str


class McapNames:
    """What the numbers in a file mean; a number that comes twice must mean the same, else BagError is raised."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()

    def topic(self, identifier: int) -> StoredTopic:
        """Return the topic of a channel."""
        channel = self.channels[identifier]
        schema = self._schemas.get(channel.schema, Schema())
        return StoredTopic(
            channel.topic, channel.type, channel.encoding, schema.definition, schema.language, channel.profiles
        )

    def add_schema(self, record: bytes, learn: bool) -> None:
        """Take a schema record; without `learn`, it must be known already."""
        (identifier,) = self._numbers("<H", record, "a schema")
        name, at = text(self._path, record, 2)
        language, at = text(self._path, record, at)
        definition, _ = text(self._path, record, at)
        schema = Schema(name, language, definition)
        known = self._schemas.get(identifier)
        if (known is None and not learn) or (known is not None and known != schema):
            raise BagError(f"{self._path} contradicts itself about schema {identifier}: {name[:80]!a}")
        self._schemas[identifier] = schema

    def add_channel(self, record: bytes, learn: bool) -> None:
        """Take a channel record; without `learn`, it must be known already."""
        identifier, schema = self._numbers("<HH", record, "a channel")
        topic, at = text(self._path, record, 4)
        encoding, at = text(self._path, record, at)
        known = self.channels.get(identifier)
        if known is not None:
            if (known.topic, known.schema, known.encoding) != (topic, schema, encoding):
                raise BagError(f"{self._path} contradicts itself about channel {identifier}: {topic[:80]!a}")
            return
        if not learn:
            raise BagError(f"{self._path} contradicts itself: its summary leaves out channel {identifier}")
        kind = self._schemas.get(schema, Schema()).type
        check_names(self._path, topic, kind)
        self.channels[identifier] = Channel(topic, kind, schema, encoding, self._profiles(record, at))

    def take_statistics(self, record: bytes) -> bool:
        """Take the counts from a statistics record; returns whether all schemas and channels are known by then."""
        _, schemas, channels, _, _, _, _, _, size = self._numbers("<QHIIIIQQI", record, "its statistics")
        try:
            self.counts = Counter(dict(struct.iter_unpack("<HQ", record[46 : 46 + size])))
        except struct.error as error:
            raise BagError(f"{self._path} is damaged: its statistics are broken") from error
        return (schemas, channels) == (len(self._schemas), len(self.channels))

    def _profiles(self, record: bytes, at: int) -> str:
        at += 4
        while at < len(record):
            key, at = text(self._path, record, at)
            value, at = text(self._path, record, at)
            if key == "offered_qos_profiles":
                return value
        return ""

    def _numbers(self, layout: str, record: bytes, what: str) -> tuple[int, ...]:
        try:
            return struct.unpack_from(layout, record)
        except struct.error as error:
            raise BagError(f"{self._path} is damaged: {what} is broken") from error


def text(path: Path, record: bytes, at: int) -> tuple[str, int]:
    """Return the text that begins at a place of a record, and where it ends; raises BagError, naming the file."""
    try:
        (size,) = struct.unpack_from("<I", record, at)
        end = at + 4 + size
        if end > len(record):
            raise BagError(f"{path} is damaged: a text runs past its record")
        return record[at + 4 : end].decode(), end
    except (struct.error, UnicodeDecodeError) as error:
        raise BagError(f"{path} is damaged: a text is broken or not UTF-8") from error
