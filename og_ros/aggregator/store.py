"""What an aggregator has accepted and settled: a log of robots' checkpoints, its own checkpoints, their receipts."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.aggregator.database import Batch, Database
from og_ros.errors import SettlementError
from og_ros.log import Checkpoint, StoredCheckpoint, VerifierKey, leaf_hash, sign_checkpoint
from og_ros.log.log_keys import KeyHistory, read_history
from og_ros.log.merkle import consistency_path, inclusion_path, range_root, root_of
from og_ros.log.tiles import HEIGHT, WIDTH, Frontier

FORMAT: Final = 1
_TABLES: Final = {
    "fleet": "CREATE TABLE IF NOT EXISTS fleet (id {integer} PRIMARY KEY CHECK (id = 0), format {integer} NOT NULL,"
    " name TEXT NOT NULL, origin TEXT NOT NULL, vkey TEXT NOT NULL, created_ns {integer} NOT NULL)",
    # `number` is the leaf's index in the fleet's log, `id` what the robot knows it by, `log` SHA-256 of its origin.
    "checkpoints": "CREATE TABLE IF NOT EXISTS checkpoints (number {integer} PRIMARY KEY, hash {blob} NOT NULL,"
    " id {blob} NOT NULL UNIQUE, log {blob} NOT NULL, size {integer} NOT NULL, root {blob} NOT NULL,"
    " received_ns {integer} NOT NULL, note {blob} NOT NULL, UNIQUE (log, size))",
    # Roots of full tiles: the hashes of tile level 1 and above, one row in 255 leaves.
    "nodes": "CREATE TABLE IF NOT EXISTS nodes (level {integer} NOT NULL, number {integer} NOT NULL, hash {blob}"
    " NOT NULL, PRIMARY KEY (level, number))",
    "heads": "CREATE TABLE IF NOT EXISTS heads (size {integer} PRIMARY KEY, root {blob} NOT NULL,"
    " signed_ns {integer} NOT NULL, note TEXT NOT NULL)",
    "receipts": "CREATE TABLE IF NOT EXISTS receipts (size {integer} PRIMARY KEY, receipt TEXT NOT NULL)",
    # The first contradiction of each log: two notes of one size with different roots, both signed by its key.
    "forks": "CREATE TABLE IF NOT EXISTS forks (log {blob} PRIMARY KEY, origin TEXT NOT NULL, accepted {blob} NOT NULL,"
    " refused {blob} NOT NULL, at_ns {integer} NOT NULL)",
}
_FIELDS: Final = "number, id, log, size, root, note"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A robot's checkpoint in the fleet's log: leaf index, id, log (SHA-256 of its origin), size, root, signed note."""

    number: int
    id: bytes
    log: bytes
    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class Arrival:
    """A robot's checkpoint whose signature was checked, and that the log has not yet."""

    id: bytes
    log: bytes
    size: int
    root: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class Fork:
    """Two checkpoints of one size with different roots, signed by one robot: the accepted note and the refused one."""

    log: bytes
    origin: str
    accepted: bytes
    refused: bytes
    at_ns: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many robots' logs there are, how many checkpoints, and how many of these are settled."""

    logs: int
    size: int
    settled: int


