"""Writes records as a rosbag2 recording, each with the message definitions that a real recorder embeds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from og_ros.audit.records import Record

MESSAGES = Path(__file__).resolve().parents[2] / "msg"


@lru_cache
def typestore(distribution: Stores = Stores.ROS2_JAZZY) -> Typestore:
    """Return a distribution's message types and og_ros's own."""
    store = get_typestore(distribution)
    for file in sorted(MESSAGES.glob("*.msg")):
        types = get_types_from_msg(file.read_text(), f"og_ros/msg/{file.stem}")
        store.register({name: value for name, value in types.items() if name not in store.fielddefs})
    return store


def write_bag(records: Iterable[Record], directory: Path, storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    """Write records as they come; a topic that is recorded with two types has two connections."""
    with Writer(directory, version=8, storage_plugin=storage) as writer:
        connections = {}
        for record in records:
            key = (record.topic, record.type)
            if key not in connections:
                connections[key] = writer.add_connection(record.topic, record.type, typestore=typestore())
            writer.write(connections[key], record.received_ns, record.payload)
    return directory
