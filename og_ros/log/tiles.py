"""The C2SP tlog-tiles layout (c2sp.org/tlog-tiles): paths, entry bundles, and a reader that verifies a directory.

A tile holds up to 256 hashes of one level, level ``L`` being the roots of complete subtrees of height ``8 * L``; a
bundle holds the entries of one level 0 tile. The directory and the log's verifier key suffice to check a log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from og_ros.errors import LogError
from og_ros.log.checkpoint import Checkpoint, open_checkpoint
from og_ros.log.merkle import HASH_SIZE, consistency_path, inclusion_path, root_of
from og_ros.log.note import MAX_NOTE_BYTES, VerifierKey

HEIGHT = 8
WIDTH = 1 << HEIGHT
MAX_ENTRY = 0xFFFF
"""Longest entry, in bytes: its length is a uint16."""
CHECKPOINT_FILE = "checkpoint"


@dataclass(frozen=True, slots=True)
class Tile:
    """The address of a tile, or of an entry bundle when ``level`` is None; ``width`` below 256 makes it partial."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Path below the log's directory, such as ``tile/0/x001/234.p/17``."""
        elements = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            elements.insert(0, f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(elements)}{suffix}"


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles and bundles of a tree of ``size`` leaves that a tree of its first ``since`` leaves has not.

    Level by level, each level left to right, the bundle of a range before its level 0 tile.
    """
    level = 0
    while True:
        count, old = size >> (HEIGHT * level), since >> (HEIGHT * level)
        if count == 0:
            return
        if count > old:
            for index in range(old // WIDTH, (count + WIDTH - 1) // WIDTH):
                width = min(WIDTH, count - index * WIDTH)
                if level == 0:
                    yield Tile(None, index, width)
                yield Tile(level, index, width)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each after its length as a big-endian uint16. Raises LogError for an entry above 65535 bytes."""
    parts: list[bytes] = []
    for position, entry in enumerate(entries):
        if len(entry) > MAX_ENTRY:
            raise LogError(f"entry {position} has {len(entry)} bytes, more than {MAX_ENTRY}")
        parts.append(len(entry).to_bytes(2, "big"))
        parts.append(entry)
    return b"".join(parts)


def decode_bundle(data: bytes, what: str = "entry bundle") -> list[bytes]:
    """Read a bundle. Raises LogError when it is cut short or has more than 256 entries."""
    entries: list[bytes] = []
    position = 0
    while position < len(data):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            raise LogError(f"{what}: entry {len(entries)} is cut short")
        entries.append(data[start:position])
        if len(entries) > WIDTH:
            raise LogError(f"{what}: has more than {WIDTH} entries")
    return entries


def split_hashes(data: bytes, what: str = "tile") -> list[bytes]:
    """Cut a tile into hashes. Raises LogError when its length is not a multiple of 32 bytes."""
    if len(data) % HASH_SIZE:
        raise LogError(f"{what}: {len(data)} bytes are not whole hashes of {HASH_SIZE}")
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


