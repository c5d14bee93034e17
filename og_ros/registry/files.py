"""Files of a registry: bounded reading, durable writing in two steps, and the lock of its one writer.

New files are written beside their place (NAME.new), then the index is replaced, which is the moment when they count,
then they are renamed into place. A reader takes either; a writer that died half-way is finished or undone by the next.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from og_ros.errors import RegistryError

STAGED: Final = ".new"
LOCK: Final = ".lock"
FOLDERS: Final = ("roots", "models", "keys", "revocations", "signatures")


def read(file: Path, limit: int) -> bytes | None:
    """Return the bytes of a regular file of at most `limit` bytes, None when there is none; raises RegistryError."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"cannot read {file}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise RegistryError(f"{file} is no regular file")
        try:
            data = stream.read(limit + 1)
        except OSError as error:
            raise RegistryError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > limit:
        raise RegistryError(f"{file} has more than {limit} bytes")
    return data


def read_listed(directory: Path, path: str, digest: bytes, limit: int) -> bytes:
    """Return the bytes of a file that the index lists with a SHA-256; raises RegistryError if missing or another."""
    found = False
    for name in (path, path + STAGED, path):  # the writer may be renaming it into place meanwhile
        data = read(directory / name, limit)
        if data is not None:
            if sha256(data).digest() == digest:
                return data
            found = True
    if found:
        raise RegistryError(f"{directory / path} is not the file that the index lists: it was altered or replaced")
    raise RegistryError(f"{directory / path} is missing, though the index lists it: it was removed")


def present(directory: Path) -> Iterator[str]:
    """Yield the path of every file in the registry's folders, staged ones excepted; raises RegistryError."""
    for folder in FOLDERS:
        try:
            names = [item.name for item in (directory / folder).iterdir()]
        except FileNotFoundError:
            continue
        except OSError as error:
            raise RegistryError(f"cannot list {directory / folder}: {error.strerror}") from error
        yield from (f"{folder}/{name}" for name in names if not name.endswith(STAGED))


def digest_of(file: Path) -> bytes:
    """Return the SHA-256 of a file of any size, such as a model; raises RegistryError."""
    hasher = sha256()
    try:
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                hasher.update(block)
    except OSError as error:
        raise RegistryError(f"cannot read {file}: {error.strerror}") from error
    return hasher.digest()


def commit(directory: Path, new: dict[str, bytes], index_path: str, index: bytes) -> None:
    """Write files and the index that lists them, durably and all or nothing; raises RegistryError."""
    try:
        try:
            for path, data in new.items():
                (directory / path).parent.mkdir(exist_ok=True)
                _write(directory / (path + STAGED), data)
            _write(directory / (index_path + STAGED), index)
            _sync_folders(directory, new)
        except OSError:
            for path in (*new, index_path):
                with contextlib.suppress(OSError):
                    (directory / (path + STAGED)).unlink()
            raise
        (directory / (index_path + STAGED)).replace(directory / index_path)
        _sync(directory)
        for path in new:
            (directory / (path + STAGED)).replace(directory / path)
        _sync_folders(directory, new)
    except OSError as error:
        raise RegistryError(f"cannot write the registry {directory}: {error.strerror}") from error


def recover(directory: Path, listed: dict[str, bytes], limit: int) -> None:
    """Finish or undo what a writer that died has left: staged files that the index lists, or does not."""
    try:
        for staged in [*directory.glob("*" + STAGED), *directory.glob(f"*/*{STAGED}")]:
            path = str(staged.relative_to(directory)).removesuffix(STAGED)
            data = read(staged, limit)
            if data is not None and path in listed and sha256(data).digest() == listed[path]:
                staged.replace(directory / path)
            elif path.split("/")[0] in (*FOLDERS, "index.dsse.json"):
                staged.unlink()
    except OSError as error:
        raise RegistryError(f"cannot repair the registry {directory}: {error.strerror}") from error


@contextlib.contextmanager
def writer_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a registry's one writer; raises RegistryError when somebody has it."""
    try:
        import fcntl  # not at the top: reading works without it
    except ImportError:
        raise RegistryError("a registry can only be written on a POSIX system") from None
    try:
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RegistryError(f"cannot write the registry {directory}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RegistryError(f"the registry {directory} is being written by another process; try again") from error
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folders(directory: Path, paths: Iterable[str]) -> None:
    for folder in {(directory / path).parent for path in paths} | {directory}:
        _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
