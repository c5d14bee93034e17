"""Finds the storage files of a recording, and makes those readable that are compressed or were not closed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.audit.findings import Finding
from og_ros.audit.recording import bag_metadata, decompression
from og_ros.audit.recording.bag_metadata import Metadata
from og_ros.audit.recording.mcap_file import McapFile
from og_ros.audit.recording.sqlite_file import SqliteFile
from og_ros.audit.recording.storage import StorageFile, regular_size
from og_ros.errors import BagError

_FORMATS: Final[dict[str, tuple[str, Callable[[Path], StorageFile]]]] = {
    "mcap": (".mcap", McapFile),
    "sqlite3": (".db3", SqliteFile),
}
_PACKED: Final = ".zstd"
_ROS1_MAGIC: Final = b"#ROSBAG V"
_MAX_FILES: Final = 10_000


@dataclass(frozen=True)
class BagFiles:
    """The storage files of a recording as they lie on disk, in their order, and what its metadata.yaml says, if any.

    `path` opens just these again: the directory, or a file that lies alone, without metadata.yaml.
    """

    path: Path
    directory: Path
    storage: str
    files: tuple[Path, ...]
    metadata: Metadata | None
    findings: tuple[Finding, ...]


def find(path: Path) -> BagFiles:
    """Find the files of a recording: a rosbag2 directory, or a storage file in one or alone.

    Raises BagError, naming what is wrong, when `path` is no recording, or names files that are not its own.
    """
    try:
        alone = path.is_file()
        directory = path.parent if alone else path
        if not path.exists() and not path.is_symlink():
            raise BagError(f"there is no recording at {path}")
        if alone:
            _refuse_ros1(path)
        elif not path.is_dir():
            raise BagError(f"{path} is no recording: a rosbag2 directory, or its .mcap or .db3 file, is expected")
        metadata = bag_metadata.load(directory) if not alone or (directory / bag_metadata.NAME).exists() else None
        names = sorted(entry.name for entry in os.scandir(directory)) if not alone or metadata else [path.name]
    except (OSError, RuntimeError, ValueError) as error:
        raise BagError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if alone and metadata is not None and path.name not in metadata.files:
        raise BagError(f"{path} is no file of the recording beside it, by its metadata.yaml; move it elsewhere")
    if metadata is None:
        return _without_metadata(path, directory, [name for name in names if _format_of(name)])
    storage = metadata.storage
    if storage not in _FORMATS:
        raise BagError(
            f"{directory / bag_metadata.NAME}: storage {storage[:40]!r} cannot be read; mcap and sqlite3 can"
        )
    if not metadata.files or len(metadata.files) > _MAX_FILES or len(set(metadata.files)) < len(metadata.files):
        raise BagError(f"{directory / bag_metadata.NAME} names no files, one of them twice, or too many")
    files = tuple(_own(directory, name) for name in metadata.files)
    # An unpacked copy beside its packed file, or the other way round, is no other file.
    listed = {name.removesuffix(_PACKED) for name in metadata.files}
    extra = [name for name in names if _format_of(name) and name.removesuffix(_PACKED) not in listed]
    findings = tuple(
        Finding("metadata_disagrees", f"{directory / name} is not in metadata.yaml, and was not read") for name in extra
    )
    return BagFiles(directory, directory, storage, files, metadata, (*findings, *_not_closed(files)))


def _without_metadata(path: Path, directory: Path, names: list[str]) -> BagFiles:
    formats = {_format_of(name) for name in names}
    if not names:
        raise BagError(f"{path} is no rosbag2 recording: it has neither metadata.yaml nor a .mcap or .db3 file")
    if len(formats) > 1 or len(names) > _MAX_FILES:
        raise BagError(f"{directory} has no metadata.yaml, and files of several formats, or too many; name one of them")
    packed = {name for name in names if name.endswith(_PACKED) and name.removesuffix(_PACKED) in names}
    files = tuple(_own(directory, name) for name in sorted(set(names) - packed, key=_split_order))
    finding = Finding(
        "metadata_missing",
        f"{directory} has no metadata.yaml: what it should hold is not known, only what its storage files do",
    )
    return BagFiles(path, directory, formats.pop(), files, None, (finding, *_not_closed(files)))


def _not_closed(files: tuple[Path, ...]) -> Iterator[Finding]:
    for path in files:
        if _holds_something(path.with_name(path.name + "-wal")):
            text = f"{path} was not closed by its recorder: a part of it is in {path.name}-wal, which was read too"
            yield Finding("recording_not_closed", text)


def _split_order(name: str) -> tuple[int, int, str]:
    """Order NAME_2.mcap before NAME_10.mcap."""
    stem, _, number = name.removesuffix(_PACKED).rpartition(".")[0].rpartition("_")
    return (0, int(number), stem) if number.isascii() and number.isdigit() and len(number) < 10 else (1, 0, name)


def _format_of(name: str) -> str:
    for storage, (suffix, _) in _FORMATS.items():
        if name.removesuffix(_PACKED).endswith(suffix):
            return storage
    return ""


def _own(directory: Path, name: str) -> Path:
    """Return the path of a file of the recording; raises BagError for one that is missing or lies outside."""
    path = directory / name
    try:
        if not path.exists() and not path.is_symlink():
            raise BagError(f"{path} is missing: it is a file of this recording")
        if path.resolve(strict=True).parent != directory.resolve(strict=True):
            raise BagError(f"{path} leads out of the recording's own directory; copy the file there to audit it")
    except (OSError, RuntimeError, ValueError) as error:
        raise BagError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    regular_size(path)
    return path


def _refuse_ros1(path: Path) -> None:
    regular_size(path)
    with open(path, "rb") as stream:
        if stream.read(len(_ROS1_MAGIC)) == _ROS1_MAGIC:
            raise BagError(f"{path} is a ROS 1 bag; og_ros audits rosbag2 recordings of ROS 2")
    if not _format_of(path.name):
        raise BagError(f"{path} is no recording: a rosbag2 directory, or its .mcap or .db3 file, is expected")


def unpack(files: BagFiles, target: Path) -> tuple[Path, ...]:
    """Return files that can be read as they are, in order; those that cannot are decompressed or copied to `target`.

    A SQLite file with a write-ahead log beside it was not closed: a part of what was recorded is in that log alone. To
    read it, SQLite would write to the recording, so it gets a copy. A file that is in `target` already is used. Raises
    BagError.
    """
    return tuple(_readable(path, files, target) for path in files.files)


def _readable(path: Path, files: BagFiles, target: Path) -> Path:
    made = target / path.name.removesuffix(_PACKED)
    if made.exists():
        return made
    if path.name.endswith(_PACKED) or (files.metadata is not None and files.metadata.compression == "file"):
        decompression.file(path, made)
        return made
    if files.storage != "sqlite3":
        return path
    if _holds_something(path.with_name(path.name + "-journal")):
        # SQLite would roll back, and delete whatever file the journal names: not with a stranger's journal.
        raise BagError(
            f"{path} was not closed: {path.name}-journal is beside it; open a copy of both with sqlite3 first"
        )
    log = path.with_name(path.name + "-wal")
    if not _holds_something(log):
        return path
    for source in (log, path):
        decompression.copy(_own(files.directory, source.name), target / source.name)
    _merge_log(made)
    return made


def _merge_log(copy: Path) -> None:
    try:
        database = sqlite3.connect(copy)
        try:
            database.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            database.close()
    except sqlite3.Error as error:
        raise BagError(f"{copy.name} cannot be read together with its write-ahead log: {error}") from error


def _holds_something(path: Path) -> bool:
    return os.path.lexists(path) and not (path.is_file() and path.stat().st_size == 0)


def open_file(storage: str, path: Path) -> StorageFile:
    """Open a storage file; raises BagError when it is damaged or no such file."""
    return _FORMATS[storage][1](path)
