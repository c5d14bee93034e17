"""A stage's journal: its newest attestations, kept in append-only files, so that whoever missed some can ask for them.

One file is a segment: a header (magic, session, first sequence) and then frames (length, CRC-32, COSE_Sign1 object),
one for each sequence number without gaps, and in a session that was ended in order a last, empty frame. A frame is
written (not synced) before the attestation is published, so a killed process loses nothing that it published. A thread
syncs once a second, so a power cut loses at most what was written in the last second and what the disk itself still
held. A frame that is torn or damaged ends its segment: what is behind it is not served.

The attestations are signed, so the journal protects nothing against its owner; what it withholds shows as a gap.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from og_ros.errors import LogError

SUFFIX: Final = ".journal"
MAGIC: Final = b"ogjrnl01"
# An answer holds at most so many bytes of attestations, but one at least: DDS sends it in fragments.
MAX_ANSWER: Final = 256 * 1024
MAX_FRAME: Final = 65_535
_HEADER: Final = struct.Struct("<8s16sQ")
_FRAME: Final = struct.Struct("<II")
_SYNC_S: Final = 1.0
_SEGMENTS: Final = 16
# What waits in memory for a disk that is full or fails, and what a journal without directory keeps.
MEMORY_BYTES: Final = 8 * 2**20


@dataclass(frozen=True)
class KeptSession:
    """What a journal has of a session: every sequence number from `oldest` to `newest`, and whether it was ended."""

    session: bytes
    oldest: int
    newest: int
    ended: bool


@dataclass
class _Segment:
    """Attestations of one session with consecutive sequence numbers, in a file or in memory (`path` is None)."""

    session: bytes
    first: int
    path: Path | None = None
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    size: int = 0
    ended: bool = False
    memory: list[bytes] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.offsets) if self.path is not None else len(self.memory)

    @property
    def next(self) -> int:
        return self.first + self.count


class Journal:
    """The journal of one stage: takes the attestations of its present session, and has those of earlier ones too.

    All files of the stage in the directory together stay under `limit_bytes` and younger than `age_s`; the oldest are
    removed. Without a directory the newest are kept in memory, and end with the process. A full or failing disk costs
    nothing at first: attestations wait in memory (up to 8 MB) until it takes them. Whatever goes wrong is reported and
    never raised once the journal is open. Thread-safe.
    """

    def __init__(
        self,
        directory: Path | None,
        stage: str,
        session: bytes,
        *,
        limit_bytes: int = 64 * 10**6,
        age_s: float = 7 * 86_400.0,
        report: Callable[[str, Exception | str], None] = lambda kind, error: None,
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        """Open it and read what earlier sessions left. `sync` is what makes a file durable.

        Raises LogError when the directory cannot be made or read. One that cannot be written to is reported.
        """
        self.stage, self.session = stage, session
        self._directory, self._limit, self._age_s = directory, limit_bytes, age_s
        self._report, self._sync_file = report, sync
        self._prefix = re.sub(r"[^A-Za-z0-9_-]", "_", stage)
        self._memory_limit = MEMORY_BYTES if directory is not None else min(limit_bytes, MEMORY_BYTES)
        self._segments: list[_Segment] = []
        self._file: int | None = None
        self._number = 0
        self._largest = 1024
        self._since_damage: int | None = None  # attestations since the disk lost some; None: it never did
        self._retry_at = 0.0
        self._dirty = False
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if directory is not None:
            try:
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                paths = sorted(directory.glob(f"{self._prefix}.*{SUFFIX}"))
            except OSError as error:
                raise LogError(f"{directory}: the journal cannot be opened: {error.strerror}") from error
            for path in paths:
                self._load(path)
            self._thread = threading.Thread(target=self._sync_often, name="journal", daemon=True)
            self._thread.start()

    @property
    def keeps(self) -> int:
        """So many of the newest attestations, over all sessions, are kept for certain, or as many as there were."""
        limit = self._limit - self._limit // _SEGMENTS if self._directory is not None else self._memory_limit
        promised = max(1, limit // (self._largest + _FRAME.size) - 1)
        with self._lock:
            return promised if self._since_damage is None else min(promised, self._since_damage)

    def append(self, sequence: int, cose: bytes) -> None:
        """Keep the session's next attestation; never raises. It is in the file when this returns, if the disk works."""
        with self._lock:
            self._largest = max(self._largest, len(cose))
            if self._since_damage is not None:
                self._since_damage += 1
            frame = _FRAME.pack(len(cose), zlib.crc32(cose)) + cose
            last = self._segments[-1] if self._segments else None
            if last is not None and last.path is None and last.session == self.session:
                self._into_memory(sequence, cose)
                if self._directory is not None and time.monotonic() >= self._retry_at:
                    self._flush_memory()
                return
            if self._directory is None:
                self._into_memory(sequence, cose)
                return
            try:
                if not self._fits(sequence):
                    self._next_segment(sequence)
                self._write(frame)
            except OSError as error:
                self._failed(error)
                self._into_memory(sequence, cose)

    def sessions(self) -> list[KeptSession]:
        """Return the sessions that the journal has, the oldest first and the present one last."""
        with self._lock:
            runs: dict[bytes, KeptSession] = {}
            for segment in self._segments:
                if not segment.count:
                    continue
                newest, before = segment.next - 1, runs.pop(segment.session, None)
                joined = before is not None and before.newest + 1 == segment.first
                oldest = before.oldest if before is not None and joined else segment.first
                runs[segment.session] = KeptSession(segment.session, oldest, newest, segment.ended)
            return list(runs.values())

    def read(self, session: bytes, first: int, last: int, limit: int = 0) -> list[tuple[int, bytes]]:
        """Return (sequence, COSE object) of what is kept of a range, at most `limit` (0: any number) and 256 kB."""
        found: list[tuple[int, bytes]] = []
        room = MAX_ANSWER
        with self._lock:
            chosen = [s for s in self._segments if s.session == session and s.first <= last and s.next > first]
        for segment in sorted(chosen, key=lambda s: s.first):
            at, stop = max(first, segment.first), min(last, segment.next - 1) + 1
            for sequence, cose in self._contents(segment, at, stop - 1, room, limit - len(found)):
                room -= len(cose)
                if found and room < 0:
                    return found
                found.append((sequence, cose))
                if limit and len(found) >= limit:
                    return found
                at = sequence + 1
            if at < stop:
                return found  # there was no room for more, or the rest is damaged
        return found

    def close(self) -> None:
        """Mark the session as ended, and make everything durable. May be called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._directory is not None and self._segments and self._segments[-1].path is None:
                self._flush_memory()
            if self._file is not None:
                try:
                    os.write(self._file, _FRAME.pack(0, 0))
                    self._segments[-1].ended = True
                except OSError as error:
                    self._report("journal", f"the session's end was not noted: {error}")
            self._sync()
            self._close_file()

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _contents(self, segment: _Segment, first: int, last: int, room: int, limit: int) -> Iterator[tuple[int, bytes]]:
        """Yield what a segment has of a range; a file that is gone or damaged since gives less."""
        index, stop = first - segment.first, last - segment.first + 1
        if limit > 0:
            stop = min(stop, index + limit)
        if segment.path is None:
            for offset, cose in enumerate(segment.memory[index:stop]):
                yield first + offset, cose
            return
        with self._lock:
            offsets = segment.offsets
            while stop - index > 1 and offsets[stop - 1] - offsets[index] > room:
                stop = index + (stop - index + 1) // 2
            end = offsets[stop] if stop < len(offsets) else segment.size
            begin = offsets[index]
        try:
            with segment.path.open("rb") as file:
                data = os.pread(file.fileno(), end - begin, begin)
        except OSError as error:
            self._report("journal", f"{segment.path.name} cannot be read: {error.strerror}")
            return
        at = 0
        for sequence in range(first, segment.first + stop):
            cose = _frame_at(data, at)
            if not cose:
                self._report("journal", f"{segment.path.name} is damaged at sequence {sequence}")
                self._cut(segment, sequence)
                return
            yield sequence, cose
            at += _FRAME.size + len(cose)

    def _cut(self, segment: _Segment, sequence: int) -> None:
        """Serve a damaged segment up to the damage only, and state no more than what came since."""
        with self._lock:
            del segment.offsets[sequence - segment.first :]
            segment.ended = False
            self._since_damage = 0

    def _load(self, path: Path) -> None:
        """Read a segment of an earlier process, up to the first frame that is torn or damaged."""
        try:
            data = path.read_bytes()
        except OSError as error:
            self._report("journal", f"{path.name} cannot be read: {error.strerror}")
            return
        if len(data) < _HEADER.size or data[:8] != MAGIC:
            if data:
                self._report("journal", f"{path.name} is no journal; it is left alone")
            return
        _, session, first = _HEADER.unpack_from(data)
        segment = _Segment(session, first, path)
        at = _HEADER.size
        while cose := _frame_at(data, at):
            segment.offsets.append(at)
            at += _FRAME.size + len(cose)
            self._largest = max(self._largest, len(cose))
        segment.size = at
        segment.ended = data[at:] == _FRAME.pack(0, 0)
        if not segment.ended and at != len(data):
            self._report("journal", f"{path.name} ends in {len(data) - at} torn bytes, which are left out")
            self._since_damage = 0
        if segment.count:
            self._segments.append(segment)

    def _fits(self, sequence: int) -> bool:
        if self._file is None or not self._segments:
            return False
        last = self._segments[-1]
        return last.session == self.session and last.next == sequence and last.size < self._limit // _SEGMENTS

    def _next_segment(self, first: int) -> None:
        assert self._directory is not None
        self._sync()
        self._close_file()
        self._make_room()
        name = f"{self._prefix}.{time.time_ns():020d}.{self.session.hex()}.{self._number:06d}{SUFFIX}"
        self._number += 1
        path = self._directory / name
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._segments.append(_Segment(self.session, first, path))
        try:
            self._write(_HEADER.pack(MAGIC, self.session, first), header=True)
        except OSError:
            self._segments.pop()
            self._close_file()
            path.unlink(missing_ok=True)
            raise

    def _write(self, data: bytes, header: bool = False) -> None:
        """Write a frame as a whole or not at all; raises OSError."""
        assert self._file is not None
        segment = self._segments[-1]
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            try:
                os.ftruncate(self._file, segment.size)
            except OSError:
                self._close_file()
            raise
        if not header:
            segment.offsets.append(segment.size)
        segment.size += len(data)
        self._dirty = True

    def _into_memory(self, sequence: int, cose: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if last is None or last.path is not None or last.session != self.session or last.next != sequence:
            last = _Segment(self.session, sequence)
            self._segments.append(last)
        last.memory.append(cose)
        last.size += len(cose)
        dropped = 0
        while last.size > self._memory_limit and last.count > 1:
            dropped += 1
            last.size -= len(last.memory[0])
            last.memory.pop(0)
            last.first += 1
        if dropped and self._directory is not None:
            self._since_damage = last.count
            self._report("journal", "the disk takes nothing, and memory is full: the oldest attestation is not kept")

    def _flush_memory(self) -> None:
        """Write what waits in memory, now that the disk may take it again."""
        waiting = self._segments.pop()
        try:
            self._next_segment(waiting.first)
            while waiting.memory:
                cose = waiting.memory[0]
                self._write(_FRAME.pack(len(cose), zlib.crc32(cose)) + cose)
                waiting.memory.pop(0)
                waiting.first += 1
                waiting.size -= len(cose)
        except OSError as error:
            self._failed(error)
            self._segments.append(waiting)

    def _failed(self, error: OSError) -> None:
        self._retry_at = time.monotonic() + _SYNC_S
        self._report("journal", f"attestations wait in memory, the disk does not take them: {error.strerror}")

    def _make_room(self) -> None:
        """Remove the oldest files until another segment fits, and those that are too old."""
        if self._directory is None:
            return
        found = []
        for path in sorted(self._directory.glob(f"{self._prefix}.*{SUFFIX}")):
            status = path.stat()
            found.append((path, status.st_size, status.st_mtime))
        total = sum(size for _, size, _ in found)
        oldest = time.time() - self._age_s
        for path, size, changed in found:
            if total + self._limit // _SEGMENTS <= self._limit and changed >= oldest:
                continue
            path.unlink(missing_ok=True)
            total -= size
            self._segments = [segment for segment in self._segments if segment.path != path]

    def _sync_often(self) -> None:
        while not self._stop.wait(_SYNC_S):
            self._sync()

    def _sync(self) -> None:
        """Make durable what was written; the disk is waited for without the lock, so that `append` is not."""
        with self._lock:
            if self._file is None or not self._dirty:
                return
            self._dirty = False
            descriptor = os.dup(self._file)
        try:
            self._sync_file(descriptor)
        except OSError as error:
            self._report("journal", f"what was written may be lost at a power cut: {error.strerror}")
        finally:
            os.close(descriptor)

    def _close_file(self) -> None:
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)


def _frame_at(data: bytes, at: int) -> bytes:
    """Return the content of the frame at an offset; empty at the end, and where a frame is torn or damaged."""
    if len(data) < at + _FRAME.size:
        return b""
    length, checksum = _FRAME.unpack_from(data, at)
    cose = data[at + _FRAME.size : at + _FRAME.size + length]
    return cose if 0 < length <= MAX_FRAME and len(cose) == length and zlib.crc32(cose) == checksum else b""
