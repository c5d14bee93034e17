"""Reads a rosbag2 recording (sqlite3 or MCAP, zstd too) as raw messages, without ROS."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from og_ros.audit.records import Record
from og_ros.errors import BagError

_HEADER: Final = "std_msgs/msg/Header"


@dataclass(frozen=True)
class Topic:
    """A recorded topic: name, full type name, number of messages, and whether its messages begin with a Header."""

    name: str
    type: str
    count: int
    stamped: bool


class Bag:
    """An open recording; make it with `open_bag`."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self.path = path
        stamped = _StampedTypes()
        self.topics: dict[str, Topic] = {}
        for connection in reader.connections:
            known = self.topics.get(connection.topic)
            count = connection.msgcount + (known.count if known else 0)
            self.topics[connection.topic] = Topic(
                connection.topic, connection.msgtype, count, stamped.has_header(connection)
            )

    @property
    def start_ns(self) -> int:
        """Wall time of the first message, ns; 0 for an empty recording."""
        return int(self._reader.start_time) if self.count else 0

    @property
    def end_ns(self) -> int:
        """Wall time of the last message, ns; 0 for an empty recording."""
        return int(self._reader.end_time) - 1 if self.count else 0

    @property
    def count(self) -> int:
        """Number of messages."""
        return int(self._reader.message_count)

    def records(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Record]:
        """Yield the messages of some topics (all by default) in the order of their arrival.

        From `start_ns` on and before `stop_ns`, by time of arrival, where they are given. Raises BagError, naming the
        recording, where its bytes cannot be read.
        """
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with _errors(self.path):
            for connection, timestamp, data in self._reader.messages(wanted, start_ns, stop_ns):
                yield Record(connection.topic, connection.msgtype, data, timestamp)


class _StampedTypes:
    """Knows which message types begin with a std_msgs/Header, from ROS's own types and the recording's definitions."""

    def __init__(self) -> None:
        self._fields = get_typestore(Stores.ROS2_JAZZY).fielddefs

    def has_header(self, connection: Connection) -> bool:
        definition = self._fields.get(connection.msgtype)
        if definition is None:
            try:
                found = get_types_from_msg(connection.msgdef.data, connection.msgtype)
            except Exception:  # rosbags' grammar raises what it likes on a robot's text; unknown means no stamp
                return False
            definition = found.get(connection.msgtype)
        if definition is None or not definition[1]:
            return False
        return str(definition[1][0][1][1]) == _HEADER


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a rosbag2 directory, or a storage file inside one; raises BagError with one clear sentence."""
    directory = path.parent if path.is_file() and (path.parent / "metadata.yaml").is_file() else path
    if not directory.exists():
        raise BagError(f"there is no recording at {path}")
    if not directory.is_dir() or not (directory / "metadata.yaml").is_file():
        raise BagError(f"{path} is no rosbag2 recording: a directory with metadata.yaml is expected")
    reader = Reader(directory)
    with _errors(directory):
        reader.open()
    try:
        yield Bag(reader, directory)
    finally:
        with _errors(directory):
            reader.close()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BagError:
        raise
    except (ReaderError, sqlite3.Error, OSError) as error:
        raise BagError(f"cannot read the recording {path}: {error}") from error
    except GeneratorExit:
        raise
    except Exception as error:
        # rosbags' parsers let struct, zstd and index errors through on damaged files.
        raise BagError(f"the recording {path} is damaged: {type(error).__name__}: {error}") from error