class Store:
    """A fleet's log over a database. One thread appends; any thread reads. Raises SettlementError.

    It is a log that settles (settlement.backend.Log): its checkpoints are those of the fleet.
    """

    def __init__(self, database: Database, name: str = "", origin: str = "", key: Ed25519PrivateKey | None = None):
        """Open it, for reading only where there is no key; made where there is none. `name`: the fleet's."""
        self._database, self._key = database, key
        self._mutex = threading.RLock()
        if key is not None:
            database.create(_TABLES, ("fleet", "checkpoints", "nodes", "heads", "receipts", "forks"))
            vkey = VerifierKey.of(origin, key).format()
            row = (FORMAT, name, origin, vkey, time.time_ns())
            if not database.read("SELECT id FROM fleet"):
                database.write(("INSERT INTO fleet VALUES (0, ?, ?, ?, ?, ?)", [row]))
        found = database.read("SELECT format, name, origin, vkey FROM fleet")
        if not found or found[0][0] != FORMAT:
            raise SettlementError("the storage holds no fleet's log of a format that this software knows")
        _, self.name, self.origin, vkey = found[0]
        self.key: VerifierKey = VerifierKey.parse(vkey)
        if key is not None and (name, origin, VerifierKey.of(origin, key)) != (self.name, self.origin, self.key):
            raise SettlementError(
                f"the storage holds the log {self.origin} of fleet {self.name} with the key {vkey}, not this one"
            )
        self._node = lru_cache(maxsize=1 << 16)(self._read_node)
        self._tile = lru_cache(maxsize=256)(self._read_tile)
        self._receipt = lru_cache(maxsize=64)(self._read_receipt)
        self._settled: list[int] = [row[0] for row in database.read("SELECT size FROM receipts ORDER BY size")]
        self._frontier: Frontier | None = None
        self._known = 0  # leaves that are there for certain
        self._check()

    def opened(self) -> AbstractContextManager[Store]:
        """This, for who opens a log to settle it."""
        return nullcontext(self)

    # ---- the fleet's log, as what settles ----------------------------------------------------------------------------

    @property
    def vkey(self) -> str:
        """The verifier key of the fleet's log."""
        return self.key.format()

    def keys(self) -> KeyHistory:
        """Which keys sign its checkpoints: one."""
        return read_history(self.origin, self.key, [])

    @property
    def size(self) -> int:
        """Number of leaves."""
        return int(self._database.read("SELECT coalesce(max(number), -1) + 1 FROM checkpoints")[0][0])

    def root(self, size: int | None = None) -> bytes:
        """RFC 6962 root now, or when there were `size` leaves."""
        return range_root(0, self.size if size is None else size, self.node)

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """The fleet's newest signed checkpoint, or None."""
        rows = self._database.read("SELECT size, root, signed_ns, note FROM heads ORDER BY size DESC LIMIT 1")
        return StoredCheckpoint(*rows[0]) if rows else None

    def node(self, height: int, index: int) -> bytes:
        """Root of a complete subtree: a node reader for proofs. What was complete once stays as it is."""
        return self._node(height, index)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def append(self, arrivals: Sequence[Arrival], forks: Sequence[Fork] = ()) -> list[Accepted]:
        """Append checkpoints and keep contradictions, in one transaction. After an error, look before trying again."""
        with self._mutex:
            if self._frontier is None:
                self._frontier = Frontier.load(self.size, self._hashes)
            frontier, now_ns = self._frontier.copy(), time.time_ns()
            found = [
                Accepted(frontier.size + n, one.id, one.log, one.size, one.root, one.note)
                for n, one in enumerate(arrivals)
            ]
            hashes = [leaf_hash(one.note) for one in arrivals]
            nodes = frontier.extend(hashes)
            batches: list[Batch] = []
            if found:
                rows = [
                    (a.number, value, a.id, a.log, a.size, a.root, now_ns, a.note)
                    for a, value in zip(found, hashes, strict=True)
                ]
                batches.append(("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows))
            if nodes:
                batches.append(("INSERT INTO nodes VALUES (?, ?, ?)", nodes))
            if forks:
                proofs = [(one.log, one.origin, one.accepted, one.refused, one.at_ns) for one in forks]
                batches.append(("INSERT INTO forks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", proofs))
            self._frontier = None  # what the database has decides, unless this goes well
            if batches:
                self._database.write(*batches)
            self._frontier, self._known = frontier, frontier.size
            return found

    def sign(self) -> StoredCheckpoint | None:
        """Sign a checkpoint of the fleet's log over all leaves, unless the newest is one; the newest."""
        assert self._key is not None
        with self._mutex:
            latest = self.latest_checkpoint()
            self._known = size = self.size
            if size == (latest.size if latest is not None else 0):
                return latest
            checkpoint = Checkpoint(self.origin, size, self.root(size))
            made = StoredCheckpoint(size, checkpoint.root, time.time_ns(), sign_checkpoint(checkpoint, self._key))
            row = (made.size, made.root, made.signed_ns, made.note)
            self._database.write(("INSERT INTO heads VALUES (?, ?, ?, ?)", [row]))
            return made

    def settle(self, size: int, receipt: str) -> None:
        """Keep the receipt of a fleet checkpoint that is final; one that is there already stays."""
        with self._mutex:
            if size > self.settled:  # in order: a robot's receipt does not change afterwards
                self._database.write(("INSERT INTO receipts VALUES (?, ?) ON CONFLICT DO NOTHING", [(size, receipt)]))
                self._settled = [*self._settled, size]

    # ---- reading -----------------------------------------------------------------------------------------------------

    def find(self, identity: bytes) -> Accepted | None:
        """A checkpoint by its id (SHA-256 of its text)."""
        return self._one("id = ?", (identity,))

    def newest_of(self, log: bytes) -> Accepted | None:
        """The largest checkpoint of a robot's log."""
        return self._one("log = ? ORDER BY size DESC LIMIT 1", (log,))

    def of_size(self, log: bytes, size: int) -> Accepted | None:
        """A log's checkpoint of a size."""
        return self._one("log = ? AND size = ?", (log, size))

    def above(self, log: bytes, size: int, limit: int) -> list[Accepted]:
        """A log's checkpoints above a size, smallest first."""
        query = f"SELECT {_FIELDS} FROM checkpoints WHERE log = ? AND size > ? ORDER BY size LIMIT ?"
        return [Accepted(*row) for row in self._database.read(query, (log, size, limit))]

    def notes(self, start: int, stop: int) -> list[bytes]:
        """The leaves from `start` on, before `stop`."""
        query = "SELECT note FROM checkpoints WHERE number >= ? AND number < ? ORDER BY number"
        return [row[0] for row in self._database.read(query, (start, stop))]

    @property
    def settled(self) -> int:
        """Leaves under the newest settled checkpoint of the fleet."""
        return max(self._settled[-1:], default=0)

    def covering(self, number: int) -> tuple[StoredCheckpoint, str] | None:
        """The first settled checkpoint of the fleet that covers a leaf, with its receipt; None where there is none."""
        settled = self._settled
        place = bisect_right(settled, number)
        return self._receipt(settled[place]) if place < len(settled) else None

    def size_before(self, accepted: Accepted) -> int:
        """Leaves of the fleet's log under which the log's checkpoint before one settled; 0 for the first."""
        before = self._one("log = ? AND size < ? ORDER BY size DESC LIMIT 1", (accepted.log, accepted.size))
        found = self.covering(before.number) if before is not None else None
        return found[0].size if found is not None else 0

    def inclusion(self, number: int, size: int) -> list[bytes]:
        """Proof that a leaf is in the tree of `size` leaves."""
        return inclusion_path(number, size, self.node)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Proof that the tree of `second` leaves extends the one of `first`."""
        return consistency_path(first, second, self.node)

    def forks(self) -> list[Fork]:
        """The first contradiction of each robot that signed one."""
        return [Fork(*row) for row in self._database.read("SELECT * FROM forks ORDER BY at_ns")]

    def counts(self) -> Counts:
        """Count logs and checkpoints."""
        logs = self._database.read("SELECT count(DISTINCT log) FROM checkpoints")[0][0]
        return Counts(int(logs), self.size, self.settled)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _one(self, where: str, values: tuple[object, ...]) -> Accepted | None:
        rows = self._database.read(f"SELECT {_FIELDS} FROM checkpoints WHERE {where}", values)
        return Accepted(*rows[0]) if rows else None

    def _hashes(self, level: int, start: int, stop: int) -> list[bytes]:
        if level == 0:
            query, values = (
                "SELECT hash FROM checkpoints WHERE number >= ? AND number < ? ORDER BY number",
                (start, stop),
            )
            rows = self._database.read(query, values)
        else:
            query = "SELECT hash FROM nodes WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
            rows = self._database.read(query, (level, start, stop))
        if len(rows) != stop - start:
            raise SettlementError(f"of the hashes {start} to {stop} of level {level} only {len(rows)} are there")
        return [row[0] for row in rows]

    def _read_node(self, height: int, index: int) -> bytes:
        level, rest = divmod(height, HEIGHT)
        start, stop = index << rest, (index + 1) << rest
        tile, offset = divmod(start, WIDTH)
        if (tile + 1) * WIDTH <= self._known >> (HEIGHT * level):  # full, and read in one go
            return root_of(self._tile(level, tile)[offset : offset + stop - start])
        return root_of(self._hashes(level, start, stop))

    def _read_tile(self, level: int, tile: int) -> list[bytes]:
        return self._hashes(level, tile * WIDTH, (tile + 1) * WIDTH)

    def _read_receipt(self, size: int) -> tuple[StoredCheckpoint, str]:
        query = "SELECT h.size, h.root, h.signed_ns, h.note, r.receipt FROM heads h, receipts r"
        rows = self._database.read(f"{query} WHERE h.size = ? AND r.size = h.size", (size,))
        if not rows:
            raise SettlementError(f"the storage has no checkpoint of {size} leaves with its receipt")
        return StoredCheckpoint(*rows[0][:4]), str(rows[0][4])

    def _check(self) -> None:
        """Refuse a storage that is behind what the fleet has signed, such as a backup that was put back in part."""
        latest = self.latest_checkpoint()
        if latest is None:
            return
        self._known = self.size
        if latest.size > self._known or self.root(latest.size) != latest.root:
            raise SettlementError(f"the storage does not have the {latest.size} leaves whose checkpoint it signed")
