"""Decompresses zstd and LZ4 with a bound on what comes out, so that a few hostile bytes cannot fill memory or disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, Final

from lz4.frame import LZ4FrameDecompressor

from og_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_PIECE: Final = 256 * 2**20
"""Bytes that one chunk or one message may have, compressed or not."""

MAX_EXPANSION: Final = 200
"""How many times larger than its files a recording may become; a small one may always reach `FREE_EXPANSION`."""

FREE_EXPANSION: Final = 2**30
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_STEP: Final = 2**20
_FAILURES: Final = (zstd.ZstdError, RuntimeError, ValueError, EOFError, MemoryError)


def largest(compressed: int) -> int:
    """Return the number of bytes that `compressed` bytes on disk may become."""
    return max(FREE_EXPANSION, MAX_EXPANSION * compressed)


def chunk(data: bytes | memoryview, compression: str, size: int) -> bytes | memoryview:
    """Return the content of an MCAP chunk, of exactly the `size` bytes that it states.

    Raises BagError for an unknown compression, for damaged data, and as soon as more than `size` bytes come out.
    """
    if compression == "":
        content: bytes | memoryview = data
    elif compression == "zstd":
        content = _bounded(zstd.ZstdDecompressor(), data, size)
    elif compression == "lz4":
        content = _bounded(LZ4FrameDecompressor(), data, size)
    else:
        raise BagError(f"compression {compression[:20]!r} is unknown; zstd and lz4 can be read")
    if len(content) != size:
        raise BagError(f"it holds other than the {size} bytes that it states")
    return content


def message(data: bytes | memoryview) -> bytes:
    """Return a message of a recording whose messages are compressed one by one; raises BagError."""
    return _bounded(zstd.ZstdDecompressor(), data, MAX_PIECE)


def _bounded(decompressor: Any, data: bytes | memoryview, size: int) -> bytes:
    try:
        # One byte of room more than allowed tells what is too long; an LZ4 decompressor takes 0 for "no output".
        content: bytes = decompressor.decompress(data, max_length=size + 1)
    except _FAILURES as error:
        raise BagError(f"its compressed data is damaged: {error}") from error
    if len(content) > size:
        raise BagError(f"it becomes larger than the {size} bytes that are allowed")
    if not decompressor.eof:
        raise BagError("its compressed data is cut off")
    if decompressor.unused_data:
        raise BagError("bytes follow its compressed data")
    return content


def file(source: Path, target: Path) -> None:
    """Decompress a zstd file to `target`, a piece at a time.

    Raises BagError when the data is damaged, grows beyond `largest`, or finds no room on disk.
    """
    limit = largest(source.stat().st_size)
    written = 0
    advice = "decompress it with zstd -d and audit the result"
    try:
        with zstd.open(source, "rb") as packed, open(target, "wb") as unpacked:
            while piece := packed.read(_STEP):
                written += len(piece)
                if written > limit:
                    raise BagError(
                        f"{source} becomes more than {MAX_EXPANSION} times as large as it is; if it is what it should "
                        f"be, {advice}"
                    )
                unpacked.write(piece)
    except OSError as error:
        raise BagError(f"cannot decompress {source} to {target.parent}: {error.strerror or error}; {advice}") from error
    except _FAILURES as error:
        raise BagError(f"{source} is damaged: {error}; if it was cut off, zstd -dc saves what is left") from error


def copy(source: Path, target: Path) -> None:
    """Copy a file to `target`, refusing beforehand when the disk has no room for it; raises BagError."""
    try:
        room = shutil.disk_usage(target.parent).free
        if source.stat().st_size > room:
            raise BagError(f"{source} must be copied to be read, and {target.parent} has no room; set TMPDIR")
        shutil.copyfile(source, target)
    except OSError as error:
        raise BagError(f"cannot copy {source} to {target.parent}: {error.strerror or error}") from error
