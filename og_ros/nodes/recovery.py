"""Recovers a recording whose writer was killed: every chunk that reached the disk, in a proper rosbag2 again."""

from __future__ import annotations

import shutil
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.metadata import parse_qos
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros.audit.recording.bag import Bag, open_bag
from og_ros.audit.recording.storage import StoredTopic
from og_ros.errors import BagError


def recover(damaged: Path, target: Path) -> int:
    """Write what is left of the recording `damaged` to the new directory `target`; returns the number of messages.

    The damaged recording stays as it is. Raises BagError when it is none, when its bytes were changed rather than cut
    off, or when `target` exists or cannot be written.
    """
    if target.exists():
        raise BagError(f"{target} exists already; recover to a new directory")
    complete = False
    try:
        with open_bag(damaged) as bag, Writer(target, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            count = _copy(bag, writer)
        complete = True
    except BagError:
        raise
    except Exception as error:  # names and definitions come from the recording, and rosbags raises what it likes
        raise BagError(f"{damaged} cannot be recovered to {target}: {type(error).__name__}: {error}") from error
    finally:
        if not complete:
            shutil.rmtree(target, ignore_errors=True)
    return count


def _copy(bag: Bag, writer: Writer) -> int:
    connections = {(t.name, t.type): _connect(writer, t) for topics in bag.stored.values() for t in topics[:1]}
    count = 0
    for record in bag.records():
        connection = connections.get((record.topic, record.type))
        if connection is None:  # a second type under one name
            topic = next(t for t in bag.stored[record.topic] if t.type == record.type)
            connection = connections[record.topic, record.type] = _connect(writer, topic)
        writer.write(connection, record.received_ns, record.payload)
        count += 1
    return count


def _connect(writer: Writer, topic: StoredTopic) -> Connection:
    definition = topic.definition or _known_definition(topic)
    return writer.add_connection(
        topic.name,
        topic.type,
        msgdef=definition,
        rihs01=_type_hash(topic.type, definition),
        offered_qos_profiles=parse_qos(topic.profiles),
    )


def _known_definition(topic: StoredTopic) -> str:
    store = get_typestore(Stores.ROS2_JAZZY)
    if topic.type not in store.fielddefs:
        raise BagError(f"the definition of {topic.type}, the type of {topic.name}, is lost")
    return store.generate_msgdef(topic.type, ros_version=2)[0]


def _type_hash(name: str, definition: str) -> str:
    store = get_typestore(Stores.EMPTY)
    try:
        store.register(get_types_from_msg(definition, name))
        return store.hash_rihs01(name)
    except Exception:  # rosbags' grammar and store raise what they like; the messages are worth more than the hash
        return ""
