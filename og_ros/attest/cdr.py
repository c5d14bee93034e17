"""Plain CDR (XCDR1, OMG DDS-XTypes 1.3, 7.4.1): a strict reader and a writer for hand-picked message types.

ROS 2 messages are plain CDR behind a 4-byte encapsulation header, in either byte order. Reading them here keeps the
bytes that were hashed the bytes that are used, and needs no ROS.
"""

from __future__ import annotations

import struct
from typing import Final

from og_ros.errors import AttestationError

LITTLE_ENDIAN_HEADER: Final = b"\x00\x01\x00\x00"
NS_PER_SECOND: Final = 10**9


class CdrReader:
    """Reads a payload front to back; alignment counts from the end of the encapsulation header.

    Every method raises AttestationError when the payload is truncated or the value is out of bounds.
    """

    def __init__(self, payload: bytes | bytearray | memoryview) -> None:
        data = memoryview(payload)
        if data.nbytes < 4:
            raise AttestationError(f"a CDR payload has at least 4 bytes; this one has {data.nbytes}")
        if data[0] != 0 or data[1] > 1:
            raise AttestationError(f"encapsulation {data[0]:02x} {data[1]:02x} is not plain CDR (00 00 or 00 01)")
        self.order: Final = "<" if data[1] else ">"
        self._data: Final = data[4:]
        self._at = 0

    def number(self, code: str, size: int) -> int:
        """Read an integer by its struct code (B b H h I i Q q) and its size in bytes."""
        start = self._at + (-self._at % size)
        self._at = start + size
        try:
            value: int = struct.unpack_from(self.order + code, self._data, start)[0]
        except struct.error as error:
            raise AttestationError("the message is truncated") from error
        return value

    def span(self, size: int, alignment: int = 1) -> memoryview:
        """Return the next `size` bytes without a copy, after alignment to 1, 2, 4 or 8."""
        start = self._at + (-self._at % alignment)
        data = self._data[start : start + size]
        if data.nbytes != size:
            raise AttestationError("the message is truncated")
        self._at = start + size
        return data

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        return bytes(self.span(size))

    def octets(self, bound: int) -> bytes:
        """Read a byte sequence of at most `bound` bytes."""
        size = self.number("I", 4)
        if size > bound:
            raise AttestationError(f"the message has a field of {size} bytes; {bound} are allowed")
        return self.take(size)

    def text(self, bound: int) -> str:
        """Read a string of at most `bound` bytes of UTF-8."""
        data = self.octets(bound + 1)
        if not data or data.find(0) != len(data) - 1:
            raise AttestationError("the message has a string that does not end in its only NUL")
        try:
            return data[:-1].decode()
        except UnicodeDecodeError as error:
            raise AttestationError("the message has a string that is not UTF-8") from error

    def time(self) -> int:
        """Read a builtin_interfaces/Time, in nanoseconds."""
        seconds, nanoseconds = self.number("i", 4), self.number("I", 4)
        if seconds < 0 or nanoseconds >= NS_PER_SECOND:
            raise AttestationError(f"the message has the time {seconds} s {nanoseconds} ns")
        return seconds * NS_PER_SECOND + nanoseconds

    def end(self) -> None:
        """Check that nothing but the padding to 4 bytes is left."""
        rest = self._data[self._at :]
        if rest.nbytes > 3 or any(rest):
            raise AttestationError("the message has bytes after its end")


class CdrWriter:
    """Writes a little-endian payload; gaps from alignment are zero."""

    def __init__(self) -> None:
        self._data = bytearray()

    def number(self, code: str, size: int, value: float) -> None:
        """Write a number by its struct code and its size in bytes."""
        self._data += bytes(-len(self._data) % size)
        self._data += struct.pack("<" + code, value)

    def raw(self, data: bytes | bytearray | memoryview, alignment: int = 1) -> None:
        """Write bytes as they are, after alignment to 1, 2, 4 or 8."""
        self._data += bytes(-len(self._data) % alignment)
        self._data += data

    def text(self, text: str) -> None:
        """Write a string."""
        data = text.encode()
        self.number("I", 4, len(data) + 1)
        self._data += data + b"\0"

    def time(self, nanoseconds: int) -> None:
        """Write a builtin_interfaces/Time from nanoseconds."""
        self.number("i", 4, nanoseconds // NS_PER_SECOND)
        self.number("I", 4, nanoseconds % NS_PER_SECOND)

    def payload(self) -> bytes:
        """Return the payload: encapsulation header, body, zero padding to 4 bytes."""
        return LITTLE_ENDIAN_HEADER + bytes(self._data) + bytes(-len(self._data) % 4)
