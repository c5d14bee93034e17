"""Reads the attestations of a stream fast: what repeats within a session is compared, and only the rest is decoded.

Within a session the robot, model, runtime, topics and key stay the same, and with them the place of every other field.
So the first attestation gives a template, and the next ones of its shape are read with two calls of `struct`, and
their CBOR is put together from the template's pieces. Whatever differs goes the long way of `decode_attestation`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from og_ros.attest import wire
from og_ros.attest.cdr import LITTLE_ENDIAN_HEADER, NS_PER_SECOND
from og_ros.attest.statement import (
    NO_DIGEST,
    Attestation,
    DataReference,
    Disclosure,
    Statement,
)
from og_ros.attest.statement_form import StatementForm
from og_ros.errors import AttestationError

# So many templates are kept; the oldest goes first. A robot has a few per topic.
MAX_TEMPLATES: Final = 256


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
        self._form = StatementForm(attestation.statement)
        self._variables, self._constants = _layout(self._form.cdr, self._form.fields)
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
        encoded = self._form.encode(statement)
        if encoded is None:
            return None
        return self._form.seal(statement, encoded, self._form.to_be_signed(encoded), signature)

    def decode(self, payload: bytes | memoryview) -> tuple[Statement, bytes] | None:
        """Return the statement and the signature of a payload; None as `read` does."""
        if self._constants.unpack(payload) != self._expected:
            return None
        values = iter(self._variables.unpack(payload))
        take = values.__next__
        first = self._form.first
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
