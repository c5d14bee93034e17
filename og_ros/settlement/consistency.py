"""The extra data of an aggregator's proofs: that its log only grew since the robot's receipt before.

It is text, `og_ros consistency SIZE` and a newline, then the hashes of the consistency proof (RFC 9162) from a tree of
that size to the one of the proof's checkpoint. So an aggregator that rewrites its log cannot make the next receipt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from og_ros.errors import LogError
from og_ros.log.checkpoint import parse_decimal
from og_ros.log.merkle import HASH_SIZE

_PREFIX: Final = b"og_ros consistency "
_MAX_HASHES: Final = 126  # two paths in a tree that is 63 nodes high
_FORM: Final = re.compile(rb"og_ros consistency ([0-9]{1,19})\n", re.ASCII)


def format_extra(size: int, hashes: Sequence[bytes]) -> bytes:
    """Write a consistency proof from a tree of `size` leaves."""
    return _PREFIX + str(size).encode() + b"\n" + b"".join(hashes)


def parse_extra(extra: bytes) -> tuple[int, list[bytes]]:
    """Read the size of the older tree, and the hashes. Raises LogError."""
    found = _FORM.match(extra)
    if found is None:
        raise LogError("the proof's extra data is no consistency proof")
    data = extra[found.end() :]
    if len(data) % HASH_SIZE or len(data) > _MAX_HASHES * HASH_SIZE:
        raise LogError(f"the consistency proof has {len(data)} bytes, which are not hashes, or too many")
    size = parse_decimal(found[1].decode(), "the size in the consistency proof")
    return size, [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]
