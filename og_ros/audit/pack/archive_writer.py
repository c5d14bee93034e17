"""Writes a pack's ZIP file: the same files give the same bytes, and their manifest is made on the way."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Final

from og_ros.audit.pack import layout, manifest
from og_ros.errors import PackError

_BLOCK: Final = 1 << 20
_DATE: Final = (1980, 1, 1, 0, 0, 0)
_UNIX: Final = 3
_REGULAR: Final = 0o100644 << 16
# Text; the rest (recordings, hashes, signatures) hardly shrinks, and stored entries can be read in place.
_DEFLATED: Final = (".json", ".jsonl", ".txt", ".yaml", ".html", ".pub")

Source = bytes | Path


def write_archive(target: Path, files: Mapping[str, Source], sign: Callable[[bytes], bytes] | None) -> dict[str, bytes]:
    """Write a new ZIP file of some files, of their manifest, and of its signature if `sign` makes one.

    Entries are in the order of their paths, the manifest last, all with one date and mode. Returns the digests by path.
    Raises PackError for a path that is not allowed, or a file that cannot be read or written.
    """
    layout.check_paths(files)
    digests: dict[str, bytes] = {}
    try:
        with target.open("xb") as stream, zipfile.ZipFile(stream, "w") as archive:
            for path in sorted(files):
                digests[path] = _add(archive, path, files[path])
            listed = manifest.format_manifest(digests)
            _add(archive, layout.MANIFEST, listed)
            if sign is not None:
                _add(archive, layout.SIGNATURE, sign(listed))
    except OSError as error:
        raise PackError(f"cannot write {target}: {error.filename or ''} {error.strerror}") from error
    return digests


def _add(archive: zipfile.ZipFile, path: str, source: Source) -> bytes:
    info = zipfile.ZipInfo(path, _DATE)
    info.create_system = _UNIX
    info.external_attr = _REGULAR
    info.compress_type = zipfile.ZIP_DEFLATED if path.endswith(_DEFLATED) else zipfile.ZIP_STORED
    info.file_size = len(source) if isinstance(source, bytes) else source.stat().st_size
    digest = sha256()
    with archive.open(info, "w") as entry:
        if isinstance(source, bytes):
            digest.update(source)
            entry.write(source)
        else:
            with source.open("rb") as stream:
                _copy(stream, entry, digest.update)
    return digest.digest()


def _copy(source: IO[bytes], target: IO[bytes], also: Callable[[bytes], None]) -> None:
    while block := source.read(_BLOCK):
        also(block)
        target.write(block)
