"""Deterministic CBOR (RFC 8949 section 4.2.1) of a statement, and its strict reading.

A statement is a map whose keys are the field names of msg/Attestation.msg, so that a generic CBOR tool shows it
readably. Times are unsigned nanoseconds. All keys are text strings shorter than 24 bytes, whose bytewise order
is: by length, then by bytes; the maps below are built in that order.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from og_ros.attest import cbor_reader
from og_ros.attest.statement import (
    Algorithm,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    Statement,
    check,
)
from og_ros.errors import AttestationError

MAX_STATEMENT_SIZE: Final = 60_000


def encode(statement: Statement) -> bytes:
    """Return the deterministic CBOR of a statement; raises AttestationError when a field is out of bounds."""
    check(statement)
    s = statement
    data = cbor2.dumps(
        {
            "node": s.node,
            "clock": int(s.clock),
            "model": _model(s.model),
            "robot": s.robot,
            "stage": s.stage,
            "start": s.start_ns,
            "inputs": [_reference(r) for r in s.inputs],
            "key_id": s.key_id,
            "outputs": [_reference(r) for r in s.outputs],
            "runtime": _runtime(s.runtime),
            "session": s.session,
            "previous": s.previous,
            "sequence": s.sequence,
            "algorithm": int(s.algorithm),
            "mode_used": int(s.mode_used),
            "signed_at": s.signed_at_ns,
            "duration_ns": s.duration_ns,
            "format_version": s.format_version,
            "mode_requested": int(s.mode_requested),
            "start_monotonic_ns": s.start_monotonic_ns,
        }
    )
    if len(data) > MAX_STATEMENT_SIZE:
        raise AttestationError(f"the statement is {len(data)} bytes long; {MAX_STATEMENT_SIZE} are allowed")
    return data


def decode(data: bytes) -> Statement:
    """Read a statement back; raises AttestationError for anything but the one deterministic encoding of it."""
    if len(data) > MAX_STATEMENT_SIZE:
        raise AttestationError(f"the statement is {len(data)} bytes long; {MAX_STATEMENT_SIZE} are allowed")
    tree = cbor_reader.read(data)
    try:
        statement = Statement(
            robot=_of(tree, "robot", str),
            stage=_of(tree, "stage", str),
            node=_of(tree, "node", str),
            session=_of(tree, "session", bytes),
            sequence=_of(tree, "sequence", int),
            previous=_of(tree, "previous", bytes),
            model=_read_model(_of(tree, "model", dict)),
            runtime=_read_runtime(_of(tree, "runtime", dict)),
            inputs=tuple(_read_reference(r) for r in _of(tree, "inputs", list)),
            outputs=tuple(_read_reference(r) for r in _of(tree, "outputs", list)),
            start_ns=_of(tree, "start", int),
            clock=Clock(_of(tree, "clock", int)),
            start_monotonic_ns=_of(tree, "start_monotonic_ns", int),
            duration_ns=_of(tree, "duration_ns", int),
            signed_at_ns=_of(tree, "signed_at", int),
            key_id=_of(tree, "key_id", bytes),
            algorithm=Algorithm(_of(tree, "algorithm", int)),
            mode_requested=Mode(_of(tree, "mode_requested", int)),
            mode_used=Mode(_of(tree, "mode_used", int)),
            format_version=_of(tree, "format_version", int),
        )
    except ValueError as error:
        raise AttestationError(f"the statement holds {error}") from error
    if encode(statement) != data:
        raise AttestationError("the statement has unknown fields")
    return statement


def _model(model: ModelReference) -> dict[str, Any]:
    return {
        "name": model.name,
        "digest": model.digest,
        "format": model.format,
        "version": model.version,
        "digest_algorithm": model.digest_algorithm,
    }


def _runtime(runtime: Runtime) -> dict[str, Any]:
    return {
        "cpu": runtime.cpu,
        "name": runtime.name,
        "options": runtime.options,
        "version": runtime.version,
        "provider": runtime.provider,
        "processing_digest": runtime.processing_digest,
    }


def _reference(reference: DataReference) -> dict[str, Any]:
    return {
        "size": reference.size,
        "type": reference.type,
        "stamp": reference.stamp_ns,
        "topic": reference.topic,
        "digest": reference.digest,
        "disclosure": int(reference.disclosure),
        "attestation": reference.attestation,
        "digest_algorithm": reference.digest_algorithm,
    }


def _read_model(tree: dict[str, Any]) -> ModelReference:
    return ModelReference(
        name=_of(tree, "name", str),
        version=_of(tree, "version", str),
        digest=_of(tree, "digest", bytes),
        format=_of(tree, "format", str),
        digest_algorithm=_of(tree, "digest_algorithm", str),
    )


def _read_runtime(tree: dict[str, Any]) -> Runtime:
    return Runtime(
        name=_of(tree, "name", str),
        version=_of(tree, "version", str),
        provider=_of(tree, "provider", str),
        options=_of(tree, "options", str),
        cpu=_of(tree, "cpu", str),
        processing_digest=_of(tree, "processing_digest", bytes),
    )


def _read_reference(tree: Any) -> DataReference:
    return DataReference(
        topic=_of(tree, "topic", str),
        type=_of(tree, "type", str),
        digest=_of(tree, "digest", bytes),
        size=_of(tree, "size", int),
        stamp_ns=_of(tree, "stamp", int),
        attestation=_of(tree, "attestation", bytes),
        digest_algorithm=_of(tree, "digest_algorithm", str),
        disclosure=Disclosure(_of(tree, "disclosure", int)),
    )


def _of(tree: Any, name: str, kind: type) -> Any:
    if not isinstance(tree, dict):
        raise AttestationError(f"the statement has {type(tree).__name__} where a map is expected")
    value = tree.get(name)
    if type(value) is not kind:
        found = "nothing" if value is None else type(value).__name__
        raise AttestationError(f"the statement's field {name!r} has {found} where {kind.__name__} is expected")
    return value
