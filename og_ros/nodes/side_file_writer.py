"""Writes a session's side files: sealed at once, appended, synced each second, bounded; a full disk stops nothing."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from og_ros.attest.content_key import MAX_MESSAGES, ContentKey, ContentKeys
from og_ros.attest.side_file import MAGIC, SUFFIX, SideRecord, record_frame, remember, seal_frame
from og_ros.errors import DisclosureError

# Payloads that wait for the disk take at most so much memory; what is more is dropped and reported.
MAX_WAITING_BYTES: Final = 64 * 2**20
_SYNC_S: Final = 1.0
_SEGMENTS: Final = 8


class SideFileWriter:
    """A thread that seals and writes what a stage committed to.

    A session writes segments `STAGE.SESSION.NUMBER.side`, each an eighth of the limit and with a content key of its
    own. All side files of the stage in the directory, of earlier sessions too, stay under the limit: the oldest are
    removed. Whatever goes wrong is reported and costs records, never an attestation.
    """

    def __init__(
        self,
        directory: Path,
        stage: str,
        session: bytes,
        recipients: Sequence[ec.EllipticCurvePublicKey],
        limit_bytes: int,
        report: Callable[[str, Exception | str], None],
    ) -> None:
        """Raises DisclosureError when the directory cannot be made or written to."""
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise DisclosureError(f"cannot make the directory of side files {directory}: {error.strerror}") from error
        if not os.access(directory, os.W_OK | os.X_OK):
            raise DisclosureError(f"cannot write side files to {directory}")
        self.written = 0
        self.dropped = 0
        self._directory, self._session = directory, session
        self._stage = re.sub(r"[^A-Za-z0-9_-]", "_", stage)
        self._limit, self._report = limit_bytes, report
        self._keys = ContentKeys(recipients)
        self._segment = -1
        self._file: int | None = None
        self._size = 0
        self._key: ContentKey | None = None
        self._payloads: OrderedDict[bytes, bytes] = OrderedDict()
        self._queue: deque[SideRecord] = deque()
        self._waiting_bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="side file", daemon=True)
        self._thread.start()

    def write(self, record: SideRecord) -> None:
        """Queue a record; never waits. It is dropped, and reported, when too much waits for the disk."""
        with self._changed:
            if self._waiting_bytes + len(record.payload) <= MAX_WAITING_BYTES and not self._closing:
                self._waiting_bytes += len(record.payload)
                self._queue.append(record)
                self._changed.notify()
                return
            self.dropped += 1
        self._report("side file", "a record was dropped: the disk is too slow; it cannot be revealed")

    def close(self) -> None:
        """Write what is queued, and end the thread. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        synced = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing, timeout=_SYNC_S)
                batch, self._queue = self._queue, deque()
                self._waiting_bytes = 0
                closing = self._closing
            for record in batch:
                self._write(record)
            if closing and not batch:
                self._close_file()
                return
            if time.monotonic() - synced >= _SYNC_S:
                self._sync()
                synced = time.monotonic()

    def _write(self, record: SideRecord) -> None:
        try:
            known = record.commitment in self._payloads
            key = self._key
            full = self._size >= self._limit // _SEGMENTS
            if self._file is None or key is None or full or key.counter >= MAX_MESSAGES:
                key, known = self._next_segment(), False
            self._append(record_frame(key, replace(record, payload=b"") if known else record))
            remember(self._payloads, record.commitment, b"")  # the reader has the bytes
            self.written += 1
        except Exception as error:  # whatever it was, attestations must go on
            self.dropped += 1
            self._report("side file", f"a record was lost, and cannot be revealed: {error}")

    def _append(self, frame: bytes) -> None:
        """Write a frame as a whole or not at all; raises OSError."""
        assert self._file is not None
        view = memoryview(frame)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
            except OSError:
                self._close_file()
            raise
        self._size += len(frame)

    def _next_segment(self) -> ContentKey:
        self._close_file()
        self._make_room()
        self._segment += 1
        path = self._directory / f"{self._stage}.{self._session.hex()}.{self._segment:06d}{SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._payloads.clear()
        self._key, seal = self._keys.renew()
        try:
            self._append(MAGIC + seal_frame(seal))
        except OSError:
            self._close_file()
            raise
        return self._key

    def _make_room(self) -> None:
        """Remove the oldest side files of the stage until another segment fits."""
        found = sorted(
            (status.st_mtime_ns, path, status.st_size)
            for path in self._directory.glob(f"{self._stage}.*{SUFFIX}")
            if (status := path.stat())
        )
        total = sum(size for _, _, size in found)
        for _, path, size in found:
            if total + self._limit // _SEGMENTS <= self._limit:
                return
            path.unlink()
            total -= size
            self._report("side file", f"the oldest one, {path.name}, was removed to stay under the limit")

    def _sync(self) -> None:
        if self._file is None:
            return
        try:
            os.fdatasync(self._file)
        except OSError as error:
            self._report("side file", f"what was written may be lost: {error}")
            self._close_file()

    def _close_file(self) -> None:
        descriptor, self._file = self._file, None
        if descriptor is not None:
            try:
                os.fsync(descriptor)
            except OSError as error:
                self._report("side file", f"what was written may be lost: {error}")
            finally:
                os.close(descriptor)
