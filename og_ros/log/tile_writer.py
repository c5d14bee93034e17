"""Writes tiles and checkpoints durably: a file is whole under its name or not there, also after a power loss."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log.tiles import WIDTH, Tile

_TEMPORARY = ".tmp"


def write_file(file: Path, data: bytes) -> None:
    """Replace a file by rename, after its bytes are on the disk; the directory is not synced here."""
    temporary = file.with_name(file.name + _TEMPORARY)
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def sync_directory(directory: Path) -> None:
    """Put the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, data: bytes) -> None:
    """Write one file with its name. Raises LogError when the disk refuses; then the old file stands."""
    try:
        write_file(file, data)
        sync_directory(file.parent)
    except OSError as error:
        raise LogError(f"{file}: cannot be written: {error.strerror}; free or repair the disk and retry") from error


def write_tiles(root: Path, tiles: Iterable[Tile], content: Callable[[Tile], bytes]) -> int:
    """Write the tiles whose file is missing or differs from ``content(tile)``; how many were written.

    Idempotent: a file that is already right is left alone, so a full tile is written once, and a torn one is repaired.
    A full tile replaces its partial ones. Raises LogError when the disk refuses.
    """
    written = 0
    touched: set[Path] = set()
    obsolete: list[Path] = []
    try:
        for tile in tiles:
            file = root / tile.path
            data = content(tile)
            if tile.width == WIDTH:
                obsolete.append(file.with_name(file.name + ".p"))
            if _holds(file, data):
                continue
            for directory in _make_directories(file.parent):
                touched.add(directory)
            write_file(file, data)
            touched.add(file.parent)
            written += 1
        for directory in touched:
            sync_directory(directory)
    except OSError as error:
        raise LogError(
            f"{root}: tiles cannot be written: {error.strerror}; free or repair the disk and retry"
        ) from error
    for directory in obsolete:
        with contextlib.suppress(OSError):  # left-overs are allowed by the specification
            shutil.rmtree(directory)
    return written


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.stat().st_size == len(data) and file.read_bytes() == data
    except OSError:
        return False


def _make_directories(directory: Path) -> list[Path]:
    """Make a directory and its missing parents; the directories that got a new name in them."""
    if directory.is_dir():
        return []
    changed = _make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    return [*changed, directory.parent]
