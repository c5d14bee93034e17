"""Reads an MCAP file of a recording as it lies on disk, whole or cut off, without trusting its index.

The records of the file are walked from its start, so what an index leaves out is still read, and a file that ends in
the middle (a crash, a full disk, a cut) gives everything before that. Source: https://mcap.dev/spec, version 0.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from og_ros.audit.recording import decompression
from og_ros.audit.recording.decompression import MAX_PIECE
from og_ros.audit.recording.mcap_names import McapNames, text
from og_ros.audit.recording.storage import MAX_TIME_NS, check_time, regular_size
from og_ros.audit.recording.time_order import Span
from og_ros.audit.records import Record
from og_ros.errors import BagError

MAGIC: Final = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
_STATISTICS, _DATA_END = 0x0B, 0x0F
_HEAD: Final = struct.Struct("<BQ")  # of any record: its kind and its size
_MESSAGE_HEAD: Final = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK_HEAD: Final = struct.Struct("<QQQI")  # first and last log time, size, CRC-32
_FOOTER_SIZE: Final = 9 + 20 + len(MAGIC)
_WALK: Final = 4096
_STRETCH: Final = 2**20
_MAX_CHUNKS: Final = 1_000_000
_MAX_SUMMARY: Final = 256 * 2**20
_OUTLINE: Final = 4096
# A message of at least this size, and a quarter of its chunk, is given as a view: copying it costs more than to keep
# the chunk for as long as the message is used.
_VIEW: Final = 65_536


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk, or a stretch of records outside of chunks: where its content lies and which times are in it."""

    offset: int
    stored: int
    size: int
    first_ns: int
    last_ns: int
    compression: str = ""
    crc: int = 0


