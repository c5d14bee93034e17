"""A copy of a ledger as it is at one moment, while its writer may be at work: database, tiles and newest checkpoint."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log import cosigned, schema
from og_ros.log.rows import read_checkpoints
from og_ros.log.tiles import CHECKPOINT_FILE, published, read_tile, tiles_of
from og_ros.log.timestamps import ANSWER as STAMP
from og_ros.log.timestamps import DIRECTORY as STAMPED

_ATTEMPTS = 5


def export_ledger(source: Path, target: Path) -> None:
    """Copy a ledger to a new directory: its database, and tiles, published checkpoint, cosignatures and time stamps.

    Nothing is verified here, and nothing is made better: what does not hold in the ledger does not hold in the copy.
    Raises LogError when it cannot be read or written.
    """
    file = source / schema.DATABASE
    copy = target / schema.DATABASE
    try:
        target.mkdir(parents=True)
        # Before the database, which then has these checkpoints or newer ones.
        note = published(source)
        if note is not None:
            (target / CHECKPOINT_FILE).write_bytes(note)
        for folder, suffixes in ((cosigned.DIRECTORY, (cosigned.SUFFIX,)), (STAMPED, (cosigned.SUFFIX, STAMP))):
            _copy_folder(source / folder, suffixes, target / folder)
        for _ in range(_ATTEMPTS):
            if _copied(file, copy):
                break
            copy.unlink(missing_ok=True)
        else:
            raise LogError(f"{file}: changes faster than it can be copied; try again")
        _copy_tiles(source, copy, target)
    except OSError as error:
        raise LogError(f"{target}: the log cannot be copied there: {error.strerror}") from error


def _copy_folder(source: Path, suffixes: tuple[str, ...], target: Path) -> None:
    """Copy what witnesses and time stamp authorities gave."""
    for _, file in cosigned.sized_files(source):
        for part in (file.with_suffix(suffix) for suffix in suffixes):
            if part.is_file():
                target.mkdir(exist_ok=True)
                (target / part.name).write_bytes(part.read_bytes())


def _copied(file: Path, copy: Path) -> bool:
    """Copy a database; return whether no writer came meanwhile to one that was opened as having none."""
    database, state = schema.connect_reader(file)
    with schema.guarded(file, "copy"), closing(database), closing(sqlite3.connect(copy)) as made:
        database.backup(made)
        # Without a write-ahead log of its own, the copy can be read where nothing can be written.
        made.execute("PRAGMA journal_mode = DELETE").fetchall()
    return state is None or schema.settled_state(file) == state


def _copy_tiles(source: Path, copy: Path, target: Path) -> None:
    """Copy the tiles under the newest checkpoint of the copied database; a missing one is missing in the copy too."""
    with schema.guarded(copy, "read"), closing(schema.connect_reader(copy)[0]) as database:
        newest = read_checkpoints(database, newest=1)
    for tile in tiles_of(newest[0].size if newest else 0):
        with contextlib.suppress(LogError):
            data = read_tile(source, tile)
            path = target / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
