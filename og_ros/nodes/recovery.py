"""Recovers a recording whose writer was killed: every chunk that reached the disk, in a proper rosbag2 again."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import decompress, get_qos
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros.errors import BagError

_MAGIC: Final = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0F
_CUT: Final = (struct.error, IndexError, UnicodeDecodeError, ValueError)


def recover(damaged: Path, target: Path) -> int:
    """Write what is left of the recording `damaged` to the new directory `target`; returns the number of messages.

    The damaged recording stays as it is. Raises BagError when it has no MCAP file, or nothing can be saved.
    """
    files = sorted(damaged.glob("*.mcap"))
    if not files:
        raise BagError(f"{damaged} has no MCAP file; only recordings of og-ros record can be recovered")
    if target.exists():
        raise BagError(f"{target} exists already; recover to a new directory")
    count = 0
    writer = Writer(target, version=8, storage_plugin=StoragePlugin.MCAP)
    with writer:
        for file in files:
            count += _copy(file, writer)
    return count


def _copy(file: Path, writer: Writer) -> int:
    schemas: dict[int, tuple[str, str]] = {}
    channels: dict[int, Connection] = {}
    count = 0
    for kind, record in _all_records(file):
        if kind == _SCHEMA:
            (identifier,) = struct.unpack_from("<H", record)
            name, at = _text(record, 2)
            _, at = _text(record, at)
            schemas[identifier] = (name, _text(record, at)[0])
        elif kind == _CHANNEL:
            identifier, schema = struct.unpack_from("<HH", record)
            topic, at = _text(record, 4)
            _, at = _text(record, at)
            if identifier not in channels and schema in schemas:
                size = struct.unpack_from("<I", record, at)[0]
                metadata = record[at + 4 : at + 4 + size]
                name, definition = schemas[schema]
                channels[identifier] = writer.add_connection(
                    topic,
                    name,
                    msgdef=definition,
                    rihs01=_type_hash(name, definition),
                    offered_qos_profiles=get_qos(metadata),
                )
        elif kind == _MESSAGE:
            channel, _, timestamp = struct.unpack_from("<HIQ", record)
            if channel in channels:
                writer.write(channels[channel], timestamp, record[22:])
                count += 1
    return count


def _all_records(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a file and of its whole chunks, up to where it was cut off."""
    with open(file, "rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BagError(f"{file} is no MCAP file")
        while len(head := stream.read(9)) == 9:
            kind, size = struct.unpack("<BQ", head)
            if kind == _DATA_END:
                return
            if size > 2**34:
                return
            record = stream.read(size)
            if len(record) != size:
                return
            if kind != _CHUNK:
                yield kind, record
                continue
            try:
                yield from list(_chunk(record))
            except _CUT as error:
                raise BagError(f"{file} has a damaged chunk before its end: {error}") from error


def _chunk(record: bytes) -> Iterator[tuple[int, bytes]]:
    _, _, size, crc = struct.unpack_from("<QQQI", record)
    compression, at = _text(record, 28)
    (compressed,) = struct.unpack_from("<Q", record, at)
    data = decompress(record[at + 8 : at + 8 + compressed], compression, size, crc)
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<BQ", data, at)
        yield kind, data[at + 9 : at + 9 + length]
        at += 9 + length


def _text(record: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", record, at)
    end = at + 4 + size
    if end > len(record):
        raise ValueError("a text is cut off")
    return record[at + 4 : end].decode(), end


def _type_hash(name: str, definition: str) -> str:
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, name))
        return store.hash_rihs01(name)
    except Exception:  # rosbags' grammar and store raise what they like; the messages are worth more than the hash
        return ""
