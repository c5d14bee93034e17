"""The ledger's SQLite file: its tables, the triggers that keep them append-only, and how it is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from og_ros.errors import LogError

DATABASE = "log.db"
APPLICATION_ID = 0x4F47_4C47  # "OGLG"
VERSION = 2
OLDEST_VERSION = 1
"""The oldest version that is read; opened for writing, such a ledger is brought up to VERSION."""


def _append_only(table: str, key: str) -> dict[str, str]:
    """Triggers that abort update, delete, and any insert but the next key: REPLACE fires no delete trigger."""
    return {
        f"{table}_no_update": f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are append-only: no update'); END",
        f"{table}_no_delete": f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are append-only: no delete'); END",
        f"{table}_in_order": f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table}"
        f" WHEN NEW.{key} IS NOT (SELECT coalesce(max({key}), -1) + 1 FROM {table})"
        f" BEGIN SELECT RAISE(ABORT, '{table} are append-only: insert is not the next'); END",
    }


SCHEMA: dict[str, str] = {
    # Who this log is: origin and vkey, one row.
    "log": "CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 0), origin TEXT NOT NULL, vkey TEXT NOT NULL,"
    " created_ns INTEGER NOT NULL) STRICT",
    # The hash stands before the data, so that reading hashes does not read the data's overflow pages.
    "leaves": "CREATE TABLE leaves (id INTEGER PRIMARY KEY, hash BLOB NOT NULL CHECK (length(hash) = 32),"
    " received_ns INTEGER NOT NULL, data BLOB NOT NULL CHECK (length(data) <= 65535)) STRICT",
    "leaves_by_hash": "CREATE INDEX leaves_by_hash ON leaves (hash)",
    # Roots of full tiles: the hashes of tile level 1 and above, one row in 255 leaves.
    "nodes": "CREATE TABLE nodes (level INTEGER NOT NULL CHECK (level > 0), id INTEGER NOT NULL,"
    " hash BLOB NOT NULL CHECK (length(hash) = 32), PRIMARY KEY (level, id)) STRICT, WITHOUT ROWID",
    "checkpoints": "CREATE TABLE checkpoints (id INTEGER PRIMARY KEY, size INTEGER NOT NULL,"
    " root BLOB NOT NULL CHECK (length(root) = 32), signed_ns INTEGER NOT NULL, note TEXT NOT NULL) STRICT",
    **_append_only("log", "id"),
    **_append_only("leaves", "id"),
    **_append_only("checkpoints", "id"),
    "nodes_no_update": "CREATE TRIGGER nodes_no_update BEFORE UPDATE ON nodes"
    " BEGIN SELECT RAISE(ABORT, 'nodes are append-only: no update'); END",
    "nodes_no_delete": "CREATE TRIGGER nodes_no_delete BEFORE DELETE ON nodes"
    " BEGIN SELECT RAISE(ABORT, 'nodes are append-only: no delete'); END",
    "nodes_in_order": "CREATE TRIGGER nodes_in_order BEFORE INSERT ON nodes"
    " WHEN NEW.id IS NOT (SELECT coalesce(max(id), -1) + 1 FROM nodes WHERE level = NEW.level)"
    " BEGIN SELECT RAISE(ABORT, 'nodes are append-only: insert is not the next'); END",
}


# Leaves that begin as a change of the log's keys does (og_ros.log.log_keys): few, and found without a read of all.
KEY_CHANGES = "substr(data, 1, 16) = X'" + b"og-ros log keys\n".hex() + "'"
_ADDED_IN: dict[str, int] = {"key_changes": 2}
SCHEMA["key_changes"] = f"CREATE INDEX key_changes ON leaves (id) WHERE {KEY_CHANGES}"


@contextlib.contextmanager
def guarded(file: Path, doing: str) -> Iterator[None]:
    """Turn what SQLite raises into a LogError that names the file and the deed.

    A UnicodeDecodeError is Python failing to decode SQLite's own message about a damaged file.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise LogError(f"{file}: cannot {doing}: {error}") from error


