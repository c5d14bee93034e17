"""Reads a SQLite file (.db3) of a recording: immutable, so that nothing is written beside it, and with bounded work.

A database is a program as much as data: views, virtual tables, generated columns and b-trees that lead in a circle can
make a query run for ever. So only plain tables are read, and every query has a number of steps that fits the file.
Schema: rosbag2_storage_sqlite3, versions 1 to 4.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from og_ros.audit.recording.decompression import MAX_PIECE
from og_ros.audit.recording.storage import StoredTopic, check_names, check_time, regular_size
from og_ros.audit.recording.time_order import Span
from og_ros.audit.records import Record
from og_ros.errors import BagError

MAGIC: Final = b"SQLite format 3\0"
_MESSAGE_COLUMNS: Final = ("topic_id", "timestamp", "data")
_TOPIC_COLUMNS: Final = ("id", "name", "type", "serialization_format")
_MAX_TOPICS: Final = 65_536
_OUTLINE: Final = 4096
# A query does some ten steps of SQLite's machine a row, and a row takes four bytes of the file at least.
_STEPS: Final = 100_000
_LEAST_STEPS: Final = 50_000_000
_STEPS_PER_BYTE: Final = 4


class SqliteFile:
    """A SQLite file; see `og_ros.audit.storage.StorageFile`."""

    def __init__(self, path: Path) -> None:
        """Read the topics; raises BagError when it is no database of rosbag2, or damaged."""
        self.path = path
        self.cut = ""
        self._size = regular_size(path)
        self._by_id: dict[int, tuple[str, str]] = {}
        with open(path, "rb") as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{path} is no SQLite database: its first bytes are others")
        with self._database() as database:
            self._check_table(database, "topics", _TOPIC_COLUMNS)
            self._check_table(database, "messages", _MESSAGE_COLUMNS)
            self._index = self._time_index(database)
            self.topics = tuple(self._read_topics(database))
            order = f'INDEXED BY "{self._index}"' if self._index else "NOT INDEXED"
            extremes = [
                database.execute(f"SELECT timestamp FROM messages {order} ORDER BY timestamp {way} LIMIT 1").fetchone()
                for way in ("ASC", "DESC")
            ]
        self._first, self._last = (self._time(row[0]) if row else None for row in extremes)

    def count(self, topic: str) -> int:
        """Number of messages on a topic; reads the whole table."""
        identifiers = [i for i, (name, _) in self._by_id.items() if name == topic]
        with self._database() as database:
            marks = ",".join("?" * len(identifiers))
            query = f"SELECT count(*) FROM messages NOT INDEXED WHERE topic_id IN ({marks})"
            return int(database.execute(query, identifiers).fetchone()[0])

    def spans(self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None) -> list[Span]:
        """One span with all such messages; little of it is in memory at a time."""
        wanted = {i: name for i, name in self._by_id.items() if topics is None or name[0] in topics}
        if not wanted or self._first is None or self._last is None:
            return []
        first = self._first if start_ns is None else max(self._first, start_ns)
        last = self._last if stop_ns is None else min(self._last, stop_ns - 1)
        if first > last:
            return []
        return [Span(first, last, 0, partial(self._records, wanted, first, last))]

    def outline(self) -> list[tuple[int, float]]:
        """Some messages, evenly spread over the table; how large they are is not looked at."""
        with self._database() as database:
            low, high = database.execute("SELECT min(rowid), max(rowid) FROM messages NOT INDEXED").fetchone()
            if low is None:
                return []
            count = min(high - low + 1, _OUTLINE)
            query = "SELECT timestamp FROM messages NOT INDEXED WHERE rowid >= ? ORDER BY rowid LIMIT 1"
            rows = [database.execute(query, (low + (high - low) * n // count,)).fetchone() for n in range(count)]
        if None in rows:
            raise self._damaged("its table ends before its last row")
        return [(self._time(row[0]), self._size / count) for row in rows]

    def _records(self, wanted: dict[int, tuple[str, str]], first: int, last: int) -> Iterator[Record]:
        every = len(wanted) == len(self._by_id)
        only = "" if every else f"AND topic_id IN ({','.join('?' * len(wanted))})"
        values = (first, last, *(() if every else wanted))
        rows: Iterator[tuple[Any, Any, Any, Any]]
        with self._database() as database:
            if self._index:
                # The index holds (timestamp, rowid), so this order costs no sorting.
                rows = database.execute(
                    f'SELECT rowid, topic_id, timestamp, data FROM messages INDEXED BY "{self._index}" '
                    f"WHERE timestamp >= ? AND timestamp <= ? {only} ORDER BY timestamp, rowid",
                    values,
                )
            else:
                rows = self._sorted_rows(database, only, values)
            last_row, last_time = -1, -1
            for row, topic, time, data in rows:
                # SQLite's columns take any type; the query's bounds are proper times already.
                if type(time) is not int or type(data) is not bytes or topic not in wanted:
                    raise self._damaged(f"message {row} has no proper topic, time or data")
                if time < last_time or (time == last_time and row <= last_row):
                    raise self._damaged("its index leads to a message twice")
                last_row, last_time = row, time
                name, kind = wanted[topic]
                yield Record(name, kind, data, time)

    @staticmethod
    def _sorted_rows(
        database: sqlite3.Connection, only: str, values: tuple[int, ...]
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Sort without the payloads, which SQLite would keep in memory or on disk, and fetch those one by one."""
        order = database.execute(
            "SELECT rowid FROM messages NOT INDEXED "
            f"WHERE timestamp >= ? AND timestamp <= ? {only} ORDER BY timestamp, rowid",
            values,
        )
        fetch = "SELECT rowid, topic_id, timestamp, data FROM messages NOT INDEXED WHERE rowid = ?"
        for found in order:
            yield database.execute(fetch, found).fetchone()

    def _read_topics(self, database: sqlite3.Connection) -> Iterator[StoredTopic]:
        columns = self._columns(database, "topics")
        profiles = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        definitions: dict[Any, tuple[Any, Any]] = {}
        if self._columns(database, "message_definitions"):
            self._check_table(database, "message_definitions", ("topic_type", "encoding", "encoded_message_definition"))
            definitions = {
                name: (text, language)
                for name, language, text in database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions LIMIT ?",
                    (_MAX_TOPICS,),
                )
            }
        rows = database.execute(
            f"SELECT id, name, type, serialization_format, {profiles} FROM topics NOT INDEXED ORDER BY id LIMIT ?",
            (_MAX_TOPICS + 1,),
        )
        for identifier, name, kind, encoding, offered in rows:
            if not (isinstance(identifier, int) and all(isinstance(t, str) for t in (name, kind, encoding))):
                raise self._damaged(f"its topic {identifier!r} has no proper name, type or format")
            if identifier in self._by_id or len(self._by_id) == _MAX_TOPICS:
                raise self._damaged(f"it has topic {identifier} twice, or too many topics")
            check_names(self.path, name, kind)
            self._by_id[identifier] = (name, kind)
            text, language = definitions.get(kind, ("", ""))
            if not (isinstance(text, str) and isinstance(language, str)):
                text, language = "", ""
            yield StoredTopic(name, kind, encoding, text, language, offered if isinstance(offered, str) else "")

    def _time_index(self, database: sqlite3.Connection) -> str:
        """Return the name of a plain index of all messages by time, which rosbag2 makes; empty where there is none."""
        for _, name, _, _, partial_index in database.execute("PRAGMA index_list(messages)").fetchall():
            keys = [
                (column, descending, collation)
                for _, _, column, descending, collation, key in database.execute(
                    "SELECT * FROM pragma_index_xinfo(?)", (name,)
                )
                if key
            ]
            if not partial_index and '"' not in name and keys == [("timestamp", 0, "BINARY")]:
                return str(name)
        return ""

    def _check_table(self, database: sqlite3.Connection, name: str, columns: tuple[str, ...]) -> None:
        row = database.execute("SELECT type, rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise BagError(f"{self.path} is no recording of rosbag2: it has no table {name}")
        have = self._columns(database, name)
        # Views and virtual tables have no page of their own, and generated columns are hidden ones.
        if row[0] != "table" or not row[1] or not all(have.get(column) == 0 for column in columns):
            raise self._damaged(f"its table {name} is not the one that rosbag2 makes")

    @staticmethod
    def _columns(database: sqlite3.Connection, table: str) -> dict[str, int]:
        return {row[0]: row[1] for row in database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,))}

    def _time(self, value: Any) -> int:
        if not isinstance(value, int):
            raise self._damaged("a message's time is no number")
        check_time(self.path, value)
        return value

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the file for a while; `immutable` makes SQLite neither lock it nor look for or make files beside it."""
        budget = _LEAST_STEPS + _STEPS_PER_BYTE * self._size

        def step() -> bool:
            nonlocal budget
            budget -= _STEPS
            return budget < 0

        try:
            database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
            )
            try:
                database.set_progress_handler(step, _STEPS)
                if sys.version_info >= (3, 11):
                    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_PIECE)
                for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "query_only = ON", "mmap_size = 0"):
                    database.execute(f"PRAGMA {pragma}")
                yield database
            finally:
                database.close()
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            raise self._damaged("its pages lead on without end" if budget < 0 else str(error)) from error

    def _damaged(self, problem: str) -> BagError:
        return BagError(f"{self.path} is damaged: {problem}")
