"""What sealed recordings are made of, as plain data and as CDR: SealedMessage, Seal, TopicDefinition.

Each has one form only, which is what og_ros writes: little-endian, gaps zero, nothing after its end but at most three
zero bytes. So no bit of a record can be changed without its being noticed, here or by the tag of its ciphertext.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.attest.commitment import SALT_SIZE
from og_ros.attest.statement import DIGEST_SIZE, HIDDEN_CHARACTERS, Disclosure
from og_ros.errors import AttestationError

SEALED_TYPE: Final = "og_ros/msg/SealedMessage"
SEAL_TYPE: Final = "og_ros/msg/Seal"
DEFINITION_TYPE: Final = "og_ros/msg/TopicDefinition"
SEAL_TOPIC: Final = "/og_ros/seal"
DEFINITION_TOPIC: Final = "/og_ros/seal/definitions"
# In metadata.yaml (custom_data): the serialised Seals again, as a JSON list of base64.
SEALS_KEY: Final = "og_ros.seals"

FORMAT_VERSION: Final = 1
SEAL_SIZE: Final = 16
TAG_SIZE: Final = 16
WRAPPED_SIZE: Final = 113
MAX_RECIPIENTS: Final = 64
MAX_CIPHERTEXT: Final = 2**31
_MAX_NAME: Final = 255
_MAX_ALGORITHM: Final = 16
_MAX_HASH: Final = 128
_MAX_DEFINITION: Final = 2**20


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed message as everybody can read it; fields as in msg/SealedMessage.msg, the ciphertext with its tag."""

    seal: bytes
    key_number: int
    counter: int
    type: str
    digest: bytes
    size: int
    ciphertext: bytes | memoryview
    stamp_ns: int = 0
    digest_algorithm: str = "sha256"
    disclosure: Disclosure = Disclosure.CLEAR

    def head(self) -> bytes:
        """Return the record's bytes up to the ciphertext, which its tag covers."""
        writer = CdrWriter()
        writer.number("H", 2, FORMAT_VERSION)
        writer.raw(self.seal)
        writer.number("I", 4, self.key_number)
        writer.number("Q", 8, self.counter)
        writer.text(self.type)
        writer.text(self.digest_algorithm)
        writer.number("B", 1, self.disclosure)
        writer.raw(self.digest)
        writer.number("Q", 8, self.size)
        writer.time(self.stamp_ns)
        return writer.payload()  # the time ends on a multiple of 4, so there is no padding


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A content key for one recipient (the id of a P-256 key)."""

    recipient: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """A content key, wrapped for its recipients; fields as in msg/Seal.msg."""

    seal: bytes
    key_number: int
    made_ns: int
    keys: tuple[WrappedKey, ...]


@dataclass(frozen=True, slots=True)
class TopicDefinition:
    """A topic's type, its type hash and its definition, as the unsealed recording will say them."""

    topic: str
    type: str
    type_hash: str
    definition: str


def read_sealed(payload: bytes | memoryview) -> Sealed:
    """Read a serialised og_ros/msg/SealedMessage; its ciphertext is a view of the payload.

    Raises AttestationError for anything but the one form of a record within its bounds. Nothing is decrypted, so the
    digest is not checked.
    """
    reader = CdrReader(payload)
    _check_version(reader.number("H", 2))
    seal = reader.take(SEAL_SIZE)
    key_number, counter = reader.number("I", 4), reader.number("Q", 8)
    kind, algorithm = reader.text(_MAX_NAME), reader.text(_MAX_ALGORITHM)
    disclosure = reader.number("B", 1)
    if disclosure not in (Disclosure.CLEAR, Disclosure.COMMITTED):
        raise AttestationError(f"the sealed message has the disclosure {disclosure}; it must be clear or committed")
    digest, size, stamp_ns = reader.take(DIGEST_SIZE), reader.number("Q", 8), reader.time()
    length = reader.number("I", 4)
    if length > MAX_CIPHERTEXT:
        raise AttestationError(f"the sealed message has {length} bytes of ciphertext; {MAX_CIPHERTEXT} are allowed")
    ciphertext = reader.span(length)
    reader.end()
    sealed = Sealed(
        seal, key_number, counter, kind, digest, size, ciphertext, stamp_ns, algorithm, Disclosure(disclosure)
    )
    _check_texts(kind, algorithm)
    hidden = length - TAG_SIZE - (SALT_SIZE if disclosure == Disclosure.COMMITTED else 0)
    if size != (hidden + 3) & ~3 or hidden < 4:
        raise AttestationError(f"the sealed message says {size} bytes, which its {length} of ciphertext do not hold")
    head = sealed.head()
    if memoryview(payload)[: len(head)] != head:
        raise AttestationError("the sealed message is not in the one form that a recorder writes")
    return sealed