class Frontier:
    """The right edge of a tree: at each level the hashes of the one tile that is not full. Constant memory."""

    def __init__(self, levels: Sequence[Sequence[bytes]] = (), size: int = 0) -> None:
        self._levels = [list(level) for level in levels]
        self._size = size

    @classmethod
    def load(cls, size: int, hashes: Callable[[int, int, int], list[bytes]]) -> Frontier:
        """The frontier of a stored tree; ``hashes(level, start, stop)`` reads the hashes of a level."""
        levels: list[list[bytes]] = []
        while count := size >> (HEIGHT * len(levels)):
            levels.append(hashes(len(levels), count // WIDTH * WIDTH, count))
        return cls(levels, size)

    def copy(self) -> Frontier:
        """An independent copy, to try an append on."""
        return Frontier(self._levels, self._size)

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def extend(self, hashes: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
        """Append leaf hashes; the node ``(level, index, hash)`` above each tile that became full."""
        full: list[tuple[int, int, bytes]] = []
        start = 0
        while start < len(hashes):
            tail = self._tail(0)
            taken = hashes[start : start + WIDTH - len(tail)]
            tail.extend(taken)
            start += len(taken)
            self._size += len(taken)
            level = 0
            while len(tail) == WIDTH:
                root = root_of(tail)
                tail.clear()
                level += 1
                full.append((level, (self._size >> (HEIGHT * level)) - 1, root))
                tail = self._tail(level)
                tail.append(root)
        return full

    def _tail(self, level: int) -> list[bytes]:
        if level == len(self._levels):
            self._levels.append([])
        return self._levels[level]

    def root(self) -> bytes:
        """The root of the tree, in at most 256 hashes a level."""
        incomplete: list[bytes] = []  # the root of what is right of the complete subtrees of a level, if anything
        for tail in self._levels:
            row = tail + incomplete
            if row:
                incomplete = [root_of(row)]
        return root_of(incomplete)


def read_file(directory: Path, path: str, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes below a log's directory. Raises LogError."""
    file = directory / path
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise LogError(f"{file}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise LogError(f"{file}: is longer than {limit} bytes")
    return data


def published(directory: Path) -> bytes | None:
    """The checkpoint file as it is, not verified; None when there is none. Raises LogError."""
    if not os.path.lexists(directory / CHECKPOINT_FILE):
        return None
    return read_file(directory, CHECKPOINT_FILE, MAX_NOTE_BYTES)


def read_tile(directory: Path, tile: Tile) -> bytes:
    """The bytes of a tile or bundle, not verified.

    A partial one may also be the start of the full one: the specification lets a log delete it once that is there.
    Raises LogError when neither can be read.
    """
    limit = WIDTH * (HASH_SIZE if tile.level is not None else MAX_ENTRY + 2)
    try:
        return read_file(directory, tile.path, limit)
    except LogError:
        full = Tile(tile.level, tile.index, WIDTH)
        if tile.width == WIDTH or not (directory / full.path).exists():
            raise
    data = read_file(directory, full.path, limit)
    if tile.level is not None:
        return data[: tile.width * HASH_SIZE]
    return encode_bundle(decode_bundle(data, full.path)[: tile.width])


class TileReader:
    """Reads a log from its tlog-tiles directory alone, checking each tile against the checkpoint before using it.

    The constructor verifies the checkpoint with the log's key; `verify` checks every tile and entry.
    """

    def __init__(self, directory: Path | str, key: VerifierKey | str, origin: str | None = None) -> None:
        self.directory = Path(directory)
        raw = read_file(self.directory, CHECKPOINT_FILE, MAX_NOTE_BYTES)
        self.checkpoint = open_checkpoint(raw, key, origin)
        self.note = raw.decode()
        self._verified: dict[tuple[int, int], tuple[bytes, ...]] = {}  # partial tiles, and all above level 0
        self._leaf_tile: tuple[int, tuple[bytes, ...]] | None = None  # the last full tile of level 0

    def hashes(self, level: int, index: int) -> tuple[bytes, ...]:
        """The hashes of a tile, verified through the tiles above it up to the checkpoint's root. Raises LogError."""
        if (level, index) in self._verified:
            return self._verified[(level, index)]
        if level == 0 and self._leaf_tile is not None and self._leaf_tile[0] == index:
            return self._leaf_tile[1]
        count = self.checkpoint.size >> (HEIGHT * level)
        width = min(WIDTH, count - index * WIDTH)
        if width <= 0:
            raise LogError(f"log of {self.checkpoint.size} leaves has no tile {index} at level {level}")
        tile = Tile(level, index, width)
        values = tuple(split_hashes(read_tile(self.directory, tile), tile.path))
        if len(values) != width:
            raise LogError(f"{tile.path}: has {len(values)} hashes, not {width}")
        if width == WIDTH:
            if root_of(values) != self.hashes(level + 1, index // WIDTH)[index % WIDTH]:
                raise LogError(
                    f"{tile.path}: does not hash to its parent in {Tile(level + 1, index // WIDTH, WIDTH).path}"
                )
        else:
            self._check_edge()
            return self._verified[(level, index)]
        if level == 0:
            self._leaf_tile = (index, values)
        else:
            self._verified[(level, index)] = values
        return values

    def _check_edge(self) -> None:
        """Check that the partial tiles of all levels together give the root of the checkpoint, and keep them."""
        size = self.checkpoint.size

        def read(level: int, start: int, stop: int) -> list[bytes]:
            if start == stop:
                return []
            tile = Tile(level, start // WIDTH, stop - start)
            values = split_hashes(read_tile(self.directory, tile), tile.path)
            if len(values) != stop - start:
                raise LogError(f"{tile.path}: has {len(values)} hashes, not {stop - start}")
            edge[(level, start // WIDTH)] = tuple(values)
            return values

        edge: dict[tuple[int, int], tuple[bytes, ...]] = {}
        root = Frontier.load(size, read).root()
        if root != self.checkpoint.root:
            raise LogError(
                f"partial tiles give the root {root.hex()}, the checkpoint states {self.checkpoint.root.hex()}"
            )
        self._verified.update(edge)

    def node(self, height: int, index: int) -> bytes:
        """Root of a complete subtree, verified: a node reader for proofs."""
        level, rest = divmod(height, HEIGHT)
        tile, offset = divmod(index << rest, WIDTH)
        return root_of(self.hashes(level, tile)[offset : offset + (1 << rest)])

    def inclusion_proof(self, index: int) -> list[bytes]:
        """Inclusion proof of a leaf under the checkpoint. Raises LogError."""
        return inclusion_path(index, self.checkpoint.size, self.node)

    def consistency_proof(self, first: int) -> list[bytes]:
        """Consistency proof from ``first`` leaves to the checkpoint. Raises LogError."""
        return consistency_path(first, self.checkpoint.size, self.node)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The entries ``[start, stop)`` in order, each verified against its leaf hash. Raises LogError."""
        size = self.checkpoint.size
        end = size if stop is None else stop
        if not 0 <= start <= end <= size:
            raise LogError(f"log has {size} entries, not {start} to {end}")
        while start < end:
            index, offset = divmod(start, WIDTH)
            tile = Tile(None, index, min(WIDTH, size - index * WIDTH))
            bundle = decode_bundle(read_tile(self.directory, tile), tile.path)
            hashes = self.hashes(0, index)
            if len(bundle) != len(hashes):
                raise LogError(f"{tile.path}: has {len(bundle)} entries, not {len(hashes)}")
            for entry, expected in zip(bundle[offset : offset + end - start], hashes[offset:], strict=False):
                if sha256(b"\x00" + entry).digest() != expected:
                    raise LogError(f"{tile.path}: entry {start} does not match its leaf hash")
                yield entry
                start += 1

    def verify(self) -> Checkpoint:
        """Check every tile, every entry, and that together they give the root of the checkpoint.

        Raises LogError naming the first file that is wrong. Returns the verified checkpoint.
        """
        frontier = Frontier()
        for tile in tiles_of(self.checkpoint.size):
            if tile.level is not None:
                hashes = self.hashes(tile.level, tile.index)
                if tile.level == 0:
                    frontier.extend(hashes)
        for _ in self.entries():
            pass
        if frontier.root() != self.checkpoint.root:  # implied by the above; stated from the leaves, for its own sake
            raise LogError(f"{self.directory}: the leaves do not give the root of the checkpoint")
        return self.checkpoint


def verify_tiles(directory: Path | str, key: VerifierKey | str, origin: str | None = None) -> Checkpoint:
    """Verify a whole tlog-tiles directory from nothing but the log's key (or vkey string). Raises LogError."""
    return TileReader(directory, key, origin).verify()
