"""The digest rule: one digest for a message, whichever middleware carried it and whichever recorder stored it."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final, Protocol

from og_ros.attest import tree_digest
from og_ros.errors import AttestationError

ENCAPSULATION_SIZE: Final = 4
# By the names that attestations give them.
ALGORITHMS: Final = ("sha256", "blake3", tree_digest.ALGORITHM)
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")


class _Hash(Protocol):
    def update(self, data: memoryview | bytes, /) -> None: ...
    def digest(self) -> bytes: ...


def _new(algorithm: str) -> _Hash:
    if algorithm == "sha256":
        return hashlib.sha256()
    if algorithm == "blake3":
        try:
            from blake3 import blake3  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise AttestationError("digest algorithm 'blake3' needs the PyPI package blake3") from error
        return blake3()  # type: ignore[no-any-return,unused-ignore]
    raise AttestationError(f"digest algorithm {algorithm!r} is not known; use one of {', '.join(ALGORITHMS)}")


def digest(message: bytes | bytearray | memoryview, algorithm: str = "sha256") -> bytes:
    """Return the 32-byte digest of a message's CDR payload.

    The hash covers the 4-byte encapsulation header with its two options bytes taken as zero, then the body,
    zero-padded at its end to a multiple of 4 bytes. The options bytes carry the padding's length in XCDR2 and
    middlewares pad a payload to 4 bytes on the wire (75 bytes sent arrive as 76), so neither may count
    (OMG DDS-XTypes 1.3, 7.6.3.1.2). The GIL is released while a large message is hashed.
    `sha256-tree` hashes the same bytes as a tree of chunks: see og_ros.attest.tree_digest.

    Raises AttestationError for a payload shorter than its encapsulation header, a view that is not contiguous, or an
    unknown algorithm.
    """
    view = memoryview(message)
    if not view.c_contiguous:
        raise AttestationError("the payload's view is not contiguous; hash the bytes as they travelled")
    if view.itemsize != 1 or view.ndim != 1:  # such as a numpy array's: slices below count bytes
        view = memoryview(view.tobytes())
    if view.nbytes < ENCAPSULATION_SIZE:
        raise AttestationError(f"a CDR payload has at least 4 bytes; this one has {view.nbytes}")
    if algorithm == tree_digest.ALGORITHM:
        return tree_digest.tree_digest(view)
    state = _new(algorithm)
    state.update(bytes(view[:2]) + b"\0\0")
    state.update(view[4:])
    padding = _PADDING[view.nbytes % 4]
    if padding:
        state.update(padding)
    return state.digest()


@lru_cache(maxsize=64)
def is_computable(algorithm: str) -> bool:
    """Return whether `digest` can compute an algorithm here: it is known, and what it needs is installed."""
    if algorithm == tree_digest.ALGORITHM:
        return True
    try:
        _new(algorithm)
    except AttestationError:
        return False
    return True


def covered_size(message: bytes | bytearray | memoryview) -> int:
    """Return how many bytes the digest of a CDR payload covers: its length, rounded up to a multiple of 4."""
    return (memoryview(message).nbytes + 3) & ~3
