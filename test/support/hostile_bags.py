"""Recordings made to break their reader: what each holds, and what of the reader's one line tells it apart."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import raw_bags
from backports import zstd
from lz4 import frame as lz4
from raw_bags import MAGIC, Message, channel, chunk, record, schema, text

MESSAGES = [Message("/a", n) for n in range(12)]
TYPES = {"/a": "og_ros/msg/Attestation"}  # so that an audit reads every one of them
HEADER = MAGIC + record(1, text("ros2") + text("test"))
NAMES = schema(1, TYPES["/a"]) + channel(1, "/a", 1)


def ended(data: bytes) -> bytes:
    """Data with an end, so that nothing looks cut off."""
    return data + record(15, bytes(4)) + record(2, bytes(20)) + MAGIC


def one(payload: bytes, at: int = 5) -> bytes:
    return raw_bags.message(1, at, payload)


def packed_chunk(compression: str, packed: bytes) -> bytes:
    """A chunk of names whose compressed bytes are as given."""
    head = struct.pack("<QQQI", 0, 0, len(NAMES), 0) + text(compression)
    return record(6, head + struct.pack("<Q", len(packed)) + packed)


HOSTILE_MCAP: dict[str, tuple[bytes, str]] = {
    "zeros": (bytes(1000), "is no MCAP file"),
    "empty": (b"", "is empty"),
    "another profile": (ended(MAGIC + record(1, text("ros1") + text(""))), "is a recording of 'ros1'"),
    "a profile that is not UTF-8": (ended(MAGIC + record(1, text(b"\xff\xfe") + text(""))), "not UTF-8"),
    "a header of endless length": (MAGIC + record(1, b"", 2**63), "nothing of it can be read"),
    "a name that is not UTF-8": (ended(HEADER + schema(1, b"\xff") + channel(1, "/a", 1)), "not UTF-8"),
    "a name that clears the terminal": (ended(HEADER + schema(1, "a/b") + channel(1, "/\x1b[2J", 1)), r"'/\x1b[2J'"),
    "a name of endless length": (ended(HEADER + NAMES + channel(2, "/" + "a" * 10**5, 1)), "no ROS 2 records"),
    "a topic without a type": (ended(HEADER + channel(1, "/a", 7)), "no ROS 2 records"),
    "another encoding": (ended(HEADER + schema(1, "a/b") + channel(1, "/a", 1, "json")), "'json', not as CDR"),
    "a number for two topics": (ended(HEADER + NAMES + channel(1, "/b", 1)), "contradicts itself"),
    "a number for two types": (ended(HEADER + NAMES + schema(1, "a/b")), "contradicts itself"),
    "a message on no channel": (ended(HEADER + one(b"\0\1\0\0")), "channel 1, which it does not name"),
    "a message without a header": (ended(HEADER + NAMES + record(5, bytes(21))), "shorter than its header"),
    "a time beyond 2262": (ended(HEADER + NAMES + one(b"", 2**63)), "no time since 1970"),
    "a chunk of times beyond 2262": (ended(HEADER + chunk(NAMES, 5, 2**63)), "no time since 1970"),
    "a message outside of its chunk": (ended(HEADER + chunk(NAMES + one(b""), 6, 9)), "outside its chunk's times"),
    "a chunk in a chunk": (ended(HEADER + chunk(chunk(b"", 0, 0), 0, 0)), "a chunk lies in a chunk"),
    "a chunk whose content is cut": (ended(HEADER + chunk(NAMES[:-3], 0, 0)), "past the end of its chunk"),
    "a chunk of half a record": (ended(HEADER + chunk(b"\3\0", 0, 0)), "a record is broken"),
    "a short chunk": (ended(HEADER + record(6, bytes(20))), "a chunk is broken"),
    "a chunk that ends elsewhere": (
        ended(HEADER + record(6, bytes(28) + text("") + struct.pack("<Q", 2**40))),
        "a chunk is broken",
    ),
    "an unknown compression": (ended(HEADER + chunk(b"", 0, 0, "rar")), "compression 'rar' is unknown"),
    "a wrong checksum": (ended(HEADER + chunk(NAMES, 0, 0, crc=1)), "checksum does not match"),
    "a chunk of another size": (ended(HEADER + chunk(NAMES, 0, 0, size=5)), "other than the 5 bytes"),
    "a zstd bomb": (ended(HEADER + chunk(bytes(2**24), 0, 0, "zstd", size=1000)), "larger than the 1000 bytes"),
    "an LZ4 bomb": (ended(HEADER + chunk(bytes(2**24), 0, 0, "lz4", size=1000)), "larger than the 1000 bytes"),
    "a bomb that says so": (ended(HEADER + chunk(bytes(2**24), 0, 0, "zstd", size=2**60)), "larger than the"),
    "many bombs": (ended(HEADER + 9 * chunk(b"", 0, 0, "zstd", size=2**27)), "looks like a zip bomb"),
    "zstd that is noise": (ended(HEADER + packed_chunk("zstd", b"123456789")), "compressed data is damaged"),
    "zstd that is cut off": (ended(HEADER + packed_chunk("zstd", zstd.compress(NAMES)[:-5])), "is cut off"),
    "LZ4 that is cut off": (ended(HEADER + packed_chunk("lz4", lz4.compress(NAMES)[:-9])), "is cut off"),
    "bytes after zstd": (ended(HEADER + packed_chunk("zstd", zstd.compress(NAMES) + b"12")), "bytes follow"),
    "a footer that points nowhere": (HEADER + record(2, struct.pack("<QQI", 2**50, 0, 0)) + MAGIC, "no summary"),
    "a footer of another size": (HEADER + record(15, bytes(40)) + bytes(29) + MAGIC, "damaged"),
    "a summary that runs past its end": (
        HEADER + record(11, b"", 2**40) + record(2, struct.pack("<QQI", len(HEADER), 0, 0)) + MAGIC,
        "summary is broken",
    ),
    "statistics of half a record": (
        HEADER + record(11, b"1") + record(2, struct.pack("<QQI", len(HEADER), 0, 0)) + MAGIC,
        "statistics is broken",
    ),
}  # fmt: skip


def _change(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        raw_bags.sqlite(path, MESSAGES, types=TYPES)
        database = sqlite3.connect(path)
        database.executescript(statement)
        database.commit()
        database.close()

    return change


_ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x"
HOSTILE_SQLITE: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "no database": (lambda p: p.write_bytes(b"not a database" * 99), "is no SQLite database"),
    "cut off": (lambda p: (_change("")(p), p.write_bytes(p.read_bytes()[:4096])), "is damaged"),
    "no tables": (lambda p: sqlite3.connect(p).executescript("CREATE TABLE a(b)").close(), "has no table topics"),
    "a view for a table": (
        _change(
            f"DROP TABLE messages; CREATE VIEW messages AS {_ENDLESS} AS topic_id, x AS timestamp, x AS data FROM n"
        ),
        "its table messages is not the one",
    ),
    "a generated column": (
        _change(
            "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp,"
            " data AS (zeroblob(1000000000))); INSERT INTO messages(topic_id, timestamp) VALUES (1, 1)"
        ),
        "its table messages is not the one",
    ),
    "a virtual table": (
        _change("DROP TABLE topics; CREATE VIRTUAL TABLE topics USING fts5(id, name, type, serialization_format)"),
        "its table topics is not the one",
    ),
    "a table without a column": (_change("ALTER TABLE messages DROP COLUMN data"), "its table messages is not the one"),
    "a table without row numbers": (
        _change(
            "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id, timestamp, data)"
            " WITHOUT ROWID; INSERT INTO messages VALUES (1, 1, 1, x'00')"
        ),
        "no such column: rowid",
    ),
    "a time that is text": (_change("UPDATE messages SET timestamp = 'noon' WHERE id = 3"), "time is no number"),
    "a time with a fraction": (_change("UPDATE messages SET timestamp = 3.5 WHERE id = 3"), "no proper topic, time or"),
    "a time before 1970": (_change("UPDATE messages SET timestamp = -1 WHERE id = 3"), "no time since 1970"),
    "data that are text": (_change("UPDATE messages SET data = 'text' WHERE id = 3"), "no proper topic, time or data"),
    "a message on no topic": (
        _change("UPDATE messages SET topic_id = 7 WHERE id = 3"),
        "no proper topic, time or data",
    ),
    "a topic that is no text": (_change("UPDATE topics SET name = x'ff'"), "no proper name"),
    "a topic that is not UTF-8": (_change("UPDATE topics SET name = CAST(x'ff' AS TEXT)"), "UTF-8"),
    "another encoding": (_change("UPDATE topics SET serialization_format = 'json'"), "'json', not as CDR"),
}


def described(**changes: object) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        (directory / "bag.mcap").write_bytes(raw_bags.mcap(MESSAGES, types=TYPES))
        raw_bags.metadata(directory, "mcap", ["bag.mcap"], MESSAGES, types=TYPES, **changes)  # type: ignore[arg-type]

    return make


def _metadata_text(content: str) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        (directory / "bag.mcap").write_bytes(raw_bags.mcap(MESSAGES, types=TYPES))
        (directory / "metadata.yaml").write_text(content)

    return make


def _linked(target: str) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        described()(directory)
        (directory.parent / "outside.mcap").write_bytes((directory / "bag.mcap").read_bytes())
        (directory / "bag.mcap").unlink()
        (directory / "bag.mcap").symlink_to(target)

    return make


def _replaced(name: str, make_other: Callable[[Path], object]) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        described()(directory)
        (directory / name).unlink()
        make_other(directory / name)

    return make


def _bomb(directory: Path) -> None:
    (directory / "bag.mcap.zstd").write_bytes(zstd.compress(bytes(2**20)))
    raw_bags.metadata(directory, "mcap", ["bag.mcap.zstd"], MESSAGES, types=TYPES, compression="file")


def _message_bomb(directory: Path) -> None:
    packed = zstd.compress(bytes(2**20))
    (directory / "bag.mcap").write_bytes(raw_bags.mcap([Message("/a", 1, packed)] * 3, types=TYPES))
    raw_bags.metadata(directory, "mcap", ["bag.mcap"], MESSAGES, types=TYPES, compression="message")


HOSTILE_DIRECTORY: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda d: None, "neither metadata.yaml nor"),
    "no storage file": (lambda d: raw_bags.metadata(d, "mcap", ["bag.mcap"], MESSAGES, types=TYPES), "is missing"),
    "a path that goes up": (described(relative_file_paths=["../bag.mcap"]), "not in the recording's own directory"),
    "an absolute path": (described(relative_file_paths=["/etc/passwd"]), "not in the recording's own directory"),
    "a path with a NUL": (described(relative_file_paths=["a\0b"]), "not in the recording's own directory"),
    "a file twice": (described(relative_file_paths=["bag.mcap", "bag.mcap"]), "one of them twice"),
    "no files": (described(relative_file_paths=[]), "names no files"),
    "a file that is a number": (described(relative_file_paths=[["a"]]), "no list of texts"),
    "a link out of the directory": (_linked("../outside.mcap"), "leads out of the recording's own directory"),
    "a link to nowhere": (_linked("nowhere"), "No such file"),
    "a link to itself": (_linked("bag.mcap"), "cannot read"),
    "metadata that link to themselves": (_replaced("metadata.yaml", lambda p: p.symlink_to(p.name)), "metadata.yaml"),
    "a pipe": (_replaced("bag.mcap", os.mkfifo), "is no regular file"),
    "metadata that are a pipe": (_replaced("metadata.yaml", os.mkfifo), "is no regular file"),
    "a device": (_replaced("bag.mcap", lambda p: p.symlink_to("/dev/zero")), "leads out of"),
    "a directory": (_replaced("bag.mcap", Path.mkdir), "is no regular file"),
    "another storage": (described(storage_identifier="rocksdb"), "'rocksdb' cannot be read"),
    "the wrong storage": (described(storage_identifier="sqlite3"), "is no SQLite database"),
    "a later version": (described(version=10), "version 10 is unknown"),
    "a version that is text": (described(version="new"), "must be a number"),
    "a negative count": (described(topics_with_message_count=[
        {"topic_metadata": {"name": "/a", "type": "a/b"}, "message_count": -1}]), "not negative"),
    "no topics": (described(topics_with_message_count=None), "topics_with_message_count is missing"),
    "a topic that hides in the terminal": (described(topics_with_message_count=[
        {"topic_metadata": {"name": "/\x1b[2J", "type": "a/b"}, "message_count": 1}]), "no ROS 2 records"),
    "another compression": (described(compression_mode="FILE", compression_format="lzma"), "'lzma' cannot be read"),
    "a compression of chunks": (described(compression_mode="BITS", compression_format="zstd"), "'bits' is unknown"),
    "messages that are not compressed": (described(compression_mode="MESSAGE", compression_format="zstd"), "damaged"),
    "no YAML": (_metadata_text("a: ["), "is no YAML"),
    "empty metadata": (_metadata_text(""), "is no mapping"),
    "deep YAML": (_metadata_text("[" * 100_000), "metadata.yaml"),
    "large YAML": (_metadata_text("#" * (2**22 + 1)), "is larger than"),
    "YAML that grows": (_metadata_text(
        "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    ), "rosbag2_bagfile_information"),
    "a bomb": (_bomb, "times as large"),
    "messages that are bombs": (_message_bomb, "zip bomb"),
}  # fmt: skip
