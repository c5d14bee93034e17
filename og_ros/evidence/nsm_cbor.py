"""A strict reader of the CBOR that the Nitro Security Module writes.

The module (Rust's serde_cbor) writes maps of indefinite length and null, which og_ros.attest.cbor_reader refuses;
beside those two, this reader takes no more than that one: shortest heads, no duplicate keys, no tags, no floats, no
trailing bytes.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from og_ros.errors import EvidenceError

Item: TypeAlias = "int | bytes | str | list[Item] | dict[int | str, Item] | None"
_MAX_DEPTH: Final = 4
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_NULL, _BREAK, _OPEN_ARRAY, _OPEN_MAP = 0xF6, 0xFF, 0x9F, 0xBF


def read(data: bytes) -> Item:
    """Read exactly one item; raises EvidenceError for anything else."""
    item, end = _item(data, 0, 0)
    if end != len(data):
        raise EvidenceError("malformed CBOR: bytes after its end")
    return item


def _item(data: bytes, at: int, depth: int) -> tuple[Item, int]:
    if depth > _MAX_DEPTH:
        raise EvidenceError(f"malformed CBOR: nested deeper than {_MAX_DEPTH}")
    if at >= len(data):
        raise EvidenceError("malformed CBOR: truncated")
    first = data[at]
    if first == _NULL:
        return None, at + 1
    if first in (_OPEN_ARRAY, _OPEN_MAP):
        return (_map if first == _OPEN_MAP else _array)(data, at + 1, None, depth)
    major, argument, at = _head(data, at)
    if major == _UNSIGNED:
        return argument, at
    if major == _NEGATIVE:
        return -1 - argument, at
    if argument > len(data) - at:  # an item is at least one byte: refuse before anything is built
        raise EvidenceError("malformed CBOR: truncated")
    if major == _BYTES:
        return data[at : at + argument], at + argument
    if major == _TEXT:
        try:
            return data[at : at + argument].decode(), at + argument
        except UnicodeDecodeError as error:
            raise EvidenceError("malformed CBOR: text that is not UTF-8") from error
    return (_map if major == _MAP else _array)(data, at, argument, depth)


def _ended(data: bytes, at: int, left: int | None) -> bool:
    """Whether a list ends here: after its count, or, without one, at a break."""
    return left == 0 if left is not None else data[at : at + 1] == bytes([_BREAK])


def _array(data: bytes, at: int, left: int | None, depth: int) -> tuple[list[Item], int]:
    items: list[Item] = []
    while not _ended(data, at, left):
        item, at = _item(data, at, depth + 1)
        items.append(item)
        left = left - 1 if left is not None else None
    return items, at + (left is None)


def _map(data: bytes, at: int, left: int | None, depth: int) -> tuple[dict[int | str, Item], int]:
    tree: dict[int | str, Item] = {}
    while not _ended(data, at, left):
        key, at = _item(data, at, depth + 1)
        if not isinstance(key, (int, str)):
            raise EvidenceError("malformed CBOR: a map key is neither text nor an integer")
        if key in tree:
            raise EvidenceError(f"malformed CBOR: the map key {key!a} stands twice")
        tree[key], at = _item(data, at, depth + 1)
        left = left - 1 if left is not None else None
    return tree, at + (left is None)


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an item's head: its major type, its argument, and where its content begins."""
    major, low = data[at] >> 5, data[at] & 0x1F
    at += 1
    if major > _MAP:
        raise EvidenceError("malformed CBOR: a tag, float or simple value")
    if low < 24:
        return major, low, at
    width = _WIDTHS.get(low)
    raw = data[at : at + width] if width is not None else b""
    if width is None or len(raw) != width:
        raise EvidenceError("malformed CBOR: truncated, or a length that is not given")
    argument = int.from_bytes(raw, "big")
    if argument < (24 if width == 1 else 1 << (4 * width)):
        raise EvidenceError("malformed CBOR: a number that is not in its shortest form")
    return major, argument, at + width
