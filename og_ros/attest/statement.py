"""The statement: what one attestation says, as plain data, with the bounds of msg/Attestation.msg."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from og_ros.errors import AttestationError

FORMAT_VERSION: Final = 1
DIGEST_SIZE: Final = 32
SESSION_SIZE: Final = 16
NO_DIGEST: Final = bytes(DIGEST_SIZE)
MAX_REFERENCES: Final = 32
MAX_TIME_NS: Final = (2**31 - 1) * 10**9 + 999_999_999
NS_PER_SECOND: Final = 10**9


class Clock(IntEnum):
    """Which clock gave a statement's `start`."""

    SYSTEM = 1
    SIM = 2


class Mode(IntEnum):
    """How an inference is made verifiable; a claim until an audit computes the level from evidence."""

    SIGNED = 1
    OBSERVED = 2
    TEE = 3
    ZK = 4


class Disclosure(IntEnum):
    """What of a data reference an auditor can see."""

    CLEAR = 0
    COMMITTED = 1
    ABSENT = 2


class Algorithm(IntEnum):
    """COSE signature algorithms (RFC 9053) that og_ros signs and verifies."""

    ES256 = -7
    EDDSA = -8


@dataclass(frozen=True, slots=True)
class DataReference:
    """A message that was read or written, by the digest of its CDR bytes (og_ros.attest.digest)."""

    topic: str
    type: str
    digest: bytes
    size: int
    stamp_ns: int = 0
    attestation: bytes = b""
    digest_algorithm: str = "sha256"
    disclosure: Disclosure = Disclosure.CLEAR


@dataclass(frozen=True, slots=True)
class ModelReference:
    """The model that ran, by the SHA-256 of the bytes that were loaded."""

    name: str
    version: str
    digest: bytes
    format: str = "onnx"
    digest_algorithm: str = "sha256"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What executed the model, and the digest of the pre- and post-processing around it."""

    name: str
    version: str
    provider: str = ""
    options: str = ""
    cpu: str = ""
    processing_digest: bytes = NO_DIGEST


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything that a signature covers; fields as in msg/Attestation.msg, times in nanoseconds."""

    robot: str
    stage: str
    node: str
    session: bytes
    sequence: int
    previous: bytes
    model: ModelReference
    runtime: Runtime
    inputs: tuple[DataReference, ...]
    outputs: tuple[DataReference, ...]
    start_ns: int
    clock: Clock
    start_monotonic_ns: int
    duration_ns: int
    signed_at_ns: int
    key_id: bytes
    algorithm: Algorithm
    mode_requested: Mode = Mode.SIGNED
    mode_used: Mode = Mode.SIGNED
    format_version: int = FORMAT_VERSION

    @property
    def is_source(self) -> bool:
        """Whether it says that data began here: a sensor's message, made from no other message."""
        return not self.inputs


@dataclass(frozen=True)
class Attestation:
    """A statement, its signature, the bytes it covers, and the COSE_Sign1 object of all (the log's leaf)."""

    statement: Statement
    signature: bytes
    signed_bytes: bytes
    cose: bytes
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha256(self.cose).digest())

    @classmethod
    def deferred(cls, statement: Statement, signature: bytes, digest: bytes) -> Attestation:
        """Return an attestation of a known digest, whose bytes are put together when somebody asks for them."""
        attestation = object.__new__(cls)
        attestation.__dict__.update(statement=statement, signature=signature, digest=digest)
        return attestation

    def __getattr__(self, name: str) -> Any:
        if name not in ("signed_bytes", "cose"):
            raise AttributeError(name)
        from og_ros.attest.cose import seal

        self.__dict__.update(seal(self.statement, self.signature).__dict__)
        return self.__dict__[name]


# Bounds of the text fields in bytes of UTF-8, as in the .msg files.
TEXT_BOUNDS: Final = {
    "robot": 128, "stage": 128, "node": 255, "topic": 255, "type": 255, "digest_algorithm": 16,
    "model.name": 128, "model.version": 64, "model.format": 32,
    "runtime.name": 64, "runtime.version": 64, "runtime.provider": 64, "runtime.options": 512, "runtime.cpu": 128,
}  # fmt: skip

# Characters that no text field may hold, as a fixed list: which characters are printable changes with each version of
# Unicode, and two verifiers must agree on what is valid. They are the controls, the line breaks, and what hides or
# reorders text where a finding is shown: soft hyphen, zero widths, bidirectional controls, byte order mark, tags.
HIDDEN_CHARACTERS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\uffff\U000e0000-\U000e007f]"
)


