"""The durable outbox: checkpoints that are to settle, on the disk before they are sent, with each attempt."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import LogError, SettlementError
from og_ros.log import StoredCheckpoint
from og_ros.log.schema import transaction
from og_ros.log.writer_lock import WriterLock
from og_ros.settlement.backend import Attempt, Item
from og_ros.settlement.receipt import Level

FILE: Final = "outbox.db"
_APPLICATION: Final = 0x4F47_4F42  # "OGOB"
_SCHEMA: Final = (
    "CREATE TABLE items (number INTEGER PRIMARY KEY, backend TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL,"
    " level INTEGER NOT NULL, made_ns INTEGER NOT NULL, dead TEXT NOT NULL DEFAULT '',"
    " receipt TEXT NOT NULL DEFAULT '') STRICT",
    "CREATE TABLE attempts (number INTEGER PRIMARY KEY, item INTEGER NOT NULL REFERENCES items, payload BLOB NOT NULL,"
    " reference BLOB NOT NULL, detail TEXT NOT NULL) STRICT",
    "CREATE INDEX open_items ON items (backend, level, dead)",
    "CREATE INDEX attempts_of ON attempts (item)",
)


@dataclass(frozen=True, slots=True)
class Row:
    """An item with what became of it: the backend's name, why it is dead (empty: it is not), its receipt once final."""

    backend: str
    item: Item
    dead: str
    receipt: str


class Outbox:
    """An outbox in a directory, made where there is none. A change is on the disk when its method returns.

    One process writes (a POSIX lock beside it), others may read. Raises SettlementError.
    """

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self.file = directory / FILE
        self._lock: WriterLock | None = None
        if not read_only:
            with self._guarded("make its directory"):
                directory.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = WriterLock(directory)
            except LogError as error:
                raise SettlementError(f"{directory}: cannot be written, or another run settles from it") from error
        with self._guarded("open"):
            if read_only:
                if not self.file.is_file():
                    raise SettlementError(f"{self.file}: there is no outbox here")
                uri = f"{self.file.absolute().as_uri()}?mode=ro"
                self._database = sqlite3.connect(uri, uri=True, isolation_level=None)
            else:
                self._database = sqlite3.connect(self.file, isolation_level=None)
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = FULL")
            try:
                self._prepare(read_only)
            except BaseException:
                self._database.close()
                raise

    def close(self) -> None:
        """Close it."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def add(self, backend: str, checkpoint: StoredCheckpoint, attempt: Attempt, now_ns: int) -> Item:
        """Take a checkpoint and the attempt with which it is about to be sent."""
        with self._guarded("add a checkpoint"), transaction(self._database, "IMMEDIATE"):
            row = self._database.execute(
                "INSERT INTO items (backend, size, root, level, made_ns) VALUES (?, ?, ?, ?, ?)",
                (backend, checkpoint.size, checkpoint.root, int(Level.SUBMITTED), now_ns),
            )
            number = int(row.lastrowid or 0)
            self._insert(number, attempt)
        return Item(number, checkpoint.size, checkpoint.root, Level.SUBMITTED, (attempt,), now_ns)

    def add_attempt(self, item: Item, attempt: Attempt) -> None:
        """Take another attempt for an item."""
        with self._guarded("add an attempt"), transaction(self._database, "IMMEDIATE"):
            self._insert(item.number, attempt)

    def update(self, item: Item, level: Level, receipt: str = "", dead: str = "") -> None:
        """Note how far an item came."""
        with self._guarded("note a level"), transaction(self._database, "IMMEDIATE"):
            self._database.execute(
                "UPDATE items SET level = ?, receipt = ?, dead = ? WHERE number = ?",
                (int(level), receipt, dead, item.number),
            )

    def open_items(self, backend: str) -> list[Item]:
        """Return what is neither final nor dead, oldest first."""
        return [row.item for row in self._rows("backend = ? AND level < ? AND dead = ''", (backend, int(Level.FINAL)))]

    def newest(self, backend: str) -> Item | None:
        """Return the newest item that is not dead."""
        # Backwards from the end: an outbox may be years long.
        newest = "SELECT number FROM items NOT INDEXED WHERE backend = ? AND dead = '' ORDER BY number DESC LIMIT 1"
        where = f"number = ({newest})"
        return next((row.item for row in self._rows(where, (backend,))), None)

    def rows(self, backend: str | None = None, after: int = 0) -> list[Row]:
        """Return everything, or everything of a backend, from behind a row's number on, oldest first."""
        return self._rows("number > ?2 AND (?1 IS NULL OR backend = ?1)", (backend, after))

    def number_of(self, backend: str, size: int) -> int:
        """Return the number of a backend's newest row of at most a size; 0 where there is none."""
        with self._guarded("read"):
            query = "SELECT coalesce(max(number), 0) FROM items WHERE backend = ? AND size <= ?"
            return int(self._database.execute(query, (backend, size)).fetchone()[0])

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Row]:
        with self._guarded("read"):
            rows = self._database.execute(
                f"SELECT number, backend, size, root, level, made_ns, dead, receipt FROM items WHERE {where}"
                " ORDER BY number",
                values,
            ).fetchall()
            found = []
            for number, backend, size, root, level, made_ns, dead, receipt in rows:
                attempts = self._database.execute(
                    "SELECT payload, reference, detail FROM attempts WHERE item = ? ORDER BY number", (number,)
                )
                item = Item(number, size, root, Level(level), tuple(Attempt(*one) for one in attempts), made_ns)
                found.append(Row(backend, item, dead, receipt))
        return found

    def _insert(self, number: int, attempt: Attempt) -> None:
        self._database.execute(
            "INSERT INTO attempts (item, payload, reference, detail) VALUES (?, ?, ?, ?)",
            (number, attempt.payload, attempt.reference, attempt.detail),
        )

    def _prepare(self, read_only: bool) -> None:
        blank = self._database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if blank and not read_only:
            with transaction(self._database, "IMMEDIATE"):
                for statement in _SCHEMA:
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA application_id = {_APPLICATION}")
        if self._database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
            raise SettlementError(f"{self.file}: is not an outbox")

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError, ValueError) as error:
            raise SettlementError(f"{self.file}: cannot {doing}: {error}") from error
