"""The form of a session's attestations: what stays the same between them, in CDR and in CBOR, and where the rest goes.

Within a session the robot, model, runtime, topics and key stay the same, and with them the place of every other field.
So a reader compares what repeats instead of decoding it, and a signer puts an attestation together from pieces.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from og_ros.attest import cbor, cose, wire
from og_ros.attest.cdr import NS_PER_SECOND
from og_ros.attest.statement import DIGEST_SIZE, NO_DIGEST, Attestation, DataReference, Disclosure, Statement

_HEAD_8: Final = b"\x1b"  # CBOR: an unsigned integer of eight bytes


class StatementForm:
    """The pieces of the attestations of one session and one shape.

    `first` is the statement that it was learnt from; `cdr` is a serialised attestation in which the fields that vary
    hold the marks of `fields`, each with its `struct` code, in the order of the wire.
    """

    def __init__(self, first: Statement) -> None:
        """Learn where each varying field lies by encoding a statement in which all of them are marked.

        Raises AttestationError or ValueError for a statement whose form has no fixed places.
        """
        marks = _Marks()
        marked = marks.statement(first)
        signature = os.urandom(cose.SIGNATURE_SIZE)
        payload = cbor.encode(marked)
        sealed = cose.seal(marked, signature)
        self.first = first
        times = {id(mark) for mark in marks.times}
        self.fields: list[tuple[bytes, str]] = []
        for mark in (*marks.order, signature):
            if isinstance(mark, bytes):
                self.fields.append((mark, f"{len(mark)}s"))
            elif id(mark) in times:
                seconds, nanoseconds = divmod(mark, NS_PER_SECOND)
                self.fields.append((struct.pack("<iI", seconds, nanoseconds), "iI"))
            else:
                self.fields.append((struct.pack("<Q", mark), "Q"))
        self.cdr = wire.encode_attestation(sealed)
        self._pieces = _split(payload, [m if isinstance(m, bytes) else struct.pack(">Q", m) for m in marks.in_cbor])
        head = cose.to_be_signed(marked, payload)
        self._to_be_signed = head[: -len(payload) - 3]
        whole = sealed.cose
        self._cose = whole[: whole.index(payload) - 3]
        self._cose_signature = whole[whole.index(payload) + len(payload) : -cose.SIGNATURE_SIZE]

    def encode(self, statement: Statement) -> bytes | None:
        """Return the statement's CBOR behind its length; None where its length has another head than the form."""
        values: list[bytes] = [_uint(statement.start_ns)]
        _references(values, statement.inputs)
        _references(values, statement.outputs)
        values += (
            statement.previous,
            _uint(statement.sequence),
            _uint(statement.signed_at_ns),
            _uint(statement.duration_ns),
            _uint(statement.start_monotonic_ns),
        )
        pieces = self._pieces
        parts = [pieces[0]]
        for value, piece in zip(values, pieces[1:], strict=True):
            parts.append(value)
            parts.append(piece)
        data = b"".join(parts)
        # The head of the payload's byte string, as the form has it, counts its length in two bytes.
        if not 256 <= len(data) <= cbor.MAX_STATEMENT_SIZE:
            return None
        return b"\x59" + len(data).to_bytes(2, "big") + data

    def to_be_signed(self, encoded: bytes) -> bytes:
        """Return what `og_ros.attest.cose.to_be_signed` gives for what `encode` returned."""
        return self._to_be_signed + encoded

    def seal(self, statement: Statement, encoded: bytes, message: bytes, signature: bytes) -> Attestation:
        """Return the attestation of a statement; `encoded` and `message` are from the two methods before."""
        sealed = b"".join((self._cose, encoded, self._cose_signature, signature))
        return Attestation(statement, signature, message, sealed)


class _Marks:
    """Values that occur nowhere else, in the order of the wire, and in that of the CBOR."""

    def __init__(self) -> None:
        self.order: list[int | bytes] = []
        self.times: list[int] = []
        self.in_cbor: list[int | bytes] = []

    def statement(self, statement: Statement) -> Statement:
        """Return a statement with every varying field marked."""
        sequence, previous = self._number(), self._field(DIGEST_SIZE)
        inputs = tuple(self._reference(r) for r in statement.inputs)
        outputs = tuple(self._reference(r) for r in statement.outputs)
        start, monotonic, duration, signed_at = self._time(), self._number(), self._number(), self._time()
        self.in_cbor = [start]
        for reference in (*inputs, *outputs):
            self.in_cbor += [reference.size, reference.stamp_ns]
            if reference.disclosure is not Disclosure.ABSENT:
                self.in_cbor.append(reference.digest)
            if reference.attestation:
                self.in_cbor.append(reference.attestation)
        self.in_cbor += [previous, sequence, signed_at, duration, monotonic]
        return replace(
            statement,
            sequence=sequence,
            previous=previous,
            inputs=inputs,
            outputs=outputs,
            start_ns=start,
            start_monotonic_ns=monotonic,
            duration_ns=duration,
            signed_at_ns=signed_at,
        )

    def _reference(self, reference: DataReference) -> DataReference:
        absent = reference.disclosure is Disclosure.ABSENT  # then the digest is all zero, and stays so
        message_digest = NO_DIGEST if absent else self._field(DIGEST_SIZE)
        size, stamp = self._number(), self._time()
        source = self._field(DIGEST_SIZE) if reference.attestation else b""
        return replace(reference, digest=message_digest, size=size, stamp_ns=stamp, attestation=source)

    def _number(self) -> int:
        number = int.from_bytes(os.urandom(8), "big") | 1 << 63
        self.order.append(number)
        return number

    def _time(self) -> int:
        seconds = 1 << 30 | int.from_bytes(os.urandom(3), "big")
        time = seconds * NS_PER_SECOND + int.from_bytes(os.urandom(4), "big") % NS_PER_SECOND
        self.order.append(time)
        self.times.append(time)
        return time

    def _field(self, size: int) -> bytes:
        field = os.urandom(size)
        self.order.append(field)
        return field


def _split(encoded: bytes, marks: Iterable[bytes]) -> list[bytes]:
    """Return the pieces of a CBOR text between marks; the head of a marked integer belongs to the mark."""
    pieces = []
    at = 0
    for mark in marks:
        whole = _HEAD_8 + mark if len(mark) == 8 else mark
        found = encoded.index(whole, at)
        pieces.append(encoded[at:found])
        at = found + len(whole)
    return [*pieces, encoded[at:]]


def _references(values: list[bytes], references: Iterable[DataReference]) -> None:
    for reference in references:
        values.append(_uint(reference.size))
        values.append(_uint(reference.stamp_ns))
        if reference.disclosure is not Disclosure.ABSENT:
            values.append(reference.digest)
        if reference.attestation:
            values.append(reference.attestation)


def _uint(value: int) -> bytes:
    """Return the shortest CBOR of an unsigned integer (RFC 8949 section 3.1, major type 0)."""
    if value > 0xFFFFFFFF:
        return _HEAD_8 + value.to_bytes(8, "big")
    if value > 0xFFFF:
        return b"\x1a" + value.to_bytes(4, "big")
    if value > 0xFF:
        return b"\x19" + value.to_bytes(2, "big")
    return bytes((value,)) if value < 24 else bytes((24, value))
