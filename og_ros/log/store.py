"""The embedded ledger: an append-only log in a directory, as a SQLite file plus tlog-tiles that any tool can check.

``log.db`` is the truth; ``tile/`` and ``checkpoint`` are what it publishes at each checkpoint. One process writes
(POSIX file lock), any number read. Every method may be called from any thread.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError
from og_ros.log import schema
from og_ros.log.checkpoint import Checkpoint, parse_checkpoint
from og_ros.log.log_keys import KeyChange, KeyHistory, LogSigner, read_history, sign_change
from og_ros.log.merkle import consistency_path, inclusion_path, leaf_hash, range_root, root_of
from og_ros.log.note import VerifierKey, parse_note
from og_ros.log.post_quantum import PostQuantumKey
from og_ros.log.proof import format_proof
from og_ros.log.rows import Leaf, StoredCheckpoint, read_checkpoints, read_hashes, read_key_changes, tile_content
from og_ros.log.selfcheck import LedgerReport, check_ledger
from og_ros.log.tile_writer import sync_directory, write_durably, write_tiles
from og_ros.log.tiles import CHECKPOINT_FILE, HEIGHT, MAX_ENTRY, WIDTH, Frontier, Tile, published, tiles_of
from og_ros.log.writer_lock import WriterLock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey


class Ledger:
    """An open ledger; made by `create` or `open`, closed by `close` or as a context manager.

    Methods raise LogError for every failure, of the disk too, and then nothing that was acknowledged before is lost.
    """

    def __init__(
        self,
        directory: Path,
        database: sqlite3.Connection,
        signer: LogSigner | None = None,
        state: tuple[int, int, int] | None = None,
    ) -> None:
        """Private: use `create` or `open`."""
        self.directory = directory
        self._file = directory / schema.DATABASE
        self._database = database
        self._signer = signer
        self._lock: WriterLock | None = None
        self._state = state
        self._mutex = threading.RLock()
        schema.check_schema(database, self._file)
        with schema.guarded(self._file, "read"):
            row = database.execute("SELECT origin, vkey FROM log").fetchone()
        if row is None or not all(isinstance(value, str) for value in row):
            raise LogError(f"{self._file}: does not say which log it is")
        self.origin: str = row[0]
        self.first_key: VerifierKey = VerifierKey.parse(row[1])
        """The key that the log was made with; see `keys` for those after it."""
        self._frontier: Frontier | None = None

    @classmethod
    def create(
        cls,
        directory: Path | str,
        origin: str,
        signing_key: Ed25519PrivateKey,
        post_quantum: MLDSA65PrivateKey | None = None,
    ) -> Ledger:
        """Make a new ledger and open it for writing; ``origin`` is its identity, such as ``example.com/robot-7``.

        With ``post_quantum`` every checkpoint is signed by that key too. Raises LogError when a ledger is there
        already, or the origin cannot name a note key. A creation that a crash cut off is taken up again.
        """
        verifier = VerifierKey.of(origin, signing_key)
        path = Path(directory)
        file = path / schema.DATABASE
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"{path}: cannot be made: {error.strerror}") from error
        lock = WriterLock(path)
        try:
            schema.create_database(file, origin, verifier.format(), time.time_ns())
            sync_directory(path)
            sync_directory(path.absolute().parent)
        except OSError as error:
            raise LogError(f"{path}: cannot be synced: {error.strerror}") from error
        finally:
            lock.release()
        return cls.open(path, signing_key, post_quantum)

    @classmethod
    def open(
        cls,
        directory: Path | str,
        signing_key: Ed25519PrivateKey | None = None,
        post_quantum: MLDSA65PrivateKey | None = None,
    ) -> Ledger:
        """Open a ledger: for writing with its present key or keys, else read-only.

        Reading makes no file and works in a read-only directory. Opening for writing takes the lock, checks that the
        ledger was not rewound behind a checkpoint that it published, and repairs the newest tiles. Raises LogError.
        """
        path = Path(directory)
        file = path / schema.DATABASE
        if not file.is_file():
            raise LogError(f"{file}: there is no ledger here")
        if signing_key is None:
            database, state = schema.connect_reader(file)
            try:
                return cls(path, database, None, state)
            except BaseException:
                database.close()
                raise
        lock = WriterLock(path)
        try:
            database = schema.connect_writer(file)
            try:
                ledger = cls(path, database, LogSigner(signing_key, post_quantum))
                schema.upgrade(database, file)
                ledger._check_signer()
                ledger._recover()
            except BaseException:
                database.close()
                raise
        except BaseException:
            lock.release()
            raise
        ledger._lock = lock
        return ledger

    def close(self) -> None:
        """Close it; a second call does nothing. A writer folds its write-ahead log into ``log.db`` first."""
        with self._mutex:
            try:
                with schema.guarded(self._file, "close"):
                    if self._lock is not None:
                        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._database.close()
                if self._lock is not None:
                    self._lock.release()
                    self._lock = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- reading -----------------------------------------------------------------------------------------------------

    @property
    def key(self) -> VerifierKey:
        """The log's present Ed25519 key. Raises LogError when the ledger's changes of keys do not hold."""
        return self.keys().newest.classical

    @property
    def vkey(self) -> str:
        """The log's verifier key as a string. It is what the ledger says of itself: compare it with one you trust."""
        return self.key.format()

    def keys(self, post_quantum: Mapping[VerifierKey, PostQuantumKey] | None = None) -> KeyHistory:
        """Which keys the log has had, by its own changes of them.

        ``post_quantum`` are those that a registry binds to classical ones. Raises LogError where one does not hold.
        """
        with self._mutex, schema.guarded(self._file, "read changes of keys"):
            changes = read_key_changes(self._db())
        return read_history(self.origin, self.first_key, changes, post_quantum)

    @property
    def size(self) -> int:
        """Number of leaves."""
        with self._mutex, schema.guarded(self._file, "count leaves"):
            return int(self._db().execute("SELECT coalesce(max(id), -1) + 1 FROM leaves").fetchone()[0])

    def root(self, size: int | None = None) -> bytes:
        """RFC 6962 root now, or when the ledger had ``size`` leaves."""
        with self._mutex:
            return range_root(0, self._at(size), self._node)

    def find(self, hash_of_leaf: bytes) -> list[int]:
        """Indexes of the leaves with this leaf hash (`leaf_hash` of the leaf's bytes), in order."""
        with self._mutex, schema.guarded(self._file, "find a leaf"):
            rows = self._db().execute("SELECT id FROM leaves WHERE hash = ? ORDER BY id", (hash_of_leaf,)).fetchall()
        return [row[0] for row in rows]

    def leaf(self, index: int) -> Leaf:
        """One leaf. Raises LogError when there is none."""
        for leaf in self.leaves(index, index + 1):
            return leaf
        raise LogError(f"{self._file}: leaf {index} is missing")

    def leaves(self, start: int = 0, stop: int | None = None) -> Iterator[Leaf]:
        """The leaves ``[start, stop)`` in order, read 256 at a time; up to the present end when no stop is given."""
        size = self.size
        end = size if stop is None else stop
        if not 0 <= start <= end <= size:
            raise LogError(f"{self._file}: has {size} leaves, not {start} to {end}")
        while start < end:
            upto = min(start + WIDTH, end)
            with self._mutex, schema.guarded(self._file, "read leaves"):
                query = "SELECT id, data, received_ns FROM leaves WHERE id >= ? AND id < ? ORDER BY id"
                rows = self._db().execute(query, (start, upto)).fetchall()
            if len(rows) != upto - start:
                raise LogError(f"{self._file}: leaves are missing between {start} and {upto}")
            for index, data, received_ns in rows:
                yield Leaf(index, data, received_ns)
            start = upto

    def checkpoints(self) -> list[StoredCheckpoint]:
        """Every checkpoint that was signed, oldest first; one is there again after each set of cosignatures."""
        with self._mutex, schema.guarded(self._file, "read checkpoints"):
            return read_checkpoints(self._db())

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The newest checkpoint, or None before the first."""
        with self._mutex, schema.guarded(self._file, "read checkpoints"):
            rows = read_checkpoints(self._db(), newest=1)
        return rows[0] if rows else None

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Sibling hashes of a leaf in the tree of ``size`` leaves (default: now), leaf's sibling first."""
        with self._mutex:
            return inclusion_path(index, self._at(size), self._node)

    def consistency_proof(self, first: int, second: int | None = None) -> list[bytes]:
        """Proof that the tree of ``second`` leaves (default: now) extends the one of ``first``."""
        with self._mutex:
            return consistency_path(first, self._at(second), self._node)

    def export_proof(self, index: int, extra: bytes | None = None) -> str:
        """A self-contained ``.tlog-proof`` of a leaf under the latest checkpoint (c2sp.org/tlog-proof).

        Raises LogError when the leaf came after the latest checkpoint.
        """
        with self._mutex:
            latest = self.latest_checkpoint()
            if latest is None or not 0 <= index < latest.size:
                covered = latest.size if latest else 0
                raise LogError(f"{self._file}: leaf {index} is not in the latest checkpoint, which covers {covered}")
            return format_proof(index, self.inclusion_proof(index, latest.size), latest.note, extra)

    def verify(
        self,
        key: VerifierKey | str | None = None,
        post_quantum: Mapping[VerifierKey, PostQuantumKey] | None = None,
    ) -> LedgerReport:
        """Check the ledger whole: leaves, hashes, nodes, checkpoints, signatures, tiles. See `check_ledger`.

        ``key`` is a key of the log (or vkey string) that you trust, its first or a later one; without it the ledger's
        own word is taken. ``post_quantum`` binds ML-DSA-65 keys to Ed25519 ones: their checkpoints must carry both.
        Appends wait meanwhile. Raises LogError naming the first thing that is wrong.
        """
        if key is not None:
            trusted = VerifierKey.parse(key) if isinstance(key, str) else key
            if trusted not in [epoch.keys.classical for epoch in self.keys().epochs]:
                raise LogError(f"{self._file}: is signed by {self.vkey}, not by the expected {trusted.format()}")
        bound = post_quantum or {}
        with self._mutex:
            try:
                return check_ledger(self._db(), self._file, self.first_key, self.origin, bound)
            except LogError:
                if not self._overtaken():
                    raise
                return check_ledger(self._db(), self._file, self.first_key, self.origin, bound)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def append(self, leaves: Sequence[bytes], *, unique: bool = False, received_ns: int | None = None) -> list[int]:
        """Append leaves of at most 65535 bytes in one transaction; their indexes, once they are on the disk.

        With ``unique`` a leaf that is in the log already is not appended again and gives its first index, so a caller
        that does not know whether an append went through may repeat it. ``received_ns``: Unix time, ns; default now.
        Raises LogError, and then no leaf of the batch is in the log (but for a disk that failed while confirming).
        """
        for position, leaf in enumerate(leaves):
            if not isinstance(leaf, bytes):
                raise LogError(f"leaf {position} of the batch is a {type(leaf).__name__}, not bytes")
            if len(leaf) > MAX_ENTRY:
                raise LogError(f"leaf {position} of the batch has {len(leaf)} bytes, more than {MAX_ENTRY}")
        stamp = time.time_ns() if received_ns is None else received_ns
        hashes = [leaf_hash(leaf) for leaf in leaves]
        with self._mutex:
            frontier = self._writable().copy()
            indexes: list[int] = []
            rows: list[tuple[int, bytes, int, bytes]] = []
            batch: dict[bytes, int] = {}
            for leaf, value in zip(leaves, hashes, strict=True):
                known = batch.get(value, -1) if unique else -1
                if unique and known < 0:
                    known = min(self.find(value), default=-1)
                if known < 0:
                    known = frontier.size + len(rows)
                    rows.append((known, value, stamp, leaf))
                    batch[value] = known
                indexes.append(known)
            if not rows:
                return indexes
            nodes = frontier.extend([row[1] for row in rows])
            try:
                with schema.guarded(self._file, "append"), schema.transaction(self._database, "IMMEDIATE"):
                    self._database.executemany("INSERT INTO leaves VALUES (?, ?, ?, ?)", rows)
                    self._database.executemany("INSERT INTO nodes VALUES (?, ?, ?)", nodes)
            except BaseException:
                self._frontier = None  # what is on the disk decides: the next append reads it anew
                raise
            self._frontier = frontier
            return indexes

    def checkpoint(self, signed_ns: int | None = None) -> str:
        """Sign the tree as it is now, publish tiles and checkpoint, and return the signed note.

        Nothing is signed anew while nothing was appended. ``signed_ns`` (Unix time, ns; default now) is stored beside
        it, not in it. When it returns the checkpoint is on the disk. Raises LogError.
        """
        with self._mutex:
            frontier = self._writable()
            latest = self.latest_checkpoint()
            if latest is not None and latest.size == frontier.size:
                self._publish(latest)
                return latest.note
            checkpoint = Checkpoint(self.origin, frontier.size, frontier.root())
            # Tiles first: whoever sees a checkpoint must find its tiles.
            write_tiles(self.directory, tiles_of(checkpoint.size, latest.size if latest else 0), self._tile_content)
            assert self._signer is not None
            note = self._signer.sign(checkpoint.text(), self.origin).format()
            self._publish(self._store(checkpoint, time.time_ns() if signed_ns is None else signed_ns, note))
            return note

    def attach(self, note: str | bytes, signed_ns: int | None = None) -> None:
        """Publish the latest checkpoint with the cosignatures of witnesses: ``note`` is it with signature lines added.

        The cosignatures are not checked here. Raises LogError when it is not the latest checkpoint of this log.
        """
        with self._mutex:
            self._writable()
            checkpoint = self.keys().open_checkpoint(note)
            signed = parse_note(note)
            latest = self.latest_checkpoint()
            if latest is None or parse_note(latest.note).text != signed.text:
                raise LogError(f"{self._file}: the note to attach is not the latest checkpoint")
            stamp = time.time_ns() if signed_ns is None else signed_ns
            self._publish(self._store(checkpoint, stamp, signed.format()))

    def change_keys(
        self,
        signing_key: Ed25519PrivateKey,
        post_quantum: MLDSA65PrivateKey | None = None,
        changed_ns: int | None = None,
    ) -> KeyChange:
        """Give the log new keys: the present ones sign a last checkpoint, and a leaf that names the new ones.

        The new ones sign the next checkpoint at once. ``changed_ns`` (Unix time, ns; default now) stands in the leaf.
        Raises LogError, and then the log has the keys that it had, unless the disk failed after the leaf was written.
        """
        with self._mutex:
            self._writable()
            before, after = self._signer, LogSigner(signing_key, post_quantum)
            assert before is not None
            if self.size:
                self.checkpoint()
            stamp = time.time_ns() if changed_ns is None else changed_ns
            change = KeyChange(self.origin, self.size, stamp // 10**9 * 10**9, after.keys(self.origin))
            leaf = sign_change(change, before, after)
            read_history(self.origin, self.first_key, [*read_key_changes(self._db()), (change.index, leaf)])
            self.append([leaf])
            self._signer = after
            self.checkpoint()
            return change

    def repair_tiles(self) -> int:
        """Write every tile of the latest checkpoint that is missing or wrong from ``log.db``; how many were."""
        with self._mutex:
            self._writable()
            latest = self.latest_checkpoint()
            return write_tiles(self.directory, tiles_of(latest.size if latest else 0), self._tile_content)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _overtaken(self) -> bool:
        """Whether a reader took the file for immutable, and a writer came since."""
        return self._state is not None and self._state != schema.settled_state(self._file)

    def _db(self) -> sqlite3.Connection:
        """The connection; opened anew when a writer overtook it."""
        if self._overtaken():
            database, state = schema.connect_reader(self._file)
            self._database.close()
            self._database, self._state = database, state
        return self._database

    def _at(self, size: int | None) -> int:
        present = self.size
        chosen = present if size is None else size
        if not 0 <= chosen <= present:
            raise LogError(f"{self._file}: has {present} leaves, not {chosen}")
        return chosen

    def _hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        with schema.guarded(self._file, "read hashes"):
            return read_hashes(self._db(), level, start, stop)

    def _tile_content(self, tile: Tile) -> bytes:
        with schema.guarded(self._file, "read a tile"):
            return tile_content(self._db(), tile)

    def _node(self, height: int, index: int) -> bytes:
        level, rest = divmod(height, HEIGHT)
        return root_of(self._hashes(level, index << rest, (index + 1) << rest))

    def _writable(self) -> Frontier:
        if self._signer is None:
            raise LogError(f"{self._file}: is open for reading only; open it with its signing key")
        if self._frontier is None:
            self._frontier = Frontier.load(self.size, self._hashes)
        return self._frontier

    def _store(self, checkpoint: Checkpoint, signed_ns: int, note: str) -> StoredCheckpoint:
        with schema.guarded(self._file, "store a checkpoint"), schema.transaction(self._database, "IMMEDIATE"):
            self._database.execute(
                "INSERT INTO checkpoints SELECT coalesce(max(id), -1) + 1, ?, ?, ?, ? FROM checkpoints",
                (checkpoint.size, checkpoint.root, signed_ns, note),
            )
        return StoredCheckpoint(checkpoint.size, checkpoint.root, signed_ns, note)

    def _publish(self, latest: StoredCheckpoint) -> None:
        if published(self.directory) != latest.note.encode():
            write_durably(self.directory / CHECKPOINT_FILE, latest.note.encode())

    def _check_signer(self) -> None:
        """Refuse to write with other keys than the log has now, and to leave out the half that has signed so far."""
        assert self._signer is not None
        present, own = self.keys().newest, self._signer.keys(self.origin)
        if own.classical != present.classical:
            raise LogError(f"{self._file}: was made with another signing key, {present.classical.format()}")
        if present.post_quantum is not None and own.post_quantum != present.post_quantum:
            identity = present.post_quantum.key_id.hex()
            raise LogError(f"{self._file}: is signed with an ML-DSA-65 key too, {identity}; give it")
        newest = self.latest_checkpoint()
        if newest is None:
            return
        lines = {s.key_id for s in parse_note(newest.note).signatures if s.name == self.origin}
        others = lines - {own.classical.key_id} - {epoch.keys.classical.key_id for epoch in self.keys().epochs}
        if own.post_quantum is None and others:
            raise LogError(f"{self._file}: its newest checkpoint has a second signature of the log; give that key too")
        if own.post_quantum is not None and present.post_quantum is None and own.post_quantum.key_id not in lines:
            raise LogError(
                f"{self._file}: its checkpoints have no such ML-DSA-65 signature so far; give the log new keys "
                "(og-ros log change-keys), so that the change is on record"
            )

    def _recover(self) -> None:
        """After any stop: refuse a ledger behind its checkpoints, then bring tiles and checkpoint file up to it."""
        size = self.size
        rows = self.checkpoints()
        raw = published(self.directory)
        history = self.keys()
        heads = [parse_checkpoint(parse_note(row.note).text) for row in rows[-1:]]
        if raw is not None:
            heads.append(history.open_checkpoint(raw))
        for head in heads:
            if head.size > size:
                raise LogError(
                    f"{self._file}: was rewound: it has {size} leaves, but a checkpoint of {head.size} was signed;"
                    " restore the newer database, or start a new log under another origin"
                )
            if self.root(head.size) != head.root:
                raise LogError(f"{self._file}: its leaves do not give the root of the checkpoint at {head.size}")
        if raw is not None and (not rows or heads[-1].size > rows[-1].size):
            rows.append(self._store(heads[-1], time.time_ns(), raw.decode()))
        if rows:
            latest = rows[-1].size
            since = max((row.size for row in rows if row.size < latest), default=0)
            write_tiles(self.directory, tiles_of(latest, since), self._tile_content)
            self._publish(rows[-1])
