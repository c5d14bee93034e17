"""Recordings written byte by byte, so that they can be laid out, cut, and broken in ways that no writer offers."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from backports import zstd
from lz4 import frame as lz4

MAGIC = b"\x89MCAP0\r\n"
PROFILES = "- history: 1\n  depth: 10\n  reliability: 1\n  durability: 1\n"


@dataclass(frozen=True)
class Message:
    """A message: topic, time of arrival in ns, payload."""

    topic: str
    time: int
    payload: bytes = b"\0\1\0\0data"


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def record(kind: int, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<BQ", kind, len(body) if size is None else size) + body


def schema(identifier: int, name: str | bytes, definition: str = "string data\n") -> bytes:
    return record(3, struct.pack("<H", identifier) + text(name) + text("ros2msg") + text(definition))


def channel(identifier: int, topic: str | bytes, schema_id: int, encoding: str = "cdr", profiles: str = "") -> bytes:
    metadata = text("offered_qos_profiles") + text(profiles)
    return record(4, struct.pack("<HH", identifier, schema_id) + text(topic) + text(encoding) + text(metadata))


def message(identifier: int, time: int, payload: bytes) -> bytes:
    return record(5, struct.pack("<HIQQ", identifier, 0, time, time) + payload)


def chunk(content: bytes, first: int, last: int, compression: str = "", size: int | None = None, crc: int = 0) -> bytes:
    packed = {"": bytes, "zstd": zstd.compress, "lz4": lz4.compress}.get(compression, bytes)(content)
    head = struct.pack("<QQQI", first, last, len(content) if size is None else size, crc)
    return record(6, head + text(compression) + struct.pack("<Q", len(packed)) + packed)


def mcap(
    messages: Sequence[Message],
    *,
    per_chunk: int = 3,
    compression: str = "",
    summary: bool = True,
    types: dict[str, str] | None = None,
    profile: str = "ros2",
) -> bytes:
    """A whole MCAP file; `per_chunk` 0 writes no chunks. The types of topics are std_msgs/msg/String unless given."""
    topics = list(dict.fromkeys(m.topic for m in messages))
    kinds = {topic: (types or {}).get(topic, "std_msgs/msg/String") for topic in topics}
    names = [schema(i + 1, kinds[topic]) + channel(i + 1, topic, i + 1) for i, topic in enumerate(topics)]
    data = MAGIC + record(1, text(profile) + text("test"))
    said: set[str] = set()
    step = per_chunk or len(messages) or 1
    for begin in range(0, len(messages), step):
        part = messages[begin : begin + step]
        content = b""
        for item in part:
            index = topics.index(item.topic)
            content += b"" if item.topic in said else names[index]
            said.add(item.topic)
            content += message(index + 1, item.time, item.payload)
        times = [item.time for item in part]
        data += chunk(content, min(times), max(times), compression) if per_chunk else content
    data += record(15, bytes(4))
    start = len(data)
    if summary:
        data += b"".join(names) + statistics(messages, topics)
    return data + record(2, struct.pack("<QQI", start if summary else 0, 0, 0)) + MAGIC


def statistics(messages: Iterable[Message], topics: list[str]) -> bytes:
    times = [m.time for m in messages]
    counts = [(i + 1, sum(m.topic == topic for m in messages)) for i, topic in enumerate(topics)]
    head = struct.pack(
        "<QHIIIIQQ", len(times), len(topics), len(topics), 0, 0, 0, min(times, default=0), max(times, default=0)
    )
    return record(11, head + struct.pack("<I", 10 * len(counts)) + b"".join(struct.pack("<HQ", *c) for c in counts))


def sqlite(path: Path, messages: Sequence[Message], *, index: bool = True, types: dict[str, str] | None = None) -> None:
    """A SQLite file as rosbag2 makes it (schema 3)."""
    database = sqlite3.connect(path)
    database.executescript(
        "CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);"
        "INSERT INTO schema VALUES (3, 'humble');"
        "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
        " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);"
        "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,"
        " data BLOB NOT NULL);"
    )
    if index:
        database.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
    topics = list(dict.fromkeys(m.topic for m in messages))
    for i, topic in enumerate(topics):
        kind = (types or {}).get(topic, "std_msgs/msg/String")
        database.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (i + 1, topic, kind))
    database.executemany(
        "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)",
        [(topics.index(m.topic) + 1, m.time, m.payload) for m in messages],
    )
    database.commit()
    database.close()


def metadata(
    directory: Path,
    storage: str,
    files: Sequence[str],
    messages: Sequence[Message],
    *,
    types: dict[str, str] | None = None,
    compression: str = "",
    **changes: object,
) -> None:
    """The metadata.yaml of a recording; `changes` replaces fields, and None removes them."""
    topics = list(dict.fromkeys(m.topic for m in messages))
    times = [m.time for m in messages] or [0]
    information: dict[str, object] = {
        "version": 5,
        "storage_identifier": storage,
        "duration": {"nanoseconds": max(times) - min(times)},
        "starting_time": {"nanoseconds_since_epoch": min(times)},
        "message_count": len(messages),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": (types or {}).get(topic, "std_msgs/msg/String"),
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                },
                "message_count": sum(m.topic == topic for m in messages),
            }
            for topic in topics
        ],
        "compression_format": "zstd" if compression else "",
        "compression_mode": compression.upper(),
        "relative_file_paths": list(files),
        **changes,
    }
    information = {name: value for name, value in information.items() if value is not None}
    (directory / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}))


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """What lies in a directory, with times of change: an auditor leaves it as it was."""
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in directory.iterdir() if p.is_file()}
