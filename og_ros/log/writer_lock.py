"""The lock that keeps a ledger to one writer: a POSIX advisory file lock, which dies with its process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from og_ros.errors import LogError

LOCK_FILE = "lock"


class WriterLock:
    """Held from construction to `release`. The file stays; its content, a process id, only serves the error message."""

    def __init__(self, directory: Path) -> None:
        """Take the lock. Raises LogError when somebody has it, or when the system has no such locks."""
        try:
            import fcntl  # not at the top: reading works without it
        except ImportError:
            raise LogError("a ledger can only be written on a POSIX system; open it without a key to read it") from None
        file = directory / LOCK_FILE
        try:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LogError(f"{file}: cannot be opened for writing: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise LogError(
                f"{directory}: is open for writing already (process {holder}); a ledger has one writer"
            ) from None
        with contextlib.suppress(OSError):  # a full disk must not keep a reader of the lock out
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    @staticmethod
    def is_held(directory: Path) -> bool:
        """Whether a writer is at work; False where that cannot be found out."""
        try:
            import fcntl

            descriptor = os.open(directory / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
        except (ImportError, OSError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Free the lock."""
        os.close(self._descriptor)
