"""A strict reader of the CBOR that attestations are made of: a closed subset, in deterministic encoding only.

RFC 8949 section 4.2.1 allows one encoding of a value: shortest heads, definite lengths, map keys in bytewise order of
their encodings. Whatever is not in that form is refused while it is read, and so are tags, floats and simple values,
which no attestation holds. Generic decoders turn tags into dates, regular expressions or e-mail messages; bytes from a
recording must not reach those.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from og_ros.errors import AttestationError

Item: TypeAlias = "int | bytes | str | list[Item] | dict[int | str, Item]"
_MAX_DEPTH: Final = 8
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP = range(6)
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}


def read(data: bytes) -> Item:
    """Read exactly one item: integers, byte and text strings, arrays, and maps with text or integer keys.

    Raises AttestationError for any other item, for any other than the deterministic encoding, for nesting deeper than
    8, for truncation and for bytes after the end.
    """
    item, end = _item(data, 0, 0)
    if end != len(data):
        raise AttestationError("malformed CBOR: bytes after its end")
    return item


def end_of(data: bytes, at: int) -> int:
    """Return where the item that begins at an offset ends; raises AttestationError as `read` does."""
    return _item(data, at, 0)[1]


def _item(data: bytes, at: int, depth: int) -> tuple[Item, int]:
    if depth > _MAX_DEPTH:
        raise AttestationError(f"malformed CBOR: nested deeper than {_MAX_DEPTH}")
    major, argument, at = _head(data, at)
    if major == _UNSIGNED:
        return argument, at
    if major == _NEGATIVE:
        return -1 - argument, at
    if major in (_BYTES, _TEXT):
        raw = data[at : at + argument]
        if len(raw) != argument:
            raise AttestationError("malformed CBOR: truncated")
        if major == _BYTES:
            return raw, at + argument
        try:
            return raw.decode(), at + argument
        except UnicodeDecodeError as error:
            raise AttestationError("malformed CBOR: text that is not UTF-8") from error
    if argument > len(data) - at:  # an item is at least one byte: refuse before anything is built
        raise AttestationError("malformed CBOR: truncated")
    if major == _ARRAY:
        items: list[Item] = []
        for _ in range(argument):
            item, at = _item(data, at, depth + 1)
            items.append(item)
        return items, at
    return _map(data, at, argument, depth)


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[Item, int]:
    tree: dict[int | str, Item] = {}
    before = b""
    for _ in range(count):
        start = at
        key, at = _item(data, at, depth + 1)
        if not isinstance(key, (int, str)):
            raise AttestationError("malformed CBOR: a map key is neither text nor an integer")
        encoded = data[start:at]
        if encoded <= before:
            raise AttestationError(f"malformed CBOR: the map key {key!r} is a duplicate or out of order")
        before = encoded
        tree[key], at = _item(data, at, depth + 1)
    return tree, at


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an item's head: its major type, its argument, and where its content begins."""
    if at >= len(data):
        raise AttestationError("malformed CBOR: truncated")
    major, low = data[at] >> 5, data[at] & 0x1F
    at += 1
    if major > _MAP:
        raise AttestationError("malformed CBOR: a tag, float or simple value, which no attestation holds")
    if low < 24:
        return major, low, at
    width = _WIDTHS.get(low)
    if width is None:
        raise AttestationError("malformed CBOR: an indefinite length or a reserved head")
    raw = data[at : at + width]
    if len(raw) != width:
        raise AttestationError("malformed CBOR: truncated")
    argument = int.from_bytes(raw, "big")
    if argument < (24 if width == 1 else 1 << (4 * width)):
        raise AttestationError("malformed CBOR: a number that is not in its shortest form")
    return major, argument, at + width
