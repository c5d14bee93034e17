"""The files of a recording and their digests: what a verification summary is about."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.audit.recording import bag_files, bag_metadata
from og_ros.errors import BagError
from og_ros.registry import strict_json

_BLOCK: Final = 1 << 20


def digest_files(path: Path) -> dict[str, bytes]:
    """Return the SHA-256 of every file that an audit of a recording reads, by its name in the recording's directory.

    These are metadata.yaml, the storage files, and what SQLite has not yet moved into one (-wal). Other files are not
    part of the recording. Raises BagError where one is missing or cannot be read.
    """
    found = bag_files.find(path)
    files = list(found.files)
    if found.metadata is not None:
        files.append(found.directory / bag_metadata.NAME)
    files += [wal for file in found.files if (wal := file.with_name(f"{file.name}-wal")).is_file()]
    return {file.name: _digest(file) for file in sorted(files)}


def recording_digest(files: Mapping[str, bytes]) -> bytes:
    """Return one digest for a whole recording: SHA-256 of the JSON of its files' digests in hex, by name, sorted."""
    return sha256(strict_json.dumps({name: digest.hex() for name, digest in files.items()})).digest()


def _digest(file: Path) -> bytes:
    digest = sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise BagError(f"cannot read {file}: {error.strerror}") from error
    return digest.digest()
