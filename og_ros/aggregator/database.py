"""Where an aggregator keeps what it has: PostgreSQL or an SQLite file, behind one small interface.

Statements are written once, in what both understand: `?` for a value, {blob} and {integer} for the types.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from og_ros.errors import BackendUnreachable, ConfigError, LogError, SettlementError
from og_ros.log.schema import transaction
from og_ros.log.writer_lock import WriterLock

FILE: Final = "aggregator.db"
Row = tuple[Any, ...]
Batch = tuple[str, Sequence[Row]]
"""A statement, and the rows of values that it is run with."""

# One aggregator writes to a PostgreSQL database: this advisory lock lives as long as the session that writes.
_LOCK: Final = 0x4F47_4147  # "OGAG"
_LOCK_MS: Final = 2_000


class Database(Protocol):
    """What the aggregator needs of a database. Any thread may call; methods raise SettlementError, or
    BackendUnreachable where another try may do."""

    def create(self, tables: dict[str, str], append_only: Sequence[str]) -> None:
        """Make the tables that are missing, and refuse changes of rows in those that only grow."""

    def read(self, statement: str, values: Row = ()) -> list[Row]:
        """Run a query."""

    def write(self, *batches: Batch) -> None:
        """Run statements in one transaction, which is on the disk when this returns.

        When it raises, nothing of it may be there, or all of it: ask, before going on.
        """

    def close(self) -> None:
        """Close it."""


class SqliteDatabase:
    """An SQLite file in a directory (WAL, `synchronous=FULL`); a POSIX lock keeps it to one writer."""

    def __init__(self, directory: Path, *, read_only: bool = False) -> None:
        self._file = directory / FILE
        self._lock: WriterLock | None = None
        self._writing, self._reading = threading.Lock(), threading.Lock()
        if read_only and not self._file.is_file():
            raise SettlementError(f"{self._file}: there is no aggregator's database here")
        with self._guarded("open"):
            if not read_only:
                directory.mkdir(parents=True, exist_ok=True)
                try:
                    self._lock = WriterLock(directory)
                except LogError as error:
                    raise SettlementError(
                        f"{directory}: cannot be written, or another aggregator runs on it"
                    ) from error
            self._writer = self._connect(read_only)
            self._reader = self._connect(read_only)

    def _connect(self, read_only: bool) -> sqlite3.Connection:
        uri = f"{self._file.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
        database = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
        if not read_only:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
        return database

    def create(self, tables: dict[str, str], append_only: Sequence[str]) -> None:
        """See Database."""
        statements = [text.format(blob="BLOB", integer="INTEGER") for text in tables.values()]
        for table in append_only:
            statements += [
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb.upper()} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} only grow'); END"
                for verb in ("update", "delete")
            ]
        with self._transaction():
            for statement in statements:
                self._writer.execute(statement)

    def read(self, statement: str, values: Row = ()) -> list[Row]:
        """See Database."""
        with self._reading, self._guarded("read"):
            return self._reader.execute(statement, values).fetchall()

    def write(self, *batches: Batch) -> None:
        """See Database."""
        with self._transaction():
            for statement, rows in batches:
                self._writer.executemany(statement, rows)

    def close(self) -> None:
        """See Database."""
        self._reader.close()
        self._writer.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writing, self._guarded("write"), transaction(self._writer, "IMMEDIATE"):
            yield

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise SettlementError(f"{self._file}: cannot {doing}: {error}") from error


class PostgresDatabase:
    """A PostgreSQL database by a libpq connection string; a session that broke is made anew at the next call."""

    def __init__(self, conninfo: str, *, read_only: bool = False) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise ConfigError(f"PostgreSQL needs og_ros[aggregator], which is not installed ({error})") from error
        try:
            psycopg.conninfo.conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:  # whose message may show the password
            raise ConfigError("storage is no connection string of PostgreSQL: percent-encode its password") from None
        self._psycopg, self._conninfo = psycopg, conninfo
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer: psycopg.Connection[Row] | None = None
        self._reader: psycopg.Connection[Row] | None = None
        self._text: dict[str, str] = {}
        if not read_only:
            self.write()  # takes the lock, or says who has it
        else:
            self.read("SELECT 1")

    def _connect(self, writes: bool) -> Any:
        # A session that nobody answers for any more is given up after seconds, not after the system's hours.
        options = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 20_000}
        connection = self._psycopg.connect(self._conninfo, autocommit=True, **options)  # type: ignore[arg-type]
        if writes:
            try:
                connection.execute("SET synchronous_commit = on")
                # The server takes a moment to notice that the session before this one is gone.
                connection.execute(f"SET lock_timeout = {_LOCK_MS}")
                connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
                connection.execute("SET lock_timeout = 0")
            except self._psycopg.errors.LockNotAvailable as error:
                connection.close()
                raise BackendUnreachable("PostgreSQL: another aggregator writes to this database") from error
            except BaseException:
                connection.close()
                raise
        return connection

    def create(self, tables: dict[str, str], append_only: Sequence[str]) -> None:
        """See Database."""
        statements = [text.format(blob="BYTEA", integer="BIGINT") for text in tables.values()]
        statements.append(
            "CREATE OR REPLACE FUNCTION og_ros_only_grows() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION '% only grow', TG_TABLE_NAME; END $$"
        )
        statements += [
            f"CREATE OR REPLACE TRIGGER {table}_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION og_ros_only_grows()"
            for table in append_only
        ]
        with self._session(writes=True) as session, session.transaction():
            for statement in statements:
                session.execute(statement)

    def read(self, statement: str, values: Row = ()) -> list[Row]:
        """See Database."""
        with self._session(writes=False) as session:
            found: list[Row] = session.execute(self._translated(statement), values).fetchall()
            return found

    def write(self, *batches: Batch) -> None:
        """See Database."""
        with self._session(writes=True) as session, session.transaction(), session.cursor() as cursor:
            for statement, rows in batches:
                cursor.executemany(self._translated(statement), rows)

    def close(self) -> None:
        """See Database."""
        for session in (self._writer, self._reader):
            if session is not None:
                session.close()

    @contextlib.contextmanager
    def _session(self, writes: bool) -> Iterator[Any]:
        mutex, name = (self._writing, "_writer") if writes else (self._reading, "_reader")
        with mutex:
            try:
                if getattr(self, name) is None:
                    setattr(self, name, self._connect(writes))
                yield getattr(self, name)
            except self._psycopg.Error as error:
                session = getattr(self, name)
                if session is not None:
                    session.close()  # whatever its state: the next call begins anew
                    setattr(self, name, None)
                # The message of a failed connection names host and user, never the password.
                text = f"PostgreSQL: {' '.join(str(error).split())[:300]}"
                if isinstance(error, (self._psycopg.OperationalError, self._psycopg.InterfaceError)):
                    raise BackendUnreachable(text) from error
                raise SettlementError(text) from error

    def _translated(self, statement: str) -> str:
        """The statement with psycopg's place holders."""
        if statement not in self._text:
            self._text[statement] = statement.replace("?", "%s")
        return self._text[statement]


def connect(storage: str, base: Path, *, read_only: bool = False) -> Database:
    """Open what a configuration names: postgresql://… (or another libpq string with =), else a directory."""
    if storage.startswith(("postgresql://", "postgres://")) or "=" in storage:
        return PostgresDatabase(storage, read_only=read_only)
    return SqliteDatabase(base / storage, read_only=read_only)
