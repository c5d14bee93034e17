"""What a cosigning witness remembers: of each log the newest checkpoint that it cosigned, and signed contradictions."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log import schema
from og_ros.log.checkpoint import Checkpoint
from og_ros.log.tile_writer import write_durably

DATABASE = "witness.db"
FORKS, UNPROVEN = "forks", "unproven"
_APPLICATION_ID = 0x4F47_5754  # "OGWT"
_SCHEMA = (
    "CREATE TABLE heads (origin TEXT PRIMARY KEY, size INTEGER NOT NULL,"
    " root BLOB NOT NULL CHECK (length(root) = 32), note TEXT NOT NULL) STRICT",
    "CREATE TRIGGER heads_no_delete BEFORE DELETE ON heads BEGIN SELECT RAISE(ABORT, 'a log is never forgotten'); END",
    "CREATE TRIGGER heads_only_grow BEFORE UPDATE ON heads"
    " WHEN NEW.size < OLD.size OR NEW.origin IS NOT OLD.origin"
    " OR (NEW.size = OLD.size AND NEW.root IS NOT OLD.root)"
    " BEGIN SELECT RAISE(ABORT, 'a log only grows'); END",
)
_MAX_KEPT = 100  # of one log and kind: one fork proves enough, and nobody must fill the disk


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint of a log that was cosigned: size, root, and the note with the cosignature."""

    size: int
    root: bytes
    note: str


def origin_id(origin: str) -> str:
    """The name of a log in paths: SHA-256 of its origin, in hex."""
    return hashlib.sha256(origin.encode()).hexdigest()


class WitnessState:
    """A state directory, made where there is none. A change is on the disk when its transaction ends.

    Methods raise LogError when the disk refuses, and may be called from any thread, and by several processes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / DATABASE
        self._mutex = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"{directory}: cannot be made: {error.strerror}") from error
        self._database = schema.connect_writer(self._file, create=True)
        try:
            with schema.guarded(self._file, "open"):
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close it."""
        with self._mutex:
            self._database.close()

    def head(self, origin: str) -> Head | None:
        """The newest checkpoint of a log that was cosigned."""
        with self._mutex, schema.guarded(self._file, "read"):
            return self._read(origin)

    @contextlib.contextmanager
    def advancing(self, origin: str) -> Iterator[tuple[Head, Advance]]:
        """Hold a log's head while it is compared and replaced: nobody else comes between.

        Gives the head (size 0 before the first) and what replaces it; without a call of that, nothing changes.
        """
        with self._mutex, schema.guarded(self._file, "advance"), schema.transaction(self._database, "IMMEDIATE"):
            yield self._read(origin) or Head(0, b"", ""), Advance(self._database, origin)

    def keep(self, kind: str, checkpoint: Checkpoint, note: str) -> Path | None:
        """Keep a signed checkpoint that was refused; its file, None when enough are kept.

        FORKS: it has another root than the one cosigned at its size, so it proves that its log lies. UNPROVEN: it came
        with a proof that does not hold, which may be the fault of whoever sent it, so those have a folder of their own.
        """
        folder = self.directory / kind / origin_id(checkpoint.origin)[:16]
        file = folder / f"{checkpoint.size}-{checkpoint.root.hex()[:16]}.checkpoint"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists() and sum(1 for _ in folder.iterdir()) >= _MAX_KEPT:
                return None
        except OSError as error:
            raise LogError(f"{folder}: cannot be written: {error.strerror}") from error
        write_durably(file, note.encode())
        return file

    def _read(self, origin: str) -> Head | None:
        row = self._database.execute("SELECT size, root, note FROM heads WHERE origin = ?", (origin,)).fetchone()
        return Head(*row) if row is not None else None

    def _prepare(self) -> None:
        if schema.is_blank(self._database):
            with schema.transaction(self._database, "IMMEDIATE"):
                if schema.is_blank(self._database):  # another process may have been first
                    for statement in _SCHEMA:
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        if self._database.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise LogError(f"{self._file}: is not a witness's state")
        found = {sql for (sql,) in self._database.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        if found != set(_SCHEMA):
            raise LogError(f"{self._file}: its schema was altered")


class Advance:
    """Replaces a log's head, within the transaction in which it was read."""

    def __init__(self, database: sqlite3.Connection, origin: str) -> None:
        self._database, self._origin = database, origin

    def __call__(self, size: int, root: bytes, note: str) -> None:
        """Put a head in the place of the one before."""
        self._database.execute(
            "INSERT INTO heads VALUES (?, ?, ?, ?)"
            " ON CONFLICT (origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
            (self._origin, size, root, note),
        )
