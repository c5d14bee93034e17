"""What a settlement endpoint keeps: a log whose leaves are robots' signed checkpoints, and an index of them by id.

The log is the record; the index follows from it, and is brought up to it when it is opened. A log of a robot's only
grows: another checkpoint of one size, or a smaller one than the newest, is refused (`Conflict`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError, SettlementError
from og_ros.log import Ledger, VerifierKey, open_checkpoint, parse_note
from og_ros.log.checkpoint import parse_checkpoint
from og_ros.settlement.log_receipt import MAX_NOTE, LogReceipt, checkpoint_id, log_id

LEDGER: Final = "ledger"
INDEX: Final = "index.db"
PAGE: Final = 1000
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS checkpoints (id BLOB PRIMARY KEY, log BLOB NOT NULL, size INTEGER NOT NULL,"
    " root BLOB NOT NULL, leaf INTEGER NOT NULL, UNIQUE (log, size)) STRICT",
    "CREATE INDEX IF NOT EXISTS leaves ON checkpoints (leaf)",
    # A payment that is about to be executed, so that one whose execution a crash hid is known again. See Till.
    "CREATE TABLE IF NOT EXISTS payments (id BLOB PRIMARY KEY, authorization TEXT NOT NULL, state TEXT NOT NULL,"
    " response TEXT NOT NULL DEFAULT '') STRICT",
)


class Malformed(SettlementError):
    """What was sent is no checkpoint."""


class Unknown(SettlementError):
    """It is of a log that the endpoint does not take, or not signed by it."""


class Conflict(SettlementError):
    """It forks or rewinds its log."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint as it was sent, checked: its id, its log's id, size, root, and the note."""

    id: bytes
    log: bytes
    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Entered:
    """A checkpoint as the endpoint has it; `receipt` is there once its log's checkpoint covers it."""

    id: bytes
    size: int
    root: bytes
    receipt: LogReceipt | None


