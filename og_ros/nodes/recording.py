"""A rosbag2 recording while it is written: MCAP, one writing thread, bounded memory, durable every second."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from og_ros.attest.sealed_wire import SEAL_TOPIC, SEALS_KEY
from og_ros.errors import AttestationError, BagError

if TYPE_CHECKING:
    from og_ros.nodes.recording_seal import RecordingSeal

VERSION: Final = 8  # the format of rosbag2 in Iron and Jazzy
DROPPED_KEY: Final = "og_ros.dropped"


@dataclass(frozen=True)
class RecordedTopic:
    """What a recording says of a topic: name, full type name, definition, type hash, offered QoS.

    `stamped`: its messages begin with a std_msgs/Header.
    """

    name: str
    type: str
    definition: str
    type_hash: str
    qos: tuple[Qos, ...] = ()
    stamped: bool = False


@dataclass(frozen=True)
class RecordingSummary:
    """What a finished recording holds: messages a topic, and messages that found no room in memory, a topic."""

    messages: dict[str, int]
    dropped: dict[str, int]


class Recording:
    """An open recording.

    `write` only queues, so it can be called from a callback. A thread writes chunks, and once in `flush_s` closes the
    chunk at hand and syncs the file: after a crash of the process or the power, everything older is in the file (see
    og_ros.nodes.recovery). When more than `max_bytes` wait for a slow disk, messages are dropped and counted; the
    counts are stored in metadata.yaml (custom_data, "og_ros.dropped"). With a `seal`, that thread encrypts messages as
    it writes them; the wrapped keys are stored in metadata.yaml too ("og_ros.seals").
    """

    def __init__(
        self,
        path: Path,
        *,
        compression: Literal["none", "zstd"] = "none",
        max_bytes: int = 256 * 2**20,
        flush_s: float = 1.0,
        seal: RecordingSeal | None = None,
    ) -> None:
        """Make the directory `path`; raises BagError when it exists or cannot be made."""
        self.path = path
        self.error: BagError | None = None
        self._max_bytes, self._flush_s = max_bytes, flush_s
        self._seal = seal
        self._seals: list[bytes] = []
        self._topics: dict[str, RecordedTopic] = {}
        self._connections: dict[str, Connection] = {}
        self._messages: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        try:
            self._writer = Writer(path, version=VERSION, storage_plugin=StoragePlugin.MCAP)
            if compression == "zstd":
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f"cannot record to {path}: {error}") from error
        self._storage: Any = self._writer.storage
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    @property
    def topics(self) -> dict[str, RecordedTopic]:
        """The topics of the recording by name."""
        return self._topics

    def set_topic(self, topic: RecordedTopic) -> None:
        """Add a topic; what is known of it when its first message is written is what the recording says of it."""
        with self._changed:
            self._topics[topic.name] = topic

    def write(self, topic: str, timestamp_ns: int, payload: bytes) -> bool:
        """Queue a message; returns whether there was room. A failed disk shows as `error` and False."""
        with self._changed:
            if self.error is not None or self._closing:
                return False
            if self._waiting_bytes + len(payload) > self._max_bytes:
                self._dropped[topic] += 1
                return False
            self._waiting_bytes += len(payload)
            self._queue.append((topic, timestamp_ns, payload))
            if len(self._queue) == 1:
                self._changed.notify()
        return True

    def close(self) -> RecordingSummary:
        """Write what is queued, the index and metadata.yaml; raises BagError when the disk fails."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        if self.error is not None:
            raise self.error
        return RecordingSummary(dict(self._messages), dict(self._dropped))

    def _work(self) -> None:
        try:
            synced = time.monotonic()
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._queue or self._closing, timeout=self._flush_s)
                    batch, self._queue = self._queue, deque()
                    closing = self._closing
                for topic, timestamp, payload in batch:
                    self._store(self._topics[topic], timestamp, payload)
                with self._changed:
                    self._waiting_bytes -= sum(len(payload) for _, _, payload in batch)
                if closing and not batch:
                    break
                if time.monotonic() - synced >= self._flush_s:
                    self._sync()
                    synced = time.monotonic()
            for known in list(self._topics.values()):
                self._announce(known)
            if self._seal is not None:
                seals = [base64.b64encode(payload).decode() for payload in self._seals]
                self._writer.set_custom_data(SEALS_KEY, json.dumps(seals))
            self._writer.set_custom_data(DROPPED_KEY, json.dumps(dict(self._dropped), sort_keys=True))
            self._writer.close()
            _sync_directory(self.path)
        except Exception as error:  # rosbags and the disk; whatever it was, the recorder must hear of it
            with contextlib.suppress(Exception):  # closing a file on a full disk fails too, and must not hide the first
                self._writer.abort()
            self.error = BagError(f"the recording {self.path} stopped: {error}; og-ros record --recover {self.path}")

    def _sync(self) -> None:
        if self._storage.chunk.bio.tell():
            self._storage.close_chunk()
        self._storage.bio.flush()
        os.fdatasync(self._storage.bio.fileno())

    def _store(self, topic: RecordedTopic, timestamp: int, payload: bytes) -> None:
        """Write a message, or what stands for it in a sealed recording."""
        if self._seal is None:
            self._writer.write(self._connection(topic), timestamp, payload)
        else:
            try:
                for stored in self._seal.message(topic, timestamp, payload):
                    self._write_stored(stored.topic, timestamp, stored.payload)
            except AttestationError:  # what is no CDR payload cannot be sealed, and must not be stored in clear
                self._dropped[topic.name] += 1
                return
        self._messages[topic.name] += 1

    def _announce(self, topic: RecordedTopic) -> None:
        """Let the recording know a topic, also one without a message."""
        if self._seal is None:
            self._connection(topic)
            return
        self._connection(self._seal.stored(topic))
        at_ns = time.time_ns()
        for stored in self._seal.definition(topic, at_ns):
            self._write_stored(stored.topic, at_ns, stored.payload)

    def _write_stored(self, topic: RecordedTopic, timestamp: int, payload: bytes) -> None:
        if topic.name == SEAL_TOPIC:
            self._seals.append(payload)
        self._writer.write(self._connection(topic), timestamp, payload)

    def _connection(self, topic: RecordedTopic) -> Connection:
        connection = self._connections.get(topic.name)
        if connection is None:
            connection = self._writer.add_connection(
                topic.name,
                topic.type,
                msgdef=topic.definition,
                rihs01=topic.type_hash,
                offered_qos_profiles=_distinct(topic.qos),
            )
            self._connections[topic.name] = connection
        return connection


def _distinct(profiles: Sequence[Qos]) -> list[Qos]:
    return list(dict.fromkeys(profiles))


def _sync_directory(path: Path) -> None:
    for name in (path, *path.iterdir()):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
