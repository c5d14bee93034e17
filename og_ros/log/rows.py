"""Reads the ledger's rows from SQLite: checkpoints, the hashes of a tile level, and the bytes of a tile."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from og_ros.errors import LogError
from og_ros.log.schema import KEY_CHANGES
from og_ros.log.tiles import WIDTH, Tile, encode_bundle


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry of the ledger; ``received_ns`` is the wall time of its append (Unix, ns) and *not* in the tree."""

    index: int
    data: bytes
    received_ns: int


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint as the ledger keeps it; ``signed_ns`` (Unix time, ns) is the log's word and is not signed."""

    size: int
    root: bytes
    signed_ns: int
    note: str


def read_checkpoints(database: sqlite3.Connection, newest: int = -1) -> list[StoredCheckpoint]:
    """All checkpoints or the ``newest`` of them, oldest first."""
    query = "SELECT size, root, signed_ns, note FROM checkpoints ORDER BY id DESC LIMIT ?"
    return [StoredCheckpoint(*row) for row in reversed(database.execute(query, (newest,)).fetchall())]


def read_hashes(database: sqlite3.Connection, level: int, start: int, stop: int) -> list[bytes]:
    """The hashes ``[start, stop)`` of a tile level. Raises LogError when one is missing."""
    if level == 0:
        rows = database.execute("SELECT hash FROM leaves WHERE id >= ? AND id < ? ORDER BY id", (start, stop))
    else:
        query = "SELECT hash FROM nodes WHERE level = ? AND id >= ? AND id < ? ORDER BY id"
        rows = database.execute(query, (level, start, stop))
    hashes = [row[0] for row in rows.fetchall()]
    if len(hashes) != stop - start:
        raise LogError(f"ledger: of the hashes {start} to {stop} of level {level} only {len(hashes)} are there")
    return hashes


def read_key_changes(database: sqlite3.Connection) -> list[tuple[int, bytes]]:
    """The leaves that begin as a change of the log's keys does, with their indexes, in order."""
    query = f"SELECT id, data FROM leaves WHERE {KEY_CHANGES} ORDER BY id"
    return database.execute(query).fetchall()


def tile_content(database: sqlite3.Connection, tile: Tile) -> bytes:
    """The bytes that belong in a tile or bundle. Raises LogError when a row is missing."""
    start = tile.index * WIDTH
    stop = start + tile.width
    if tile.level is not None:
        return b"".join(read_hashes(database, tile.level, start, stop))
    rows = database.execute("SELECT data FROM leaves WHERE id >= ? AND id < ? ORDER BY id", (start, stop)).fetchall()
    if len(rows) != tile.width:
        raise LogError(f"ledger: of the leaves {start} to {stop} only {len(rows)} are there")
    return encode_bundle([row[0] for row in rows])
