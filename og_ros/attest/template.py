"""Reads the attestations of a stream fast: what repeats within a session is compared, and only the rest is decoded.

Within a session the robot, model, runtime, topics and key stay the same, and with them the place of every other field.
So the first attestation gives a template, and the next ones of its shape are read with two calls of `struct`, and
their CBOR is put together from the template's pieces. Whatever differs goes the long way of `decode_attestation`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from og_ros.attest import cbor, cose, wire
from og_ros.attest.cdr import LITTLE_ENDIAN_HEADER, NS_PER_SECOND
from og_ros.attest.statement import (
    DIGEST_SIZE,
    NO_DIGEST,
    Attestation,
    DataReference,
    Disclosure,
    Statement,
)
from og_ros.errors import AttestationError

# So many templates are kept; the oldest goes first. A robot has a few per topic.
MAX_TEMPLATES: Final = 256
_HEAD_8: Final = b"\x1b"  # CBOR: an unsigned integer of eight bytes


class AttestationReader:
    """Decodes serialised og_ros/msg/Attestation: gives what `decode_attestation` gives, and raises what it raises."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, int], _Shape] = {}

    def read(self, payload: bytes | memoryview, topic: str = "") -> Attestation:
        """Read one attestation; `topic` tells streams apart, so that each finds its template."""
        key = (topic, len(payload))
        shape = self._shapes.get(key)
        if shape is not None and shape.template is not None:
            attestation = shape.template.read(payload)
            if attestation is not None:
                return attestation
        return self._read_slowly(payload, key, shape)

    def read_known(self, payload: bytes | memoryview, topic: str, digest: bytes) -> Attestation:
        """Read an attestation that was read before, by who found its digest; its COSE form is made when asked for."""
        key = (topic, len(payload))
        shape = self._shapes.get(key)
        if shape is not None and shape.template is not None:
            found = shape.template.decode(payload)
            if found is not None:
                return Attestation.deferred(*found, digest)
        return self._read_slowly(payload, key, shape)

    def _read_slowly(self, payload: bytes | memoryview, key: tuple[str, int], shape: _Shape | None) -> Attestation:
        attestation = wire.decode_attestation(payload)
        session = attestation.statement.session
        if shape is None or shape.session != session:
            # Not at once: a template costs more than a reading, and who changes the session each time gets none.
            self._remember(key, _Shape(session))
        elif not shape.tried:
            shape.tried = True
            shape.template = _Template.of(attestation, bytes(payload))
        return attestation

    def _remember(self, key: tuple[str, int], shape: _Shape) -> None:
        self._shapes.pop(key, None)
        while len(self._shapes) >= MAX_TEMPLATES:
            del self._shapes[next(iter(self._shapes))]
        self._shapes[key] = shape


@dataclass(slots=True)
class _Shape:
    """The newest session of a topic and a size, and its template once there were two attestations of it."""

    session: bytes
    tried: bool = False
    template: _Template | None = None