@contextlib.contextmanager
def transaction(database: sqlite3.Connection, kind: str) -> Iterator[None]:
    """One transaction of a kind (IMMEDIATE to write, DEFERRED for a snapshot), rolled back on any exception."""
    database.execute(f"BEGIN {kind}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # a rollback that fails must not hide the first error
                database.execute("ROLLBACK")
        raise


def _connect(file: Path, query: str) -> sqlite3.Connection:
    database = sqlite3.connect(
        f"{file.absolute().as_uri()}?{query}", uri=True, timeout=10.0, isolation_level=None, check_same_thread=False
    )
    # The file may come from anybody: no functions from its schema, and malformed pages are refused early.
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    return database


def pending_wal(file: Path) -> bool:
    """Whether a write-ahead log with content lies beside the database: a writer is at work, or crashed."""
    try:
        return file.with_name(file.name + "-wal").stat().st_size > 0
    except OSError:
        return False


def settled_state(file: Path) -> tuple[int, int, int] | None:
    """How a database without a writer looks (inode, bytes, ns of change), to notice a later one; None with a writer.

    SQLite's ``immutable`` opening needs no file beside the database, but does not notice changes by itself.
    """
    if pending_wal(file):
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def connect_writer(file: Path, create: bool = False) -> sqlite3.Connection:
    """Open for appending: WAL, every commit synced to the disk. Raises LogError."""
    with guarded(file, "open for writing"):
        database = _connect(file, "mode=rwc" if create else "mode=rw")
        try:
            mode = database.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise LogError(f"{file}: the file system does not support SQLite's write-ahead log (got {mode!r})")
            database.execute("PRAGMA synchronous = FULL")
        except BaseException:
            database.close()
            raise
    return database


def connect_reader(file: Path) -> tuple[sqlite3.Connection, tuple[int, int, int] | None]:
    """Open for reading without making a file: immutable when no write-ahead log is pending, else together with it.

    Also returns the `settled_state` that it was opened in: once that changes, an immutable connection is out of date.
    Raises LogError, also when a pending write-ahead log lies in a directory where SQLite cannot read it.
    """
    if not file.is_file():
        raise LogError(f"{file}: there is no ledger here")
    state = settled_state(file)
    if state is not None:
        with guarded(file, "open"):
            return _connect(file, "mode=ro&immutable=1"), state
    with guarded(file, "open with its write-ahead log (copy the whole ledger to a writable directory)"):
        database = _connect(file, "mode=ro")
        try:
            database.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except BaseException:
            database.close()
            raise
    return database, None


def create_database(file: Path, origin: str, vkey: str, created_ns: int) -> None:
    """Make the file with all tables and triggers and the identity row, in one transaction: a crash leaves it blank.

    A blank file is taken up; raises LogError when anything else is there.
    """
    database = connect_writer(file, create=True)
    try:
        with guarded(file, "create the ledger"):
            if not is_blank(database):
                raise LogError(f"{file}: a ledger or other database is here already; open it instead")
            with transaction(database, "IMMEDIATE"):
                for statement in SCHEMA.values():
                    database.execute(statement)
                database.execute("INSERT INTO log VALUES (0, ?, ?, ?)", (origin, vkey, created_ns))
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        database.close()


def is_blank(database: sqlite3.Connection) -> bool:
    """Whether nothing was made in the file yet: a creation that was cut off."""
    return int(database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]) == 0


def check_schema(database: sqlite3.Connection, file: Path) -> None:
    """Raise LogError unless the file is a ledger of this version with exactly its tables, index and triggers."""
    with guarded(file, "read the schema"):
        if is_blank(database):
            raise LogError(f"{file}: is empty, its creation was cut off; create the ledger again")
        application = database.execute("PRAGMA application_id").fetchone()[0]
        version = database.execute("PRAGMA user_version").fetchone()[0]
        found = dict(database.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
    if application != APPLICATION_ID:
        raise LogError(f"{file}: is not a ledger (application id {application:#x})")
    if not OLDEST_VERSION <= version <= VERSION:
        raise LogError(f"{file}: is a ledger of version {version}; this program reads up to version {VERSION}")
    for name, statement in SCHEMA.items():
        if _ADDED_IN.get(name, OLDEST_VERSION) <= version and found.pop(name, None) != statement:
            raise LogError(f"{file}: schema was altered: {name} is missing or changed")
    if found:
        raise LogError(f"{file}: schema was altered: {min(found)!r} does not belong there")


def upgrade(database: sqlite3.Connection, file: Path) -> None:
    """Bring a ledger of an older version, opened for writing and checked, up to VERSION. Raises LogError."""
    with guarded(file, "bring the ledger up to date"):
        version = database.execute("PRAGMA user_version").fetchone()[0]
        if version == VERSION:
            return
        with transaction(database, "IMMEDIATE"):
            for name, added in _ADDED_IN.items():
                if added > version:
                    database.execute(SCHEMA[name])
            database.execute(f"PRAGMA user_version = {VERSION}")
