"""The wire form of msg/Evidence: CDR read and written without ROS, always by our own definition of the type."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.attest.statement import HIDDEN_CHARACTERS
from og_ros.errors import AttestationError, EvidenceError
from og_ros.evidence.binding import Context
from og_ros.evidence.interface import Evidence

EVIDENCE_TYPE: Final = "og_ros/msg/Evidence"
EVIDENCE_SUFFIX: Final = "/evidence"
_ATTESTATION_SUFFIX: Final = "/attestation"
MAX_DOCUMENT: Final = 262_144
MAX_KEY: Final = 1024
MAX_NONCE: Final = 64
_MAX_NAME: Final = 512
_MAX_FORMAT: Final = 64
_MANIFEST_SIZE: Final = 32
_MAX_SIZE: Final = MAX_DOCUMENT + 8192


@dataclass(frozen=True, slots=True)
class EvidenceMessage:
    """Evidence, and the node that says that it has the key."""

    evidence: Evidence
    node: str

    @property
    def key_id(self) -> bytes:
        """The id of the key that the evidence is said to be for, as attestations name it."""
        return sha256(self.evidence.key).digest()


def evidence_topic(attestation_topic: str) -> str:
    """Return where the evidence of a key goes: beside the attestations that it signs."""
    return attestation_topic.removesuffix(_ATTESTATION_SUFFIX) + EVIDENCE_SUFFIX


def encode_message(message: EvidenceMessage) -> bytes:
    """Return the serialised message; raises EvidenceError for what is out of its bounds."""
    evidence, context = message.evidence, message.evidence.context
    _check_names(message)
    if len(context.manifest) != _MANIFEST_SIZE or not 0 <= evidence.collected_at_ns < 2**31 * 10**9:
        raise EvidenceError("the manifest's digest is not 32 bytes long, or the time of collection is out of range")
    fields = (("key", evidence.key, MAX_KEY), ("nonce", evidence.nonce, MAX_NONCE))
    for name, data, limit in (*fields, ("document", evidence.document, MAX_DOCUMENT)):
        if len(data) > limit:
            raise EvidenceError(f"the {name} is {len(data)} bytes long; a message carries {limit}")
    writer = CdrWriter()
    writer.time(evidence.collected_at_ns)
    for text in (context.robot, context.stage, message.node, evidence.format):
        writer.text(text)
    for data in (evidence.key, evidence.nonce):
        writer.number("I", 4, len(data))
        writer.raw(data)
    writer.raw(context.manifest)
    writer.number("I", 4, len(evidence.document))
    writer.raw(evidence.document)
    return writer.payload()


def decode_message(payload: bytes | memoryview) -> EvidenceMessage:
    """Read a serialised og_ros/msg/Evidence; raises EvidenceError when malformed. Nothing in it is checked."""
    size = memoryview(payload).nbytes
    if size > _MAX_SIZE:
        raise EvidenceError(f"the message is {size} bytes long; {_MAX_SIZE} are allowed")
    try:
        reader = CdrReader(payload)
        collected_at_ns = reader.time()
        robot, stage, node = reader.text(_MAX_NAME), reader.text(_MAX_NAME), reader.text(_MAX_NAME)
        evidence_format = reader.text(_MAX_FORMAT)
        key, nonce = reader.octets(MAX_KEY), reader.octets(MAX_NONCE)
        manifest = reader.take(_MANIFEST_SIZE)
        document = reader.octets(MAX_DOCUMENT)
        reader.end()
    except AttestationError as error:
        raise EvidenceError(str(error)) from error
    context = Context(robot, stage, manifest)
    message = EvidenceMessage(Evidence(evidence_format, document, key, nonce, context, collected_at_ns), node)
    _check_names(message)
    return message


def _check_names(message: EvidenceMessage) -> None:
    """Refuse names that are too long, or that a terminal would not show as what they are."""
    evidence, context = message.evidence, message.evidence.context
    names = (("robot", context.robot), ("stage", context.stage), ("node", message.node))
    for name, text, limit in (*((n, t, _MAX_NAME) for n, t in names), ("format", evidence.format, _MAX_FORMAT)):
        if HIDDEN_CHARACTERS.search(text) or len(text.encode()) > limit:
            raise EvidenceError(f"{name} is longer than {limit} bytes, or has a character that cannot be seen")