class McapFile:
    """An MCAP file; see `og_ros.audit.storage.StorageFile`."""

    def __init__(self, path: Path) -> None:
        """Walk the file; raises BagError when it is no MCAP file of ROS 2 messages, or damaged."""
        self.path = path
        self.cut = ""
        self._size = regular_size(path)
        self._names = McapNames(path)
        self._pieces: list[_Piece] = []
        try:
            with open(path, "rb") as stream:
                self._open(stream.fileno())
        except OSError as error:
            raise BagError(f"cannot read {path}: {error.strerror}") from error
        self.topics = tuple(self._names.topic(identifier) for identifier in sorted(self._names.channels))

    def count(self, topic: str) -> int:
        """Number of messages on a topic, as the file's statistics say it, or as they were counted."""
        return sum(self._names.counts[i] for i, channel in self._names.channels.items() if channel.topic == topic)

    def spans(self, topics: Collection[str] | None, start_ns: int | None, stop_ns: int | None) -> list[Span]:
        """The chunks that may hold such messages."""
        wanted = {i: (c.topic, c.type) for i, c in self._names.channels.items() if topics is None or c.topic in topics}
        if not wanted:
            return []
        start, stop = 0 if start_ns is None else start_ns, MAX_TIME_NS + 1 if stop_ns is None else stop_ns
        return [
            Span(
                max(piece.first_ns, start),
                min(piece.last_ns, stop - 1),
                piece.size,
                partial(self._records, piece, wanted, start, stop),
            )
            for piece in self._pieces
            if piece.first_ns <= piece.last_ns and piece.first_ns < stop and piece.last_ns >= start
        ]

    def outline(self) -> list[tuple[int, float]]:
        """Each chunk by its first time, as if its messages came evenly where there are few chunks."""
        pieces = [piece for piece in self._pieces if piece.first_ns <= piece.last_ns]
        parts = max(1, _OUTLINE // max(1, len(pieces)))
        return [
            (piece.first_ns + (piece.last_ns - piece.first_ns) * part // parts, piece.size / parts)
            for piece in pieces
            for part in range(parts)
        ]

    def _records(self, piece: _Piece, wanted: dict[int, tuple[str, str]], start: int, stop: int) -> Iterator[Record]:
        with open(self.path, "rb") as stream:
            content = self._content(stream.fileno(), piece)
        view = memoryview(content)
        found = []
        ordered, before = True, 0
        for channel, time, at, end in self._messages(content, piece):
            if channel in wanted and start <= time < stop:
                found.append((time, channel, at, end))
                ordered = ordered and time >= before
                before = time
        if not ordered:
            found.sort(key=lambda message: message[0])
        large = max(_VIEW, len(content) // 4)
        for time, channel, at, end in found:
            topic, kind = wanted[channel]
            data = view[at:end]
            yield Record(topic, kind, data if end - at >= large else bytes(data), time)

    # Opening

    def _open(self, descriptor: int) -> None:
        window = _Window(descriptor, self._size)
        if window.read(0, len(MAGIC)) != MAGIC:
            raise BagError(f"{self.path} is no MCAP file: its first bytes are others")
        kind, size = self._head(window, len(MAGIC))
        at = len(MAGIC) + 9
        if kind != _HEADER or size > self._size - at:
            raise BagError(f"{self.path} ends in or has no header: nothing of it can be read")
        profile, _ = text(self.path, self._bytes(window, at, min(size, _WALK)), 0)
        if profile not in ("ros2", ""):
            raise BagError(f"{self.path} is a recording of {profile[:40]!a}, not of ROS 2")
        start = at + size
        whole = self._size >= start + _FOOTER_SIZE and window.read(self._size - len(MAGIC), len(MAGIC)) == MAGIC
        indexed = whole and self._read_summary(window, start)
        self._walk(window, start, whole)
        if not indexed:
            self._scan(descriptor, whole)

    def _read_summary(self, window: _Window, start: int) -> bool:
        """Read channels and counts from the end of a whole file; returns whether they are there."""
        footer = self._size - _FOOTER_SIZE
        kind, size = self._head(window, footer)
        if kind != _FOOTER or size != 20:
            raise self._damaged(footer, "its footer is broken")
        at = struct.unpack("<Q", self._bytes(window, footer + 9, 8))[0]
        if at == 0:
            return False
        if not start <= at <= footer or footer - at > _MAX_SUMMARY:
            raise self._damaged(footer, "its footer points to no summary")
        complete = False
        while at < footer:
            kind, size = self._head(window, at)
            at += 9
            if size > footer - at:
                raise self._damaged(at, "its summary is broken")
            if kind == _SCHEMA:
                self._names.add_schema(self._bytes(window, at, size), learn=True)
            elif kind == _CHANNEL:
                self._names.add_channel(self._bytes(window, at, size), learn=True)
            elif kind == _STATISTICS:
                complete = self._names.take_statistics(self._bytes(window, at, size))
            at += size
        # A summary may leave out statistics, channels or schemas; then the chunks have to be read.
        return complete

    def _walk(self, window: _Window, at: int, whole: bool) -> None:
        """Find every chunk and every stretch of records outside of chunks, up to the end of the data."""
        allowed = decompression.largest(self._size)
        loose: list[int] = []  # start and end of the stretch at hand
        while True:
            begin = at
            kind, size = self._head(window, at) if at + 9 <= self._size else (0, 0)
            at += 9
            if kind == 0 or size > self._size - at:
                if whole:
                    raise self._damaged(begin, "a record runs past its end")
                self.cut = f"{self.path} ends early, at byte {self._size}: everything before byte {begin} was read"
                break
            if kind in (_SCHEMA, _CHANNEL, _MESSAGE):
                if loose and at + size - loose[0] > _STRETCH:
                    self._add_stretch(window, loose)
                    loose = []
                loose = [loose[0] if loose else begin, at + size]
            else:
                if loose:
                    self._add_stretch(window, loose)
                    loose = []
                if kind == _CHUNK:
                    piece = self._chunk(window, at, size)
                    allowed -= piece.size
                    if allowed < 0:
                        raise self._damaged(begin, "its chunks would become too large; it looks like a zip bomb")
                    self._add_piece(piece)
                elif kind in (_DATA_END, _FOOTER):
                    if not whole:
                        self.cut = f"{self.path} ends early, within its index: all of its messages were read"
                    break
            at += size
        if loose:
            self._add_stretch(window, loose)

    def _chunk(self, window: _Window, at: int, size: int) -> _Piece:
        head = self._bytes(window, at, min(size, 64))
        try:
            first, last, content, crc = _CHUNK_HEAD.unpack_from(head)
            compression, place = text(self.path, head, _CHUNK_HEAD.size)
            (stored,) = struct.unpack_from("<Q", head, place)
        except struct.error as error:
            raise self._damaged(at, "a chunk is broken") from error
        if stored > size - place - 8:
            raise self._damaged(at, "a chunk is broken")
        if content > MAX_PIECE or stored > MAX_PIECE:
            raise self._damaged(at, f"a chunk is larger than the {MAX_PIECE} bytes that are allowed")
        if first <= last:
            check_time(self.path, first)
            check_time(self.path, last)
        return _Piece(at + place + 8, stored, content, first, last, compression, crc)

    def _add_stretch(self, window: _Window, loose: list[int]) -> None:
        begin, end = loose
        if end - begin > MAX_PIECE:
            raise self._damaged(begin, f"a message is larger than the {MAX_PIECE} bytes that are allowed")
        first, last, at = MAX_TIME_NS, -1, begin
        while at < end:
            kind, size = self._head(window, at, _STRETCH)
            at += 9
            if kind == _MESSAGE:
                time = self._message_head(window.read(at, min(size, _MESSAGE_HEAD.size), _STRETCH), at)[2]
                check_time(self.path, time)
                first, last = min(first, time), max(last, time)
            at += size
        self._add_piece(_Piece(begin, end - begin, end - begin, first, last))

    def _add_piece(self, piece: _Piece) -> None:
        if len(self._pieces) == _MAX_CHUNKS:
            raise BagError(f"{self.path} has more than {_MAX_CHUNKS} chunks; split it to audit it")
        self._pieces.append(piece)

    def _scan(self, descriptor: int, whole: bool) -> None:
        """Read every chunk for what a missing summary would have said: channels and counts."""
        self._names.counts.clear()
        for place, piece in enumerate(self._pieces):
            try:
                content = self._content(descriptor, piece)
                for channel, _, _, _ in self._messages(content, piece, learn=True):
                    self._names.counts[channel] += 1
            except BagError:
                if whole or place + 1 < len(self._pieces):
                    raise
                # The end of a file that lost power may have its size on disk and not its bytes.
                self.cut = f"{self.path} ends early: everything before byte {piece.offset} was read"
                self._pieces.pop()

    # Reading

    def _content(self, descriptor: int, piece: _Piece) -> bytes | memoryview:
        data = os.pread(descriptor, piece.stored, piece.offset)
        if len(data) != piece.stored:
            raise self._damaged(piece.offset, "it became shorter while it was read")
        try:
            content = decompression.chunk(data, piece.compression, piece.size)
        except BagError as error:
            raise self._damaged(piece.offset, f"in a chunk, {error}") from error
        if piece.crc and zlib.crc32(content) != piece.crc:
            raise self._damaged(piece.offset, "a chunk's checksum does not match")
        return content

    def _messages(
        self, content: bytes | memoryview, piece: _Piece, learn: bool = False
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield the messages of a piece: channel, log time in ns, begin and end of the payload in the content.

        Channels and schemas must be those of the summary; with `learn`, there is none, and they are taken over.
        """
        at, end = 0, len(content)
        channels, first, last = self._names.channels, piece.first_ns, piece.last_ns
        head, message_head = _HEAD.unpack_from, _MESSAGE_HEAD.unpack_from
        try:
            while at < end:
                kind, size = head(content, at)
                at += 9
                if size > end - at:
                    raise self._damaged(piece.offset, "a record runs past the end of its chunk")
                if kind == _MESSAGE:
                    if size < 22:
                        raise self._damaged(piece.offset, "a message is shorter than its header")
                    channel, _, time, _ = message_head(content, at)
                    if channel not in channels:
                        raise self._damaged(piece.offset, f"a message is on channel {channel}, which it does not name")
                    if not first <= time <= last:
                        raise self._damaged(piece.offset, f"a message of {time} ns lies outside its chunk's times")
                    yield channel, time, at + 22, at + size
                elif kind == _SCHEMA:
                    self._names.add_schema(bytes(content[at : at + size]), learn)
                elif kind == _CHANNEL:
                    self._names.add_channel(bytes(content[at : at + size]), learn)
                elif kind == _CHUNK:
                    raise self._damaged(piece.offset, "a chunk lies in a chunk")
                at += size
        except struct.error as error:
            raise self._damaged(piece.offset, "a record is broken") from error

    def _head(self, window: _Window, at: int, ahead: int = _WALK) -> tuple[int, int]:
        kind, size = _HEAD.unpack(self._bytes(window, at, 9, ahead))
        return int(kind), int(size)

    def _message_head(self, head: bytes, at: int) -> tuple[int, ...]:
        if len(head) != _MESSAGE_HEAD.size:
            raise self._damaged(at, "a message is shorter than its header")
        return _MESSAGE_HEAD.unpack(head)

    def _bytes(self, window: _Window, at: int, size: int, ahead: int = _WALK) -> bytes:
        data = window.read(at, size, ahead)
        if len(data) != size:
            raise self._damaged(at, "it ends within a record")
        return data

    def _damaged(self, at: int, problem: str) -> BagError:
        return BagError(f"{self.path} is damaged near byte {at}: {problem}")


class _Window:
    """A file read through a small buffer, for the many short reads of a walk."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._start, self._data = 0, b""

    def read(self, at: int, size: int, ahead: int = _WALK) -> bytes:
        """Return up to `size` bytes from `at`; `ahead` bytes are read at once for what comes next."""
        begin = at - self._start
        if not 0 <= begin <= len(self._data) - size:
            self._start, begin = at, 0
            self._data = os.pread(self._descriptor, max(size, ahead), at)
        return self._data[begin : begin + size]