class EndpointLog:
    """An endpoint's state in a directory, made where there is none. What is entered is on the disk. Any thread calls.

    `logs` are the keys of the logs whose checkpoints it takes, by origin. Raises LogError and SettlementError.
    """

    def __init__(self, directory: Path, origin: str, key: Ed25519PrivateKey, logs: Mapping[str, VerifierKey]) -> None:
        self._logs = logs
        self._mutex = threading.Lock()
        path = directory / LEDGER
        self._ledger = Ledger.open(path, key) if path.exists() else Ledger.create(path, origin, key)
        try:
            if self._ledger.origin != origin:
                raise SettlementError(f"{path}: is the log {self._ledger.origin}, not {origin}")
            self._file = directory / INDEX
            self._index = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
            try:
                self._catch_up()
            except BaseException:
                self._index.close()
                raise
        except BaseException:
            self._ledger.close()
            raise

    @property
    def vkey(self) -> str:
        """The verifier key of the endpoint's own log."""
        return str(self._ledger.vkey)

    def close(self) -> None:
        """Close it."""
        with self._mutex:
            self._index.close()
            self._ledger.close()

    def read(self, body: bytes) -> Submission:
        """Check what was sent: a checkpoint that a known log signed. Raises Malformed or Unknown."""
        if len(body) > MAX_NOTE:
            raise Malformed(f"the checkpoint is longer than {MAX_NOTE} bytes")
        try:
            text = parse_note(body).text
            origin = parse_checkpoint(text).origin
        except LogError as error:
            raise Malformed(str(error)) from error
        key = self._logs.get(origin)
        if key is None:
            raise Unknown("this log is not known here")
        try:
            head = open_checkpoint(body, key, origin)
        except LogError as error:
            raise Unknown(str(error)) from error
        if head.size == 0:
            raise Malformed("the checkpoint is of an empty log")
        note = body.decode()
        return Submission(checkpoint_id(note), log_id(origin), head.size, head.root, note)

    def find(self, name: bytes) -> Entered | None:
        """Return what was entered under an id."""
        with self._mutex, self._guarded():
            row = self._index.execute("SELECT size, root, leaf FROM checkpoints WHERE id = ?", (name,)).fetchone()
            return None if row is None else Entered(name, row[0], row[1], self._receipt(row[2]))

    def above(self, log: bytes, size: int) -> list[Entered]:
        """Return what was entered of a log above a size, smallest first, without receipts; at most a page and one."""
        with self._mutex, self._guarded():
            query = "SELECT id, size, root FROM checkpoints WHERE log = ? AND size > ? ORDER BY size LIMIT ?"
            rows = self._index.execute(query, (log, size, PAGE + 1)).fetchall()
            return [Entered(name, size, root, None) for name, size, root in rows]

    def check(self, new: Submission) -> bool:
        """Say whether it is there already; raises Conflict where it forks or rewinds its log."""
        with self._mutex, self._guarded():
            return self._is_there(new)

    def enter(self, new: Submission) -> None:
        """Append it to the log, unless it is there; raises Conflict."""
        with self._mutex, self._guarded():
            if self._is_there(new):
                return
            leaf = self._ledger.append([new.note.encode()], unique=True)[0]
            self._insert(new.id, new.log, new.size, new.root, leaf)

    def publish(self) -> None:
        """Sign a checkpoint over what was entered; what it covers has its receipt from then on."""
        with self._mutex:
            if self._ledger.size:
                self._ledger.checkpoint()

    def payment(self, name: bytes) -> tuple[str, str, str] | None:
        """Return the payment for a checkpoint: authorization, state, response."""
        with self._mutex, self._guarded():
            query = "SELECT authorization, state, response FROM payments WHERE id = ?"
            row = self._index.execute(query, (name,)).fetchone()
            return None if row is None else (row[0], row[1], row[2])

    def note_payment(self, name: bytes, authorization: str, state: str, response: str = "") -> None:
        """Keep how far the payment for a checkpoint came."""
        with self._mutex, self._guarded():
            values = (name, authorization, state, response)
            self._index.execute("INSERT OR REPLACE INTO payments VALUES (?, ?, ?, ?)", values)

    def _is_there(self, new: Submission) -> bool:
        if self._index.execute("SELECT 1 FROM checkpoints WHERE id = ?", (new.id,)).fetchone():
            return True
        newest = self._index.execute("SELECT max(size) FROM checkpoints WHERE log = ?", (new.log,)).fetchone()[0]
        if newest is not None and new.size <= newest:
            if self._index.execute(
                "SELECT 1 FROM checkpoints WHERE log = ? AND size = ?", (new.log, new.size)
            ).fetchone():
                raise Conflict(f"another checkpoint of {new.size} leaves of this log is here: the log was forked")
            raise Conflict(f"a checkpoint of {newest} leaves of this log is here, and this is of {new.size}: a rewind")
        return False

    def _receipt(self, leaf: int) -> LogReceipt | None:
        newest = self._ledger.latest_checkpoint()
        if newest is None or newest.size <= leaf:
            return None
        return LogReceipt(self._ledger.leaf(leaf).data.decode(), self._ledger.export_proof(leaf))

    def _insert(self, name: bytes, log: bytes, size: int, root: bytes, leaf: int) -> None:
        values = (name, log, size, root, leaf)
        self._index.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?)", values)

    def _catch_up(self) -> None:
        """Index the leaves that a crash left out, or all of them where the index was lost."""
        with self._guarded():
            for pragma in ("journal_mode = WAL", "synchronous = FULL"):
                self._index.execute(f"PRAGMA {pragma}")
            for statement in _SCHEMA:
                self._index.execute(statement)
            start = self._index.execute("SELECT coalesce(max(leaf) + 1, 0) FROM checkpoints").fetchone()[0]
            if start > self._ledger.size:
                raise SettlementError(f"{self._file}: has more than its log: the log was put back")
            for leaf in self._ledger.leaves(start):
                note = leaf.data.decode()
                head = parse_checkpoint(parse_note(note).text)
                self._insert(checkpoint_id(note), log_id(head.origin), head.size, head.root, leaf.index)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise SettlementError(f"{self._file}: {error}") from error
