"""The signed emergency stop and its release: one message, its signature, and its CDR bytes (msg/EmergencyStop.msg)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import cbor2

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.attest.signer import Signer
from og_ros.attest.verifier import Verifier
from og_ros.errors import AttestationError, RegistryError, SignatureError, StopError
from og_ros.registry.names import check_name, check_text

TYPE: Final = "og_ros/msg/EmergencyStop"
TOPIC: Final = "/og_ros/emergency_stop"
FORMAT_VERSION: Final = 1
EVERY_ROBOT: Final = "*"
NO_CHALLENGE: Final = bytes(16)
MAX_REASON: Final = 256
_MAX_SIZE: Final = 1024
_CONTEXT: Final = b"og_ros emergency stop v1\0"


class StopKind(IntEnum):
    """What is asked for; the numbers are those of the message."""

    STOP = 0
    RELEASE = 1


@dataclass(frozen=True, slots=True)
class StopMessage:
    """A stop or release as it travels; nothing in it is verified. `issued_ns` is the authority's own wall time."""

    kind: StopKind
    robot: str
    key_id: bytes
    sequence: int
    issued_ns: int
    reason: str
    challenge: bytes = NO_CHALLENGE
    signature: bytes = bytes(64)

    def signed_bytes(self) -> bytes:
        """Return what the signature covers; the map's keys stand in the order of RFC 8949, 4.2.1."""
        return _CONTEXT + cbor2.dumps(
            {
                "kind": int(self.kind),
                "robot": self.robot,
                "issued": self.issued_ns,
                "key_id": self.key_id,
                "reason": self.reason,
                "sequence": self.sequence,
                "challenge": self.challenge,
                "format_version": FORMAT_VERSION,
            }
        )


def sign_stop(robot: str, signer: Signer, sequence: int, issued_ns: int, reason: str) -> StopMessage:
    """Return a signed stop of a robot, or of every robot ("*"); raises StopError."""
    return _sign(StopMessage(StopKind.STOP, robot, signer.key_id, sequence, issued_ns, reason), signer)


def sign_release(
    robot: str, signer: Signer, sequence: int, issued_ns: int, reason: str, challenge: bytes
) -> StopMessage:
    """Return one authority's signed release, for the challenge that the robot's gate shows; raises StopError."""
    return _sign(StopMessage(StopKind.RELEASE, robot, signer.key_id, sequence, issued_ns, reason, challenge), signer)


def verify(message: StopMessage, verifier: Verifier) -> None:
    """Check a message's signature with the key that it names; raises StopError."""
    if message.key_id != verifier.key_id:
        raise StopError("it names another key")
    try:
        verifier.verify_signature(message.signed_bytes(), message.signature)
    except SignatureError as error:
        raise StopError(f"its signature does not hold: {error}") from error


def encode(message: StopMessage) -> bytes:
    """Return the CDR payload of a message."""
    writer = CdrWriter()
    writer.number("H", 2, FORMAT_VERSION)
    writer.number("B", 1, message.kind)
    writer.text(message.robot)
    writer.raw(message.key_id)
    writer.number("Q", 8, message.sequence)
    writer.time(message.issued_ns)
    writer.raw(message.challenge)
    writer.text(message.reason)
    writer.raw(message.signature)
    return writer.payload()


def decode(payload: bytes) -> StopMessage:
    """Read a message from its CDR payload; raises StopError for what is malformed or out of bounds."""
    if len(payload) > _MAX_SIZE:
        raise StopError(f"it has {len(payload)} bytes; {_MAX_SIZE} are allowed")
    try:
        reader = CdrReader(payload)
        version, kind = reader.number("H", 2), reader.number("B", 1)
        if version != FORMAT_VERSION or kind not in (StopKind.STOP, StopKind.RELEASE):
            raise StopError(f"it has the format {version} and the kind {kind}, which are unknown")
        message = StopMessage(
            kind=StopKind(kind),
            robot=reader.text(128),
            key_id=reader.take(32),
            sequence=reader.number("Q", 8),
            issued_ns=reader.time(),
            challenge=reader.take(16),
            reason=reader.text(MAX_REASON),
            signature=reader.take(64),
        )
        reader.end()
    except AttestationError as error:
        raise StopError(f"it cannot be read: {error}") from error
    return _checked(message)


def _sign(message: StopMessage, signer: Signer) -> StopMessage:
    return replace(message, signature=signer.sign(_checked(message).signed_bytes()))


def _checked(message: StopMessage) -> StopMessage:
    try:
        check_text("the reason", message.reason, MAX_REASON)
        if message.robot != EVERY_ROBOT:
            check_name("the robot", message.robot)
        if len(message.reason.encode()) > MAX_REASON:
            raise StopError(f"the reason has more than {MAX_REASON} bytes")
    except (RegistryError, UnicodeEncodeError) as error:
        raise StopError(str(error)) from error
    if not 0 <= message.sequence < 2**64 or not 0 <= message.issued_ns < 2**31 * 10**9:
        raise StopError("its sequence or time is out of range")
    if message.kind is StopKind.STOP and message.challenge != NO_CHALLENGE:
        raise StopError("a stop has a challenge; only a release may")
    if message.kind is StopKind.RELEASE and (message.robot == EVERY_ROBOT or message.challenge == NO_CHALLENGE):
        raise StopError("a release is for one robot, and for the challenge that its gate shows")
    return message
