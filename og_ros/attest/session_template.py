"""Signs a session's attestations fast: each is put together from the pieces of the form that its shape has.

It gives the very bytes that `cose.sign` and `encode_attestation` give, with a third of their work under the
interpreter's lock, so that signing hardly delays the next inference.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from og_ros.attest import cose, wire
from og_ros.attest.cdr import NS_PER_SECOND
from og_ros.attest.signer import Signer
from og_ros.attest.statement import (
    DIGEST_SIZE,
    MAX_TIME_NS,
    NO_DIGEST,
    Attestation,
    DataReference,
    Disclosure,
    Statement,
)
from og_ros.attest.statement_form import StatementForm
from og_ros.errors import AttestationError

_LIMIT: Final = 2**64
Shape: TypeAlias = tuple[object, ...]


def shape_of(statement: Statement) -> Shape:
    """Return what two statements of one session have alike when they are of one form.

    A statement of other types than its fields have, such as a text in place of a member, has a shape of its own.
    """
    s = statement
    parts: list[object] = [s.clock, type(s.clock), s.mode_requested, type(s.mode_requested)]
    parts += (s.mode_used, type(s.mode_used))
    for references in (s.inputs, s.outputs):
        parts.append(None)
        for r in references:
            parts += (r.topic, r.type, r.digest_algorithm, r.disclosure, type(r.disclosure), not r.attestation)
    return tuple(parts)


class SessionTemplate:
    """The form of one session's statements of one shape, for signing."""

    def __init__(self, first: Statement) -> None:
        self._form = form = StatementForm(first)
        codes, self._constants = ["<"], []
        at = 0
        for mark, code in form.fields:
            found = form.cdr.index(mark, at)
            codes.append(f"{found - at}s{code}")
            self._constants.append(form.cdr[at:found])
            at = found + len(mark)
        codes.append(f"{len(form.cdr) - at}s")
        self._end = form.cdr[at:]
        self._wire = struct.Struct("".join(codes))

    @classmethod
    def of(cls, attestation: Attestation) -> SessionTemplate | None:
        """Make a template from an attestation; None where its form has none, or gives other bytes than the long way."""
        statement = attestation.statement
        try:
            template = cls(statement)
            encoded = template._form.encode(statement)
        except (AttestationError, struct.error, ValueError):
            return None
        if not _fits(statement) or encoded is None:
            return None
        message = template._form.to_be_signed(encoded)
        same = template._form.seal(
            statement, encoded, message, attestation.signature
        ) == attestation and template._serialise(statement, attestation.signature) == wire.encode_attestation(
            attestation
        )
        return template if same else None

    def sign(self, statement: Statement, signer: Signer) -> tuple[Attestation, bytes] | None:
        """Sign a statement of this shape; returns its attestation, and that serialised as og_ros/msg/Attestation.

        None for one that must go the long way: of another session, or with a field out of bounds.
        """
        first = self._form.first
        if (
            statement.model is not first.model
            or statement.runtime is not first.runtime
            or statement.session != first.session
            or (statement.robot, statement.stage, statement.node) != (first.robot, first.stage, first.node)
            or statement.key_id != first.key_id
            or not _fits(statement)
        ):
            return None
        encoded = self._form.encode(statement)
        if encoded is None:
            return None
        message = self._form.to_be_signed(encoded)
        signature = signer.sign(message)
        if len(signature) != cose.SIGNATURE_SIZE:
            raise AttestationError(f"the signature is {len(signature)} bytes long; it must be {cose.SIGNATURE_SIZE}")
        attestation = self._form.seal(statement, encoded, message, signature)
        return attestation, self._serialise(statement, signature)

    def _serialise(self, statement: Statement, signature: bytes) -> bytes:
        constants = iter(self._constants)
        take = constants.__next__
        values: list[object] = [take(), statement.sequence, take(), statement.previous]
        for references in (statement.inputs, statement.outputs):
            for r in references:
                if r.disclosure is not Disclosure.ABSENT:
                    values += (take(), r.digest)
                values += (take(), r.size, take(), r.stamp_ns // NS_PER_SECOND, r.stamp_ns % NS_PER_SECOND)
                if r.attestation:
                    values += (take(), r.attestation)
        start, signed = statement.start_ns, statement.signed_at_ns
        values += (take(), start // NS_PER_SECOND, start % NS_PER_SECOND, take(), statement.start_monotonic_ns, take())
        values += (statement.duration_ns, take(), signed // NS_PER_SECOND, signed % NS_PER_SECOND, take(), signature)
        return self._wire.pack(*values, self._end)


def _fits(statement: Statement) -> bool:
    """Say whether the fields that vary are within the bounds of og_ros.attest.statement.check."""
    s = statement
    return (
        type(s.start_ns) is int
        and 0 <= s.start_ns <= MAX_TIME_NS
        and type(s.signed_at_ns) is int
        and 0 <= s.signed_at_ns <= MAX_TIME_NS
        and type(s.duration_ns) is int
        and 0 <= s.duration_ns < _LIMIT
        and type(s.start_monotonic_ns) is int
        and 0 <= s.start_monotonic_ns < _LIMIT
        and type(s.sequence) is int
        and 0 <= s.sequence < _LIMIT
        and len(s.previous) == DIGEST_SIZE
        and (s.sequence == 0) == (s.previous == NO_DIGEST)
        and all(map(_reference_fits, s.inputs))
        and all(map(_reference_fits, s.outputs))
    )


def _reference_fits(r: DataReference) -> bool:
    return (
        type(r.digest) is bytes
        and len(r.digest) == DIGEST_SIZE
        and (r.digest == NO_DIGEST) == (r.disclosure is Disclosure.ABSENT)
        and type(r.size) is int
        and 0 <= r.size < _LIMIT
        and type(r.stamp_ns) is int
        and 0 <= r.stamp_ns <= MAX_TIME_NS
        and type(r.attestation) is bytes
        and len(r.attestation) in (0, DIGEST_SIZE)
    )
