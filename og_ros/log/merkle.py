"""RFC 6962 / RFC 9162 SHA-256 Merkle trees: hashes, an in-memory tree, proofs, and their pure verification.

Sizes and indexes count leaves; every hash is 32 bytes. Proof generation is written once, over a *node reader*: a
function that returns the root of the complete subtree ``(height, index)``, which covers the leaves
``[index << height, (index + 1) << height)``. The in-memory tree, the embedded ledger and a tile directory are such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from og_ros.errors import LogError

HASH_SIZE = 32
MAX_SIZE = (1 << 63) - 1
"""Largest tree size that is accepted; the tools of the field keep sizes in an int64."""

EMPTY_ROOT = sha256(b"").digest()
"""Root of the tree without leaves (RFC 9162 section 2.1.1)."""

NodeReader = Callable[[int, int], bytes]
"""``read(height, index)`` gives the root of that complete subtree; height 0 is a leaf hash."""


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 || data): the hash of a leaf (RFC 9162 section 2.1.1)."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right): the hash of an inner node (RFC 9162 section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


def parents(level: Sequence[bytes]) -> list[bytes]:
    """Hash neighbours in pairs; an odd last hash has no pair yet and is left out."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Root over a row of leaf hashes, or of the roots of equally high subtrees of which the last may be incomplete.

    Level by level with the odd last node promoted gives the same root as the recursive definition of RFC 9162 2.1.1.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        above = parents(level)
        if len(level) & 1:
            above.append(level[-1])
        level = above
    return level[0]


def _split(width: int) -> int:
    """The largest power of two smaller than ``width`` (``width`` >= 2): leaves in the left subtree."""
    return 1 << ((width - 1).bit_length() - 1)


def range_root(start: int, stop: int, read: NodeReader) -> bytes:
    """Root of the subtree over the leaves ``[start, stop)``, for a range that is a subtree of some RFC 9162 tree.

    Such a range starts at a multiple of the power of two that holds it; it is cut into complete subtrees.
    """
    if start == stop:
        return EMPTY_ROOT
    roots: list[bytes] = []
    while start < stop:
        height = (stop - start).bit_length() - 1
        roots.append(read(height, start >> height))
        start += 1 << height
    root = roots.pop()
    while roots:
        root = node_hash(roots.pop(), root)
    return root


