"""Side files: what a stage committed to, sealed for those who may reveal it; the format, and its reading.

A file is the line "og_ros side file v1", then frames: 4 bytes of length (big-endian), one byte of kind, the body.

    S   a Seal (CDR of og_ros/msg/Seal), before the first record under its content key
    R   seal (16 bytes), key number (4), counter (8), ciphertext with its tag (AES-256-GCM)

The tag of a record also covers "og_ros side record v1" || 0x00 and the 28 bytes before the ciphertext. The plaintext
is a map in deterministic CBOR with the fields of SideRecord. An empty payload stands for that of an earlier record of
the same file with the same commitment, among the last 64 payloads.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import BinaryIO, Final

import cbor2

from og_ros.attest import cbor_reader
from og_ros.attest.commitment import SALT_SIZE
from og_ros.attest.content_key import ContentKey, KeyRing
from og_ros.attest.sealed_wire import SEAL_SIZE, Seal, read_seal, write_seal
from og_ros.attest.statement import DIGEST_SIZE
from og_ros.errors import AttestationError, DisclosureError

MAGIC: Final = b"og_ros side file v1\n"
SUFFIX: Final = ".side"
REMEMBERED_PAYLOADS: Final = 64
_CONTEXT: Final = b"og_ros side record v1\0"
_LENGTH: Final = 4
_HEAD: Final = SEAL_SIZE + 4 + 8


@dataclass(frozen=True, slots=True)
class SideRecord:
    """One reference of an attestation that was committed to, and what it hides.

    `attestation` is the digest of that attestation, `side` ("input" or "output") and `index` the place of the
    reference in it; `made` is when it was signed and `stamp` the header's stamp, ns. `payload` is the message's CDR.
    """

    attestation: bytes
    side: str
    index: int
    topic: str
    type: str
    stamp: int
    made: int
    algorithm: str
    salt: bytes
    commitment: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A place of a side file that gives no record, from `offset` (bytes) on, and why."""

    offset: int
    reason: str


# Map keys in the order of deterministic CBOR: by length, then by bytes.
_FIELDS: Final = tuple(sorted((f.name for f in fields(SideRecord)), key=lambda name: (len(name), name)))
_KINDS: Final = {"str": str, "int": int, "bytes": bytes}


def seal_frame(seal: Seal) -> bytes:
    """Return the frame of a Seal."""
    return _frame(b"S" + write_seal(seal))


def record_frame(key: ContentKey, record: SideRecord) -> bytes:
    """Return the frame of a record, sealed under a content key."""
    head = key.seal + key.number.to_bytes(4, "big") + key.counter.to_bytes(8, "big")
    plain = cbor2.dumps({name: getattr(record, name) for name in _FIELDS})
    return _frame(b"R" + head + key.encrypt(plain, _CONTEXT + head))


def read_side_file(path: Path, ring: KeyRing) -> Iterator[SideRecord | Damage]:
    """Yield the records of a side file that a recipient's key opens, and the places that do not open.

    A file that was cut off, as by a crash, ends in a Damage; so does a gap in the counters, by which records that are
    missing show. Raises DisclosureError when there is no such file, or its first line is another.
    """
    try:
        with open(path, "rb") as stream:
            first = stream.read(len(MAGIC))
            if first != MAGIC and MAGIC.startswith(first):
                yield Damage(0, "the file ends before its first record")
                return
            if first != MAGIC:
                raise DisclosureError(f"{path} is no side file of og_ros")
            yield from _read(stream, ring)
    except OSError as error:
        raise DisclosureError(f"cannot read the side file {path}: {error.strerror}") from error


def _read(stream: BinaryIO, ring: KeyRing) -> Iterator[SideRecord | Damage]:
    payloads: OrderedDict[bytes, bytes] = OrderedDict()
    expected: dict[tuple[bytes, int], int] = {}
    at, end = len(MAGIC), os.fstat(stream.fileno()).st_size
    while head := stream.read(_LENGTH):
        size = int.from_bytes(head, "big")
        body = stream.read(size) if len(head) == _LENGTH and 0 < size <= end - at else b""
        if not body or len(body) != size:
            yield Damage(at, "the file ends within a record, or its frames are damaged from here on")
            return
        try:
            if body[:1] == b"S":
                ring.learn(read_seal(body[1:]))
            else:
                key, counter = _place(body)
                known, expected[key] = expected.get(key, 0), counter + 1
                if counter != known:
                    yield Damage(at, f"the counter goes from {known} to {counter}: records are missing or moved")
                yield _resolve(_open(body, key, counter, ring), payloads)
        except AttestationError as error:
            yield Damage(at, str(error))
        at += _LENGTH + size


def _place(body: bytes) -> tuple[tuple[bytes, int], int]:
    if body[:1] != b"R" or len(body) < 1 + _HEAD:
        raise AttestationError("a frame of a kind that is not known")
    head = body[1 : 1 + _HEAD]
    number, counter = head[SEAL_SIZE : SEAL_SIZE + 4], head[SEAL_SIZE + 4 :]
    return (head[:SEAL_SIZE], int.from_bytes(number, "big")), int.from_bytes(counter, "big")


def _open(body: bytes, key: tuple[bytes, int], counter: int, ring: KeyRing) -> SideRecord:
    plain = ring.decrypt(*key, counter, memoryview(body)[1 + _HEAD :], _CONTEXT + body[1 : 1 + _HEAD])
    tree = cbor_reader.read(plain)
    if not isinstance(tree, dict) or tuple(tree) != _FIELDS:
        raise AttestationError("the record opens to other fields than those of a side record")
    for field in fields(SideRecord):
        if type(tree[field.name]) is not _KINDS[str(field.type)]:
            raise AttestationError(f"the record's field {field.name!r} is a {type(tree[field.name]).__name__}")
    record = SideRecord(**tree)  # type: ignore[arg-type]  # keys and types were checked
    sizes = (len(record.attestation), len(record.commitment), len(record.salt))
    if sizes != (DIGEST_SIZE, DIGEST_SIZE, SALT_SIZE) or record.side not in ("input", "output"):
        raise AttestationError("the record has a digest, commitment, salt or side that is none")
    return record


def _resolve(record: SideRecord, payloads: OrderedDict[bytes, bytes]) -> SideRecord:
    if not record.payload:
        earlier = payloads.get(record.commitment)
        if earlier is None:
            raise AttestationError(f"the record of {record.topic} stands for an earlier one, which is missing")
        payloads.move_to_end(record.commitment)
        return replace(record, payload=earlier)
    remember(payloads, record.commitment, record.payload)
    return record


def remember(payloads: OrderedDict[bytes, bytes], commitment: bytes, payload: bytes) -> None:
    """Keep a payload among the newest; writer and reader of a file forget the same ones."""
    payloads[commitment] = payload
    payloads.move_to_end(commitment)
    if len(payloads) > REMEMBERED_PAYLOADS:
        payloads.popitem(last=False)


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH, "big") + body