def check(statement: Statement) -> None:
    """Raise AttestationError when a field has another type than it should, or is outside msg/Attestation.msg's bounds.

    Types are checked too, so that nothing is signed that cannot be read back, such as a float duration.
    """
    s = statement
    _integer("format_version", s.format_version)
    if s.format_version != FORMAT_VERSION:
        raise AttestationError(f"format_version is {s.format_version}; this software knows {FORMAT_VERSION}")
    for name, value in (("robot", s.robot), ("stage", s.stage), ("node", s.node)):
        _text(name, value, required=True)
    _size("session", s.session, SESSION_SIZE)
    _size("previous", s.previous, DIGEST_SIZE)
    _size("key_id", s.key_id, DIGEST_SIZE)
    _unsigned("sequence", s.sequence)
    _unsigned("start_monotonic_ns", s.start_monotonic_ns)
    _unsigned("duration_ns", s.duration_ns)
    _time("start", s.start_ns)
    _time("signed_at", s.signed_at_ns)
    if (s.sequence == 0) != (s.previous == NO_DIGEST):
        raise AttestationError("previous must be zero at sequence 0 and only there")
    _text("model.name", s.model.name, required=True)
    _text("model.version", s.model.version)
    _text("model.format", s.model.format, required=True)
    _text("digest_algorithm", s.model.digest_algorithm, required=True)
    _size("model.digest", s.model.digest, DIGEST_SIZE)
    for name in ("name", "version", "provider", "options", "cpu"):
        _text(f"runtime.{name}", getattr(s.runtime, name))
    _size("runtime.processing_digest", s.runtime.processing_digest, DIGEST_SIZE)
    for side, references in (("inputs", s.inputs), ("outputs", s.outputs)):
        if type(references) is not tuple:
            raise AttestationError(f"{side} is a {type(references).__name__}; it must be a tuple")
        fewest = 1 if side == "outputs" else 0  # a source, which is where data begins, has no inputs
        if not fewest <= len(references) <= MAX_REFERENCES:
            raise AttestationError(f"{side} has {len(references)} references; {fewest} to {MAX_REFERENCES} are allowed")
        for reference in references:
            _check_reference(side, reference)
    for name, kind in (("clock", Clock), ("mode_requested", Mode), ("mode_used", Mode), ("algorithm", Algorithm)):
        _member(name, kind, getattr(s, name))


def _check_reference(side: str, reference: DataReference) -> None:
    _text("topic", reference.topic, required=True)
    _text("type", reference.type, required=True)
    _text("digest_algorithm", reference.digest_algorithm, required=True)
    _size(f"{side}.digest", reference.digest, DIGEST_SIZE)
    _unsigned("size", reference.size)
    _time("stamp", reference.stamp_ns)
    _bytes(f"{side}.attestation", reference.attestation)
    if reference.attestation:
        if side == "outputs":
            raise AttestationError("an output names no attestation: it is its own attestation's output")
        _size(f"{side}.attestation", reference.attestation, DIGEST_SIZE)
    _member("disclosure", Disclosure, reference.disclosure)
    if (reference.disclosure == Disclosure.ABSENT) != (reference.digest == NO_DIGEST):
        raise AttestationError(f"{side}: a digest is all zero when disclosure is ABSENT, and only then")


def _text(name: str, value: str, required: bool = False) -> None:
    if type(value) is not str:
        raise AttestationError(f"{name} is a {type(value).__name__}; it must be a str")
    if required and not value:
        raise AttestationError(f"{name} is empty")
    if value.isascii():
        size, shown = len(value), value.isprintable()
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise AttestationError(f"{name} is not valid Unicode text") from error
        shown = HIDDEN_CHARACTERS.search(value) is None
    if size > TEXT_BOUNDS[name]:
        raise AttestationError(f"{name} is {size} bytes long; {TEXT_BOUNDS[name]} are allowed")
    if not shown:
        raise AttestationError(f"{name} has a control or hidden character: {value!a}")


def _bytes(name: str, value: bytes) -> None:
    if type(value) is not bytes:
        raise AttestationError(f"{name} is a {type(value).__name__}; it must be bytes")


def _size(name: str, value: bytes, size: int) -> None:
    _bytes(name, value)
    if len(value) != size:
        raise AttestationError(f"{name} is {len(value)} bytes long; it must be {size}")


def _integer(name: str, value: int) -> None:
    if type(value) is not int:
        raise AttestationError(f"{name} is a {type(value).__name__}; it must be an int")


def _unsigned(name: str, value: int) -> None:
    _integer(name, value)
    if not 0 <= value < 2**64:
        raise AttestationError(f"{name} is {value}; it must fit 64 bits without a sign")


def _time(name: str, value: int) -> None:
    _integer(name, value)
    if not 0 <= value <= MAX_TIME_NS:
        raise AttestationError(f"{name} is {value} ns; it must be from 0 to {MAX_TIME_NS} ns")


def _member(name: str, kind: type[IntEnum], value: int) -> None:
    if not isinstance(value, kind):
        raise AttestationError(f"{name} is {value!r}; it must be a member of {kind.__name__}")
