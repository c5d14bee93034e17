"""Unseals a sealed recording: an ordinary rosbag2 again, every digest checked, whatever was altered named."""

from __future__ import annotations

import base64
import json
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec
from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from og_ros.attest.content_key import KeyRing
from og_ros.attest.seal_order import SealOrder
from og_ros.attest.sealed_wire import (
    DEFINITION_TOPIC,
    DEFINITION_TYPE,
    SEAL_TYPE,
    SEALED_TYPE,
    SEALS_KEY,
    TopicDefinition,
    read_definition,
    read_seal,
    read_sealed,
)
from og_ros.attest.sealing import open_sealed
from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.audit.records import Record
from og_ros.errors import AttestationError, BagError, SealError

UNSEALED_KEY: Final = "og_ros.unsealed"
Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Refused:
    """A record that does not hold: its topic, its time of arrival (ns; 0: none), and why."""

    topic: str
    received_ns: int
    reason: str


@dataclass
class UnsealSummary:
    """What was written, messages a topic, and what was refused or is missing."""

    messages: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing was refused and nothing is known to be missing."""
        return not self.refused


def key_ring(bag: Bag, private_key: ec.EllipticCurvePrivateKey) -> tuple[KeyRing, list[Refused]]:
    """Return what a key opens of a recording, and the Seals that are malformed.

    Raises BagError when the recording is not sealed, SealError when it is sealed for others.
    """
    ring, refused, others = KeyRing(private_key), [], set()
    for payload, record in _seals(bag):
        try:
            seal = read_seal(payload)
        except AttestationError as error:
            refused.append(Refused(record.topic if record else "metadata.yaml", _time(record), f"malformed: {error}"))
            continue
        if not ring.learn(seal):
            others |= {key.recipient.hex()[:16] for key in seal.keys}
    if not ring.is_recipient:
        if not others and not refused:
            raise BagError(f"{bag.path} is not sealed: it has no Seal")
        known = ", ".join(sorted(others)) or "nobody: its Seals are damaged"
        raise SealError(f"{bag.path} is not sealed for the key {ring.recipient.hex()[:16]}, but for {known}")
    return ring, refused


def unseal(
    path: Path,
    target: Path,
    private_key: ec.EllipticCurvePrivateKey,
    *,
    topics: Collection[str] | None = None,
    start_ns: int | None = None,
    stop_ns: int | None = None,
    progress: Progress | None = None,
) -> UnsealSummary:
    """Write a sealed recording, or some topics or a span of time (wall time, ns) of it, as an ordinary one.

    Topics, order, times, types and QoS are those that were recorded. What does not hold is left out and told in the
    summary, and metadata.yaml says how much it is (custom_data, "og_ros.unsealed"). The directory `target` appears
    once it is complete. Raises BagError or SealError where nothing can be unsealed.
    """
    if target.exists():
        raise BagError(f"{target} exists already; unseal to a new directory")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    whole = topics is None and start_ns is None and stop_ns is None
    try:
        with open_bag(path) as bag:
            missing = sorted(set(topics or ()) - bag.topics.keys())
            if missing:
                raise BagError(f"{bag.path} has no topic {missing[0]}; it has {', '.join(sorted(bag.topics))}")
            ring, refused = key_ring(bag, private_key)
            work = _Unsealing(bag, ring, topics)
            work.summary.refused += refused
            with _writer(partial, bag.path) as writer:
                work.write(writer, start_ns, stop_ns, progress)
                if whole:
                    work.check_order()
                state = {"whole": whole, "refused": len(work.summary.refused)}
                writer.set_custom_data(UNSEALED_KEY, json.dumps(state))
        partial.rename(target)
    except OSError as error:
        raise BagError(f"cannot write {target}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return work.summary


class _Unsealing:
    """One recording on its way into another."""

    def __init__(self, bag: Bag, ring: KeyRing, topics: Collection[str] | None) -> None:
        self.summary = UnsealSummary()
        self._bag, self._ring = bag, ring
        self._order = SealOrder()
        self._definitions = self._read_definitions()
        self._connections = _outline(bag.path).connections
        own = {name for name, topic in bag.topics.items() if topic.type == SEAL_TYPE} | {DEFINITION_TOPIC}
        self._topics = [name for name in bag.topics if name not in own and (topics is None or name in topics)]
        self._written: dict[str, Connection] = {}

    def write(self, writer: Writer, start_ns: int | None, stop_ns: int | None, progress: Progress | None) -> None:
        """Copy the messages."""
        for name in self._topics:  # a topic without a message is known all the same
            if name in self._definitions or self._bag.topics[name].type != SEALED_TYPE:
                self._connect(writer, name, "")
        total = sum(self._bag.topics[name].count for name in self._topics)
        for done, record in enumerate(self._bag.records(self._topics, start_ns, stop_ns), 1):
            if progress is not None and (done % 256 == 0 or done == total):
                progress(done, total)
            kind, payload = record.type, bytes(record.payload)
            try:
                if kind == SEALED_TYPE:
                    kind, payload = self._open(record)
                connection = self._connect(writer, record.topic, kind)
            except AttestationError as error:
                self._refuse(record, str(error))
                continue
            writer.write(connection, record.received_ns, payload)
            self.summary.messages[record.topic] += 1

    def check_order(self) -> None:
        """Refuse what is missing among the sealed messages."""
        for number, count in self._order.gaps():
            reason = f"{count} sealed messages under content key {number}, or more, are missing or refused"
            self.summary.refused.append(Refused("", 0, reason))

    def _read_definitions(self) -> dict[str, TopicDefinition]:
        found: dict[str, TopicDefinition] = {}
        if DEFINITION_TOPIC not in self._bag.topics:
            return found
        for record in self._bag.records([DEFINITION_TOPIC]):
            try:
                kind, payload = self._open(record)
                if kind != DEFINITION_TYPE:
                    raise AttestationError(f"it holds a {kind}")
                definition = read_definition(payload)
                found.setdefault(definition.topic, definition)
            except AttestationError as error:
                self._refuse(record, str(error))
        return found

    def _open(self, record: Record) -> tuple[str, bytes]:
        sealed = read_sealed(record.payload)
        payload = open_sealed(self._ring, record.topic, record.received_ns, sealed)
        if not self._order.add(sealed):
            raise SealError(f"it is there twice: content key {sealed.key_number}, counter {sealed.counter}")
        definition = self._definitions.get(record.topic) if record.topic != DEFINITION_TOPIC else None
        if definition is not None and definition.type != sealed.type:
            raise SealError(f"it is a {sealed.type} on a topic of {definition.type}")
        return sealed.type, payload

    def _connect(self, writer: Writer, name: str, kind: str) -> Connection:
        """Return the connection of a topic; raises SealError when the definition of its type is lost."""
        connection = self._written.get(name)
        if connection is None:
            source, definition = self._connections.get(name), self._definitions.get(name)
            if definition is not None:
                kind, text, type_hash = definition.type, definition.definition, definition.type_hash
            elif source is not None and source.msgtype != SEALED_TYPE:
                kind, text, type_hash = source.msgtype, source.msgdef.data, source.digest
            else:
                text, type_hash = _known_definition(kind)
            qos = source.ext.offered_qos_profiles if source and isinstance(source.ext, ConnectionExtRosbag2) else ()
            connection = writer.add_connection(
                name, kind, msgdef=text, rihs01=type_hash or "RIHS01_" + 64 * "0", offered_qos_profiles=qos
            )
            self._written[name] = connection
        return connection

    def _refuse(self, record: Record, reason: str) -> None:
        self.summary.refused.append(Refused(record.topic, record.received_ns, reason))


def _seals(bag: Bag) -> Iterator[tuple[bytes | memoryview, Record | None]]:
    """Yield the serialised Seals of a recording: its messages, and their copies in metadata.yaml."""
    topics = [name for name, topic in bag.topics.items() if topic.type == SEAL_TYPE]
    if topics:
        for record in bag.records(topics):
            yield record.payload, record
    for payload in _outline(bag.path).seals:
        yield payload, None


@dataclass(frozen=True)
class _Outline:
    """What rosbags tells of a recording: how each topic was recorded, and the Seals in metadata.yaml."""

    connections: dict[str, Connection] = field(default_factory=dict)
    seals: tuple[bytes, ...] = ()


def _outline(path: Path) -> _Outline:
    """Return what rosbags can tell; nothing of a damaged recording, of which `open_bag` reads what is left."""
    try:
        with Reader(path) as reader:
            connections = {connection.topic: connection for connection in reader.connections}
            custom = reader.storage.metadata.custom or {}
            texts = json.loads(custom.get(SEALS_KEY, "[]"))
            return _Outline(connections, tuple(base64.b64decode(text, validate=True) for text in texts))
    except Exception:  # rosbags' parsers raise what they like on hostile texts
        return _Outline()


def _known_definition(kind: str) -> tuple[str, str]:
    store = get_typestore(Stores.ROS2_JAZZY)
    if kind not in store.fielddefs:
        raise SealError(f"the definition of its topic's type {kind} is lost")
    return store.generate_msgdef(kind, ros_version=2)[0], store.hash_rihs01(kind)


@contextmanager
def _writer(path: Path, source: Path) -> Iterator[Writer]:
    try:
        with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            yield writer
    except (OSError, BagError, SealError):
        raise
    except Exception as error:  # names and definitions come from the recording, and rosbags raises what it likes
        raise BagError(f"{source} cannot be unsealed: {type(error).__name__}: {error}") from error


def _time(record: Record | None) -> int:
    return record.received_ns if record is not None else 0
