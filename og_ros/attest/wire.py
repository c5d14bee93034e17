"""The wire form of msg/Attestation: CDR read and written without ROS, always by our own definition of the type.

A recording's embedded definitions are the robot's word; the record that everything hangs on is decoded by this file
instead.
"""

from __future__ import annotations

from typing import Final

from og_ros.attest import cose
from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.attest.statement import (
    DIGEST_SIZE,
    MAX_REFERENCES,
    SESSION_SIZE,
    Algorithm,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    Statement,
)
from og_ros.errors import AttestationError

ATTESTATION_TYPE: Final = "og_ros/msg/Attestation"
MAX_MESSAGE_SIZE: Final = 65_536
_MAX_TEXT: Final = 512
_MAX_SIGNATURE: Final = 128


def decode_attestation(payload: bytes | memoryview) -> Attestation:
    """Read a serialised og_ros/msg/Attestation.

    Raises AttestationError when the payload is truncated, has bytes after its end, exceeds a bound of the message, or
    holds a value that the statement does not allow. The signature is not checked.
    """
    size = memoryview(payload).nbytes
    if size > MAX_MESSAGE_SIZE:
        raise AttestationError(f"the attestation is {size} bytes long; {MAX_MESSAGE_SIZE} are allowed")
    reader = CdrReader(payload)
    version = reader.number("H", 2)
    robot, stage, node = reader.text(_MAX_TEXT), reader.text(_MAX_TEXT), reader.text(_MAX_TEXT)
    session = reader.take(SESSION_SIZE)
    sequence = reader.number("Q", 8)
    previous = reader.take(DIGEST_SIZE)
    try:
        statement = Statement(
            format_version=version,
            robot=robot,
            stage=stage,
            node=node,
            session=session,
            sequence=sequence,
            previous=previous,
            model=ModelReference(
                name=reader.text(_MAX_TEXT),
                version=reader.text(_MAX_TEXT),
                format=reader.text(_MAX_TEXT),
                digest_algorithm=reader.text(_MAX_TEXT),
                digest=reader.take(DIGEST_SIZE),
            ),
            runtime=Runtime(
                name=reader.text(_MAX_TEXT),
                version=reader.text(_MAX_TEXT),
                provider=reader.text(_MAX_TEXT),
                options=reader.text(_MAX_TEXT),
                cpu=reader.text(_MAX_TEXT),
                processing_digest=reader.take(DIGEST_SIZE),
            ),
            inputs=_read_references(reader),
            outputs=_read_references(reader),
            start_ns=reader.time(),
            clock=Clock(reader.number("B", 1)),
            start_monotonic_ns=reader.number("Q", 8),
            duration_ns=reader.number("Q", 8),
            signed_at_ns=reader.time(),
            mode_requested=Mode(reader.number("B", 1)),
            mode_used=Mode(reader.number("B", 1)),
            key_id=reader.take(DIGEST_SIZE),
            algorithm=Algorithm(reader.number("i", 4)),
        )
    except ValueError as error:
        raise AttestationError(f"the attestation holds {error}") from error
    signature = reader.octets(_MAX_SIGNATURE)
    reader.end()
    return cose.seal(statement, signature)


def encode_attestation(attestation: Attestation) -> bytes:
    """Return the serialised og_ros/msg/Attestation, little-endian, ready for a publisher or a bag."""
    s = attestation.statement
    writer = CdrWriter()
    writer.number("H", 2, s.format_version)
    for text in (s.robot, s.stage, s.node):
        writer.text(text)
    writer.raw(s.session)
    writer.number("Q", 8, s.sequence)
    writer.raw(s.previous)
    for text in (s.model.name, s.model.version, s.model.format, s.model.digest_algorithm):
        writer.text(text)
    writer.raw(s.model.digest)
    for text in (s.runtime.name, s.runtime.version, s.runtime.provider, s.runtime.options, s.runtime.cpu):
        writer.text(text)
    writer.raw(s.runtime.processing_digest)
    for references in (s.inputs, s.outputs):
        writer.number("I", 4, len(references))
        for reference in references:
            _write_reference(writer, reference)
    writer.time(s.start_ns)
    writer.number("B", 1, s.clock)
    writer.number("Q", 8, s.start_monotonic_ns)
    writer.number("Q", 8, s.duration_ns)
    writer.time(s.signed_at_ns)
    writer.number("B", 1, s.mode_requested)
    writer.number("B", 1, s.mode_used)
    writer.raw(s.key_id)
    writer.number("i", 4, s.algorithm)
    writer.number("I", 4, len(attestation.signature))
    writer.raw(attestation.signature)
    return writer.payload()


def _read_references(reader: CdrReader) -> tuple[DataReference, ...]:
    count = reader.number("I", 4)
    if count > MAX_REFERENCES:
        raise AttestationError(f"the attestation has {count} data references on one side; {MAX_REFERENCES} are allowed")
    return tuple(_read_reference(reader) for _ in range(count))


def _read_reference(reader: CdrReader) -> DataReference:
    return DataReference(
        topic=reader.text(_MAX_TEXT),
        type=reader.text(_MAX_TEXT),
        digest_algorithm=reader.text(_MAX_TEXT),
        digest=reader.take(DIGEST_SIZE),
        size=reader.number("Q", 8),
        stamp_ns=reader.time(),
        attestation=reader.octets(DIGEST_SIZE),
        disclosure=Disclosure(reader.number("B", 1)),
    )


def _write_reference(writer: CdrWriter, reference: DataReference) -> None:
    for text in (reference.topic, reference.type, reference.digest_algorithm):
        writer.text(text)
    writer.raw(reference.digest)
    writer.number("Q", 8, reference.size)
    writer.time(reference.stamp_ns)
    writer.number("I", 4, len(reference.attestation))
    writer.raw(reference.attestation)
    writer.number("B", 1, reference.disclosure)
