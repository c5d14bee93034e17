"""Cosigned checkpoints beside a ledger: one signed note a size, in LEDGER/cosigned, that any C2SP tool reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log.cosignature import WitnessKey, cosignatures
from og_ros.log.note import MAX_NOTE_BYTES, NoteSignature, SignedNote, parse_note
from og_ros.log.tile_writer import sync_directory, write_durably

DIRECTORY = "cosigned"
SUFFIX = ".checkpoint"
MAX_FILES = 100_000
"""So many of the newest are read: a witness each minute for ten weeks. The newest of them covers all before it."""

_NAME = re.compile(r"(0|[1-9][0-9]{0,18})\.checkpoint", re.ASCII)


def read_note(file: Path) -> str:
    """Read a file that should hold a signed note; raises LogError."""
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_NOTE_BYTES + 1)
        if len(data) > MAX_NOTE_BYTES:
            raise LogError(f"{file} is longer than {MAX_NOTE_BYTES} bytes; it is no checkpoint")
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LogError(f"{file} is not UTF-8 text; it is no checkpoint") from error
    except OSError as error:
        raise LogError(f"cannot read {file}: {error.strerror}") from error


def sized_files(folder: Path, newest: int = MAX_FILES) -> list[tuple[int, Path]]:
    """The files SIZE.checkpoint of a folder with their sizes, smallest first, at most the `newest`; none: empty."""
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogError(f"cannot read {folder}: {error.strerror}") from error
    found = sorted((int(match[1]), folder / name) for name in names if (match := _NAME.fullmatch(name)))
    return [(size, file) for size, file in found[-newest:] if file.is_file()]  # no pipe that somebody put there


class CosignedCheckpoints:
    """The folder of one ledger. Only `add` makes it. Methods raise LogError."""

    def __init__(self, ledger: Path) -> None:
        self.folder = ledger / DIRECTORY

    def notes(self) -> list[tuple[Path, str]]:
        """The files with their text, smallest tree first. Nothing is verified."""
        return [(file, read_note(file)) for _, file in sized_files(self.folder)]

    def newest(self, keys: Iterable[WitnessKey]) -> dict[WitnessKey, int]:
        """The largest size that each witness cosigned, 0 where none is kept; wrong cosignatures do not count."""
        sizes = dict.fromkeys(keys, 0)
        missing = set(sizes)
        for size, file in reversed(sized_files(self.folder)):
            if not missing:
                break
            for found in cosignatures(parse_note(read_note(file)), missing)[0]:
                sizes[found.witness] = size
                missing.discard(found.witness)
        return sizes

    def at(self, size: int) -> str | None:
        """The note kept for a size."""
        file = self.folder / f"{size}{SUFFIX}"
        return read_note(file) if file.is_file() else None

    def add(self, size: int, note: str, lines: Iterable[NoteSignature]) -> str:
        """Keep a checkpoint's note with cosignatures, beside those that are kept already; the note as it is now."""
        signed = parse_note(note)
        present = self.at(size)
        if present is not None:
            kept = parse_note(present)
            if kept.text != signed.text:
                raise LogError(f"{self.folder / f'{size}{SUFFIX}'}: is another checkpoint of {size} leaves")
            # The log's own lines may have become more (another key), cosignatures too: all are kept, each once.
            signed = SignedNote(signed.text, tuple(dict.fromkeys((*signed.signatures, *kept.signatures))))
        signed = SignedNote(signed.text, tuple(dict.fromkeys((*signed.signatures, *lines))))
        if not self.folder.is_dir():
            try:
                self.folder.mkdir()
                sync_directory(self.folder.parent)
            except OSError as error:
                raise LogError(f"{self.folder}: cannot be made: {error.strerror}") from error
        write_durably(self.folder / f"{size}{SUFFIX}", signed.format().encode())
        return signed.format()