class _Template:
    """The constant parts of one session's attestations of one shape, in CDR and in CBOR."""

    def __init__(self, attestation: Attestation) -> None:
        """Learn where each varying field lies by encoding a statement in which all of them are marked."""
        marks = _Marks()
        marked = marks.statement(attestation.statement)
        signature = os.urandom(cose.SIGNATURE_SIZE)
        payload = cbor.encode(marked)
        sealed = cose.seal(marked, signature)
        self._first = attestation.statement
        times = {id(mark) for mark in marks.times}
        fields: list[tuple[bytes, str]] = []
        for mark in (*marks.order, signature):
            if isinstance(mark, bytes):
                fields.append((mark, f"{len(mark)}s"))
            elif id(mark) in times:
                seconds, nanoseconds = divmod(mark, NS_PER_SECOND)
                fields.append((struct.pack("<iI", seconds, nanoseconds), "iI"))
            else:
                fields.append((struct.pack("<Q", mark), "Q"))
        self._variables, self._constants = _layout(wire.encode_attestation(sealed), fields)
        self._pieces = _split(payload, [m if isinstance(m, bytes) else struct.pack(">Q", m) for m in marks.in_cbor])
        head = cose.to_be_signed(marked, payload)
        self._to_be_signed = head[: -len(payload) - 3]
        whole = sealed.cose
        self._cose = whole[: whole.index(payload) - 3]
        self._cose_signature = whole[whole.index(payload) + len(payload) : -cose.SIGNATURE_SIZE]
        self._expected: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, attestation: Attestation, payload: bytes) -> _Template | None:
        """Make a template from an attestation that was read; None where its form has none, such as big-endian CDR."""
        if payload[:4] != LITTLE_ENDIAN_HEADER:
            return None
        try:
            template = cls(attestation)
            template._expected = template._constants.unpack(payload)
        except (AttestationError, struct.error, ValueError):
            return None
        return template if template.read(payload) == attestation else None

    def read(self, payload: bytes | memoryview) -> Attestation | None:
        """Read a payload of the template's length; None where it does not fit, or holds what must be refused."""
        found = self.decode(payload)
        if found is None:
            return None
        statement, signature = found
        data = self._encode(statement)
        if data is None:
            return None
        length = b"\x59" + len(data).to_bytes(2, "big")
        message = b"".join((self._to_be_signed, length, data))
        sealed = b"".join((self._cose, length, data, self._cose_signature, signature))
        return Attestation(statement, signature, message, sealed)

    def decode(self, payload: bytes | memoryview) -> tuple[Statement, bytes] | None:
        """Return the statement and the signature of a payload; None as `read` does."""
        if self._constants.unpack(payload) != self._expected:
            return None
        values = iter(self._variables.unpack(payload))
        take = values.__next__
        first = self._first
        sequence, previous = take(), take()
        if (sequence == 0) != (previous == NO_DIGEST):
            return None
        sides = []
        for references in (first.inputs, first.outputs):
            read = []
            for old in references:
                message_digest = NO_DIGEST
                if old.disclosure is not Disclosure.ABSENT:
                    message_digest = take()
                    if message_digest == NO_DIGEST:
                        return None
                size, seconds, nanoseconds = take(), take(), take()
                if seconds < 0 or nanoseconds >= NS_PER_SECOND:
                    return None
                stamp = seconds * NS_PER_SECOND + nanoseconds
                source = take() if old.attestation else b""
                read.append(
                    DataReference(
                        old.topic,
                        old.type,
                        message_digest,
                        size,
                        stamp,
                        source,
                        old.digest_algorithm,
                        old.disclosure,
                    )
                )
            sides.append(tuple(read))
        start_s, start_ns, monotonic, duration, signed_s, signed_ns = take(), take(), take(), take(), take(), take()
        if start_s < 0 or signed_s < 0 or start_ns >= NS_PER_SECOND or signed_ns >= NS_PER_SECOND:
            return None
        signature = take()
        start, signed_at = start_s * NS_PER_SECOND + start_ns, signed_s * NS_PER_SECOND + signed_ns
        inputs, outputs = sides
        statement = Statement(
            first.robot,
            first.stage,
            first.node,
            first.session,
            sequence,
            previous,
            first.model,
            first.runtime,
            inputs,
            outputs,
            start,
            first.clock,
            monotonic,
            duration,
            signed_at,
            first.key_id,
            first.algorithm,
            first.mode_requested,
            first.mode_used,
            first.format_version,
        )
        return statement, signature

    def _encode(self, statement: Statement) -> bytes | None:
        """Put the statement's CBOR together, the values in the order in which the encoding has them."""
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
        # The head of the payload's byte string, as the template has it, counts its length in two bytes.
        return data if 256 <= len(data) <= cbor.MAX_STATEMENT_SIZE else None


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


def _layout(encoded: bytes, fields: Iterable[tuple[bytes, str]]) -> tuple[struct.Struct, struct.Struct]:
    """Return two structs over a whole payload: one takes the marked fields in order, one takes all between them."""
    variables, constants = ["<"], ["<"]
    at = 0
    for mark, code in fields:
        found = encoded.index(mark, at)
        between = found - at
        variables.append(f"{between}x{code}")
        constants.append(f"{between}s{len(mark)}x")
        at = found + len(mark)
    rest = len(encoded) - at
    variables.append(f"{rest}x")
    constants.append(f"{rest}s")
    return struct.Struct("".join(variables)), struct.Struct("".join(constants))


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