def write_sealed(sealed: Sealed) -> bytes:
    """Return the serialised og_ros/msg/SealedMessage."""
    length = len(sealed.ciphertext)
    parts = (sealed.head(), length.to_bytes(4, "little"), sealed.ciphertext, bytes(-length % 4))
    return b"".join(parts)


def read_seal(payload: bytes | memoryview) -> Seal:
    """Read a serialised og_ros/msg/Seal; raises AttestationError for anything but its one form within its bounds."""
    reader = CdrReader(payload)
    _check_version(reader.number("H", 2))
    seal = reader.take(SEAL_SIZE)
    key_number, made_ns = reader.number("I", 4), reader.time()
    count = reader.number("I", 4)
    if not 1 <= count <= MAX_RECIPIENTS:
        raise AttestationError(f"the seal has {count} recipients; 1 to {MAX_RECIPIENTS} are allowed")
    keys = tuple(WrappedKey(reader.take(DIGEST_SIZE), reader.take(WRAPPED_SIZE)) for _ in range(count))
    reader.end()
    found = Seal(seal, key_number, made_ns, keys)
    _check_form(payload, write_seal(found))
    return found


def write_seal(seal: Seal) -> bytes:
    """Return the serialised og_ros/msg/Seal."""
    writer = CdrWriter()
    writer.number("H", 2, FORMAT_VERSION)
    writer.raw(seal.seal)
    writer.number("I", 4, seal.key_number)
    writer.time(seal.made_ns)
    writer.number("I", 4, len(seal.keys))
    for key in seal.keys:
        writer.raw(key.recipient)
        writer.raw(key.wrapped)
    return writer.payload()


def read_definition(payload: bytes | memoryview) -> TopicDefinition:
    """Read a serialised og_ros/msg/TopicDefinition; raises AttestationError as `read_seal` does."""
    reader = CdrReader(payload)
    topic, kind = reader.text(_MAX_NAME), reader.text(_MAX_NAME)
    found = TopicDefinition(topic, kind, reader.text(_MAX_HASH), reader.text(_MAX_DEFINITION))
    reader.end()
    _check_form(payload, write_definition(found))
    return found


def write_definition(definition: TopicDefinition) -> bytes:
    """Return the serialised og_ros/msg/TopicDefinition."""
    writer = CdrWriter()
    for text in (definition.topic, definition.type, definition.type_hash, definition.definition):
        writer.text(text)
    return writer.payload()


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise AttestationError(f"the sealed record has format version {version}; this software knows {FORMAT_VERSION}")


def _check_texts(*texts: str) -> None:
    for text in texts:
        if not text or HIDDEN_CHARACTERS.search(text):
            raise AttestationError(f"the sealed message has an empty text or a hidden character: {text!a}")


def _check_form(payload: bytes | memoryview, form: bytes) -> None:
    # They can differ in the zero bytes after the end only, which the reader has checked.
    size = min(len(payload), len(form))
    if memoryview(payload)[:size] != form[:size]:
        raise AttestationError("the sealed record is not in the one form that a recorder writes")
