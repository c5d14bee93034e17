"""Finds recordings below directories, damaged ones too, and the registry and ledger that lie beside each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import BagError
from og_ros.registry.entry import INDEX_PATH

METADATA: Final = "metadata.yaml"
_STORAGE: Final = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
REGISTRY: Final = "registry"
LEDGER: Final = "ledger"
RECEIPTS: Final = "settlement/receipts.json"


@dataclass(frozen=True)
class Recording:
    """A recording's directory and the size of its files in bytes."""

    path: Path
    size: int


def find_recordings(directories: Iterable[Path]) -> list[Recording]:
    """Return every recording at or below some directories, sorted by path, each once.

    A recording is a directory with metadata.yaml, or with storage files alone: that one is damaged, and its audit will
    say so. Symbolic links below the given directories are not followed, so that a loop or a link to elsewhere does no
    harm. Raises BagError where a directory is missing or holds no recording.
    """
    found: dict[Path, Recording] = {}
    for directory in directories:
        if not directory.is_dir():
            raise BagError(f"there is no directory {directory}")
        before = len(found)
        known = False
        for path, names in _below(directory.resolve()):
            known = known or path in found
            found.setdefault(path, Recording(path, sum(_size(path / name) for name in names)))
        if len(found) == before and not known:
            raise BagError(f"no recording lies in {directory}: a directory with {METADATA} is expected")
    return [found[path] for path in sorted(found)]


def beside(recording: Path, name: str) -> Path | None:
    """Return the registry or ledger that lies in the same directory as a recording, None when there is none."""
    directory = recording.parent / name
    mark = INDEX_PATH if name == REGISTRY else "log.db"
    return directory if (directory / mark).is_file() else None


def receipts_beside(recording: Path) -> Path | None:
    """Return the receipts that a settler left in the directory of a recording, None when there are none."""
    file = recording.parent / RECEIPTS
    return file if file.is_file() else None


def _below(top: Path) -> Iterator[tuple[Path, list[str]]]:
    for directory, folders, names in os.walk(top):
        if METADATA in names or any(name.endswith(_STORAGE) for name in names):
            folders.clear()
            yield Path(directory), names
        else:
            folders.sort()


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
