"""Checks a ledger whole: each leaf against its hash, the tree against each checkpoint, the tiles against the tree."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log import schema
from og_ros.log.checkpoint import Checkpoint
from og_ros.log.log_keys import KeyHistory, read_history
from og_ros.log.note import VerifierKey
from og_ros.log.post_quantum import PostQuantumKey
from og_ros.log.rows import StoredCheckpoint, read_checkpoints, read_key_changes, tile_content
from og_ros.log.tiles import CHECKPOINT_FILE, WIDTH, Frontier, Tile, published, read_tile, tiles_of


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """What a ledger that holds is: its size and root, how many checkpoints it has, and the newest of them.

    ``uncovered`` leaves came after that checkpoint: they are stored, but no signature binds them yet.
    """

    size: int
    root: bytes
    checkpoints: int
    latest: Checkpoint | None

    @property
    def uncovered(self) -> int:
        """Leaves that no checkpoint covers."""
        return self.size - (self.latest.size if self.latest else 0)


def check_ledger(
    database: sqlite3.Connection,
    file: Path,
    first: VerifierKey,
    origin: str,
    post_quantum: Mapping[VerifierKey, PostQuantumKey],
) -> LedgerReport:
    """Check everything, on one snapshot of the database; costs a read of all leaves and all tiles.

    `first` is the log's first key, `post_quantum` what a registry binds to it and to those after it.
    The checkpoint file may be any checkpoint that the database has: a crash can leave the one before. Raises LogError
    naming the first thing that is wrong.
    """
    raw = published(file.parent)  # before the snapshot: a writer at work may be ahead of it, never behind
    schema.check_schema(database, file)
    with schema.guarded(file, "verify"), schema.transaction(database, "DEFERRED"):
        outcome = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if outcome != "ok":
            raise LogError(f"{file}: database is damaged: {outcome}")
        rows = read_checkpoints(database)
        history = read_history(origin, first, read_key_changes(database), post_quantum)
        heads = _check_checkpoints(file, rows, history)
        frontier = _check_leaves(database, file, heads)
        _check_published(file.parent, raw, rows, history)
        if heads:
            _check_tiles(database, file.parent, [head.size for head in heads])
    return LedgerReport(frontier.size, frontier.root(), len(heads), heads[-1] if heads else None)


def _check_checkpoints(file: Path, rows: list[StoredCheckpoint], history: KeyHistory) -> list[Checkpoint]:
    heads: list[Checkpoint] = []
    for number, row in enumerate(rows):
        what = f"{file}: checkpoint {number} (of {row.size} leaves)"
        try:
            head = history.open_checkpoint(row.note)
        except LogError as error:
            raise type(error)(f"{what}: {error}") from error
        if (head.size, head.root) != (row.size, row.root):
            raise LogError(f"{what}: its note states another size or root than its row")
        if heads and head.size < heads[-1].size:
            raise LogError(f"{what}: is smaller than the one before, of {heads[-1].size}")
        heads.append(head)
    return heads


def _check_leaves(database: sqlite3.Connection, file: Path, heads: list[Checkpoint]) -> Frontier:
    """Hash every leaf, rebuild the tree, and compare it with the stored nodes and with each checkpoint on the way."""
    frontier = Frontier()
    waiting = deque(heads)
    batch: list[bytes] = []
    nodes = 0

    def take() -> int:
        full = frontier.extend(batch)
        batch.clear()
        for level, index, value in full:
            row = database.execute("SELECT hash FROM nodes WHERE level = ? AND id = ?", (level, index)).fetchone()
            if row is None or row[0] != value:
                raise LogError(f"{file}: node {index} of level {level} does not match its leaves")
        while waiting and waiting[0].size == frontier.size:
            if waiting[0].root != frontier.root():
                raise LogError(f"{file}: the leaves do not give the root of the checkpoint of {frontier.size} leaves")
            waiting.popleft()
        return len(full)

    take()
    expected = 0
    for index, value, data in database.execute("SELECT id, hash, data FROM leaves ORDER BY id"):
        if index != expected:
            raise LogError(f"{file}: leaf {expected} is missing")
        if sha256(b"\x00" + data).digest() != value:
            raise LogError(f"{file}: leaf {index}: its bytes do not match its hash")
        batch.append(value)
        expected += 1
        if len(batch) == WIDTH or (waiting and waiting[0].size == expected):
            nodes += take()
    nodes += take()
    if waiting:
        raise LogError(
            f"{file}: has {expected} leaves, but a checkpoint of {waiting[0].size} was signed: leaves are lost"
        )
    stored = database.execute("SELECT count(*) FROM nodes").fetchone()[0]
    if stored != nodes:
        raise LogError(f"{file}: has {stored} nodes, its leaves make {nodes}")
    return frontier


def _check_published(directory: Path, raw: bytes | None, rows: list[StoredCheckpoint], history: KeyHistory) -> None:
    file = directory / CHECKPOINT_FILE
    if raw is None:
        if len(rows) > 1:  # a crash can lose no more than the first
            raise LogError(f"{file}: is missing; open the ledger for writing to publish it again")
        return
    try:
        head = history.open_checkpoint(raw)
    except LogError as error:
        raise type(error)(f"{file}: {error}") from error
    if all((row.size, row.root) != (head.size, head.root) for row in rows):
        raise LogError(f"{file}: states {head.size} leaves and a root that the database never signed")


def _check_tiles(database: sqlite3.Connection, directory: Path, sizes: list[int]) -> None:
    """Compare the tiles of the last checkpoint, and what is left of older ones' partial tiles: somebody reads them."""
    for tile in tiles_of(sizes[-1]):
        _check_tile(database, directory, tile)
    for before, size in pairwise((0, *sizes[:-1])):
        for tile in tiles_of(size, before):
            if tile.width < WIDTH and (directory / tile.path).exists():
                _check_tile(database, directory, tile)


def _check_tile(database: sqlite3.Connection, directory: Path, tile: Tile) -> None:
    if read_tile(directory, tile) != tile_content(database, tile):
        raise LogError(f"{directory / tile.path}: does not match the leaves")