def inclusion_path(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Inclusion proof of leaf ``index`` in the tree of ``size`` leaves, leaf's sibling first (RFC 9162 2.1.3.1).

    Raises LogError when the index is not below the size.
    """
    if not 0 <= index < size:
        raise LogError(f"no inclusion proof: leaf {index} is not in a tree of {size} leaves")
    siblings: list[tuple[int, int]] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            siblings.append((middle, stop))
            stop = middle
        else:
            siblings.append((start, middle))
            start = middle
    return [range_root(low, high, read) for low, high in reversed(siblings)]


def consistency_path(first: int, second: int, read: NodeReader) -> list[bytes]:
    """Proof that the tree of ``second`` leaves extends the tree of its first ``first`` leaves (RFC 9162 2.1.4.1).

    Empty when the sizes are equal or ``first`` is 0 (every tree extends the empty one, as C2SP tlog-witness has it).
    Raises LogError when ``first`` is greater than ``second`` or negative.
    """
    if not 0 <= first <= second:
        raise LogError(f"no consistency proof: {first} to {second} leaves is not a growing tree")
    if first in (0, second):
        return []
    siblings: list[tuple[int, int]] = []
    start, stop = 0, second
    while first != stop:
        middle = start + _split(stop - start)
        if first <= middle:
            siblings.append((middle, stop))
            stop = middle
        else:
            siblings.append((start, middle))
            start = middle
    if start:  # otherwise the old tree is a subtree of the new one, and the verifier knows its root
        siblings.append((start, stop))
    return [range_root(low, high, read) for low, high in reversed(siblings)]


def _check_hashes(what: str, hashes: Iterable[bytes]) -> None:
    for position, value in enumerate(hashes):
        if len(value) != HASH_SIZE:
            raise LogError(f"{what}: hash {position} has {len(value)} bytes, not {HASH_SIZE}")


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check an inclusion proof by RFC 9162 section 2.1.3.2; ``leaf`` is the leaf *hash*. Raises LogError."""
    what = f"inclusion proof of leaf {index} in {size}"
    _check_hashes(what, (root,))
    computed = root_from_inclusion(leaf, index, size, path)
    if computed != root:
        raise LogError(f"{what}: gives the root {computed.hex()}, not {root.hex()}")


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf *hash* and its inclusion proof give, by RFC 9162 section 2.1.3.2.

    Raises LogError where the proof's shape does not fit; whether the root is the log's is still to be checked.
    """
    what = f"inclusion proof of leaf {index} in {size}"
    _check_hashes(what, (leaf, *path))
    if not 0 <= index < size <= MAX_SIZE:
        raise LogError(f"{what}: the index is not in the tree")
    position, last = index, size - 1
    computed = leaf
    for sibling in path:
        if last == 0:
            raise LogError(f"{what}: {len(path)} hashes are too many")
        if position & 1 or position == last:
            computed = node_hash(sibling, computed)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise LogError(f"{what}: {len(path)} hashes are too few")
    return computed


def verify_consistency(first: int, second: int, path: Sequence[bytes], first_root: bytes, second_root: bytes) -> None:
    """Check a consistency proof by RFC 9162 section 2.1.4.2. Raises LogError with the reason if it fails.

    For ``first`` of 0 or equal to ``second`` the proof must be empty, and the roots be the empty root or equal.
    """
    what = f"consistency proof from {first} to {second}"
    _check_hashes(what, (first_root, second_root, *path))
    if not 0 <= first <= second <= MAX_SIZE:
        raise LogError(f"{what}: the sizes do not grow")
    if first in (0, second):
        if path:
            raise LogError(f"{what}: must be empty, has {len(path)} hashes")
        if first == second and first_root != second_root:
            raise LogError(f"{what}: two roots for one size, the log was forked")
        if 0 in (first, second) and first_root != EMPTY_ROOT:
            raise LogError(f"{what}: the root of the empty tree is wrong")
        return
    if not path:
        raise LogError(f"{what}: is empty")
    hashes = list(path)
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    position, last = first - 1, second - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise LogError(f"{what}: {len(path)} hashes are too many")
        if position & 1 or position == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise LogError(f"{what}: {len(path)} hashes are too few")
    if old != first_root:
        raise LogError(f"{what}: does not give the root at {first}; history was rewritten")
    if new != second_root:
        raise LogError(f"{what}: does not give the root at {second}")


class MerkleTree:
    """An append-only tree in memory that keeps every complete subtree: 64 bytes of hashes a leaf, proofs at any size.

    For a bag or a test; the ledger keeps the same nodes on disk.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        self.extend_hashes(leaf_hash(leaf) for leaf in leaves)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Append one leaf; its index."""
        index = len(self._levels[0])
        node = sha256(b"\x00" + leaf).digest()
        self._levels[0].append(node)
        position, height = index, 0
        while position & 1:
            node = sha256(b"\x01" + self._levels[height][-2] + node).digest()
            position >>= 1
            height += 1
            if height == len(self._levels):
                self._levels.append([])
            self._levels[height].append(node)
        return index

    def extend_hashes(self, hashes: Iterable[bytes]) -> None:
        """Append many leaf *hashes* at once."""
        self._levels[0].extend(hashes)
        height = 0
        while len(self._levels[height]) > 1:
            if height + 1 == len(self._levels):
                self._levels.append([])
            above = self._levels[height + 1]
            above.extend(parents(self._levels[height][2 * len(above) :]))
            height += 1

    def node(self, height: int, index: int) -> bytes:
        """Root of a complete subtree: a `NodeReader`. Raises LogError when it is not complete yet."""
        if not 0 <= height < len(self._levels) or not 0 <= index < len(self._levels[height]):
            raise LogError(f"tree of {self.size} leaves has no complete subtree {index} of height {height}")
        return self._levels[height][index]

    def _at(self, size: int | None) -> int:
        chosen = self.size if size is None else size
        if not 0 <= chosen <= self.size:
            raise LogError(f"tree has {self.size} leaves, not {chosen}")
        return chosen

    def root(self, size: int | None = None) -> bytes:
        """Root now, or when the tree had ``size`` leaves."""
        return range_root(0, self._at(size), self.node)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """See `inclusion_path`."""
        return inclusion_path(index, self._at(size), self.node)

    def consistency_proof(self, first: int, second: int | None = None) -> list[bytes]:
        """See `consistency_path`."""
        return consistency_path(first, self._at(second), self.node)

    def leaf_hashes(self) -> Iterator[bytes]:
        """The leaf hashes in order."""
        return iter(self._levels[0])
