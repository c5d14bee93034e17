"""Reads and writes the bytes of TPM structures: big-endian numbers and sized buffers (TPM 2.0 Part 2)."""

from __future__ import annotations

from og_ros.errors import EvidenceError


class Reader:
    """Reads one structure front to back; raises EvidenceError, naming it, when bytes are missing or left over."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def number(self, size: int) -> int:
        """Read an unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self, limit: int) -> bytes:
        """Read a TPM2B: a 16-bit length of at most `limit`, and as many bytes."""
        size = self.number(2)
        if size > limit:
            raise EvidenceError(f"{self._what} is malformed: a field of {size} bytes, where {limit} are allowed")
        return self.take(size)

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise EvidenceError(f"{self._what} is malformed: it ends too early")
        self._at += size
        return found

    def end(self) -> None:
        """Refuse bytes that are left over."""
        if self._at != len(self._data):
            raise EvidenceError(f"{self._what} is malformed: {len(self._data) - self._at} bytes after its end")


def number(value: int, size: int) -> bytes:
    """Return an unsigned number as `size` bytes."""
    return value.to_bytes(size, "big")


def sized(data: bytes) -> bytes:
    """Return a TPM2B."""
    return number(len(data), 2) + data
