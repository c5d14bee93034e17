"""The tree digest of a large message: hashed by all cores, and one region of it can be proven without the rest.

`sha256-tree` covers the same bytes as the digest rule (og_ros.attest.digest): the encapsulation header with its options
taken as zero, the body, zero padding to a multiple of 4. They are cut into chunks of 64 KiB, the last one shorter.

    leaf   SHA-256(00 || chunk)
    node   SHA-256(01 || left || right), a tree of RFC 6962's shape (section 2.1)
    digest SHA-256(02 || number of covered bytes, 8 bytes big-endian || the tree's root)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from og_ros.errors import AttestationError

ALGORITHM: Final = "sha256-tree"
CHUNK_SIZE: Final = 65_536
# From here on several threads are faster than one; each then takes a run of chunks.
_PARALLEL_BYTES: Final = 1 << 20
_MAX_THREADS: Final = 8
_MAX_HASHES: Final = 256
_HASH_SIZE: Final = 32
_LEAF, _NODE, _ROOT = b"\0", b"\1", b"\2"
_pool: ThreadPoolExecutor | None = None


@dataclass(frozen=True, slots=True)
class RegionProof:
    """That covered bytes `start` to `stop` belong to a message of `size` covered bytes.

    `start` and `stop` are ends of chunks (or of the message). `hashes` are those of the rest of the tree, left to
    right. Offsets are those in the serialised message, its 4-byte header included.
    """

    size: int
    start: int
    stop: int
    hashes: tuple[bytes, ...]


def tree_digest(payload: memoryview) -> bytes:
    """Return the digest of a CDR payload: a contiguous view of single bytes, at least 4; see og_ros.attest.digest."""
    return _seal(_covered(payload), _fold(_leaves(payload)))


def region_proof(payload: bytes | memoryview, start: int, stop: int) -> tuple[RegionProof, bytes]:
    """Prove bytes [start, stop) of a serialised message; returns the proof and the bytes of the chunks they lie in.

    Raises AttestationError for a region that is empty or outside the message.
    """
    view = memoryview(payload)
    size = _covered(view)
    if view.nbytes < 4 or not 0 <= start < stop <= size:
        raise AttestationError(f"the region {start} to {stop} is empty, or outside the message of {size} bytes")
    first, last = start // CHUNK_SIZE, -(-stop // CHUNK_SIZE)
    begin, end = first * CHUNK_SIZE, min(last * CHUNK_SIZE, size)
    whole = bytearray(view)
    whole[2:4] = b"\0\0"
    whole += bytes(size - len(whole))
    hashes: list[bytes] = []
    _collect(_leaves(view), 0, first, last, hashes)
    return RegionProof(size, begin, end, tuple(hashes)), bytes(whole[begin:end])


def verify_region(digest: bytes, proof: RegionProof, data: bytes | memoryview) -> None:
    """Check that `data` are bytes [proof.start, proof.stop) of the message with this tree digest.

    Raises AttestationError, saying what does not hold.
    """
    size, start, stop = proof.size, proof.start, proof.stop
    view = memoryview(data)
    if not 4 <= size < 2**64 or size % 4 or not 0 <= start < stop <= size or len(proof.hashes) > _MAX_HASHES:
        raise AttestationError("the region's proof has sizes that no message has")
    if start % CHUNK_SIZE or (stop % CHUNK_SIZE and stop != size) or view.nbytes != stop - start:
        raise AttestationError("the region is not one of whole chunks, or its bytes are not as many as it says")
    if any(len(found) != _HASH_SIZE for found in proof.hashes):
        raise AttestationError("the region's proof has a hash that is not 32 bytes long")
    first, count = start // CHUNK_SIZE, -(-size // CHUNK_SIZE)
    leaves = [hashlib.sha256(_LEAF + view[at : at + CHUNK_SIZE]).digest() for at in range(0, view.nbytes, CHUNK_SIZE)]
    rest = list(reversed(proof.hashes))
    root = _rebuild(leaves, 0, count, first, first + len(leaves), rest)
    if rest or _seal(size, root) != digest:
        raise AttestationError("the region does not belong to the message with this digest")


def _covered(view: memoryview) -> int:
    return (view.nbytes + 3) & ~3


def _seal(size: int, root: bytes) -> bytes:
    return hashlib.sha256(_ROOT + size.to_bytes(8, "big") + root).digest()


def _leaves(payload: memoryview) -> list[bytes]:
    """Return the hash of every chunk, in order; hashlib releases the GIL, so threads share the work."""
    count = -(-_covered(payload) // CHUNK_SIZE)
    threads = min(_MAX_THREADS, os.cpu_count() or 1, count)
    if payload.nbytes < _PARALLEL_BYTES or threads < 2:
        return _run_of_leaves(payload, 0, count)
    step = -(-count // threads)
    pool = _threads()
    rest = [pool.submit(_run_of_leaves, payload, at, min(at + step, count)) for at in range(step, count, step)]
    leaves = _run_of_leaves(payload, 0, step)
    for found in rest:
        leaves += found.result()
    return leaves


def _run_of_leaves(payload: memoryview, first: int, stop: int) -> list[bytes]:
    found = []
    for chunk in range(first, stop):
        at = chunk * CHUNK_SIZE
        state = hashlib.sha256(_LEAF)
        if chunk == 0:
            state.update(bytes(payload[:2]) + b"\0\0")
            state.update(payload[4:CHUNK_SIZE])
        else:
            state.update(payload[at : at + CHUNK_SIZE])
        if at + CHUNK_SIZE > payload.nbytes and payload.nbytes % 4:
            state.update(bytes(-payload.nbytes % 4))
        found.append(state.digest())
    return found


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962 section 2.1)."""
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _fold(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _node(_fold(leaves[:middle]), _fold(leaves[middle:]))


def _collect(leaves: Sequence[bytes], at: int, first: int, stop: int, hashes: list[bytes]) -> None:
    """Append the hashes of the largest subtrees outside leaves [first, stop); `leaves` begin at leaf `at`."""
    end = at + len(leaves)
    if end <= first or at >= stop:
        hashes.append(_fold(leaves))
    elif not (first <= at and end <= stop):
        middle = _split(len(leaves))
        _collect(leaves[:middle], at, first, stop, hashes)
        _collect(leaves[middle:], at + middle, first, stop, hashes)


def _rebuild(leaves: Sequence[bytes], at: int, count: int, first: int, stop: int, rest: list[bytes]) -> bytes:
    """Return the hash of the subtree of `count` leaves from `at`; `rest` holds what is outside, last first."""
    if at + count <= first or at >= stop:
        if not rest:
            raise AttestationError("the region's proof has too few hashes")
        return rest.pop()
    if first <= at and at + count <= stop:
        return _fold(leaves[at - first : at - first + count])
    middle = _split(count)
    left = _rebuild(leaves, at, middle, first, stop, rest)
    return _node(left, _rebuild(leaves, at + middle, count - middle, first, stop, rest))


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_MAX_THREADS, thread_name_prefix="tree-hash")
    return _pool


def _forget_threads() -> None:
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget_threads)  # a forked process has the pool's object, and none of its threads
