"""C2SP signed notes (c2sp.org/signed-note): a text, a blank line, and one line per Ed25519 or other signature.

A signature by an unknown key is kept and ignored, so a checkpoint can carry the cosignatures of witnesses.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from og_ros.errors import LogError

ED25519 = 0x01
"""Signature type of a plain Ed25519 note signature."""

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
_LINE_START = "\u2014 "  # em dash, space


def decode_base64(text: str, what: str) -> bytes:
    """Decode standard base64 (RFC 4648 section 4) in its one canonical form. Raises LogError."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError as error:
        raise LogError(f"{what}: not base64: {error}") from None
    if encode_base64(data) != text:
        raise LogError(f"{what}: base64 is not canonical")
    return data


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def check_key_name(name: str) -> None:
    """Raise LogError unless ``name`` may name a note key: no Unicode space, no plus, no control character."""
    if not name:
        raise LogError("key name is empty")
    if any(char.isspace() or char == "+" or char < " " for char in name):
        raise LogError(f"key name {name!r}: must not contain a space, a plus or a control character")
    _utf8(name, "key name")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise LogError(f"{what} is not valid Unicode") from None


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of an Ed25519 note key; its text form, a *vkey*, is ``name+hexid+base64(type || key)``."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != 32:
            raise LogError(f"key {self.name}: an Ed25519 public key has 32 bytes, not {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes SHA-256(name || 0x0A || 0x01 || public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public_key).digest()[:4]

    def format(self) -> str:
        """The vkey string."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([ED25519]) + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """Read a vkey string. Raises LogError when malformed, of another type than Ed25519, or with a wrong key id."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise LogError(f"verifier key {vkey!r}: is not name+id+key")
        name, key_id, encoded = parts
        data = decode_base64(encoded, f"verifier key {name!r}")
        if len(data) != 33 or data[0] != ED25519:
            raise LogError(f"verifier key {name!r}: is not an Ed25519 key (type 0x01, 32 bytes)")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise LogError(f"verifier key {name!r}: key id {key_id!r} does not match the key, {key.key_id.hex()}")
        return key

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey | Ed25519PublicKey) -> VerifierKey:
        """The verifier key of a key under a name."""
        public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
        return cls(name, public.public_bytes(Encoding.Raw, PublicFormat.Raw))


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who claims to have signed, under which 4-byte key id, and the bytes after that id."""

    name: str
    key_id: bytes
    signature: bytes

    def format(self) -> str:
        """The line, with its newline."""
        return f"{_LINE_START}{self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A parsed note. Nothing in it is to be trusted before `verify`."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def format(self) -> str:
        """The note as it is stored and sent."""
        return self.text + "\n" + "".join(signature.format() for signature in self.signatures)

    def with_signature(self, signature: NoteSignature) -> SignedNote:
        """The same note with one more signature, such as a witness's."""
        return replace(self, signatures=(*self.signatures, signature))

    def verify(self, key: VerifierKey) -> None:
        """Check the signature of ``key``; other keys' signatures are ignored.

        Raises LogError when the key has not signed, or when any signature under its name and id is wrong.
        """
        mine = [s for s in self.signatures if s.name == key.name and s.key_id == key.key_id]
        if not mine:
            signers = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in self.signatures)
            raise LogError(f"note is not signed by {key.name}+{key.key_id.hex()}; its signatures are of {signers}")
        public = Ed25519PublicKey.from_public_bytes(key.public_key)
        for signature in mine:
            try:
                public.verify(signature.signature, self.text.encode())
            except InvalidSignature:
                raise LogError(f"note: the signature of {key.name}+{key.key_id.hex()} is wrong") from None


def check_note_text(text: str) -> None:
    """Raise LogError unless ``text`` can be the text of a note: ends in a newline, no other control character."""
    if not text.endswith("\n"):
        raise LogError("note text does not end in a newline")
    if any(char < " " and char != "\n" for char in text):
        raise LogError("note contains a control character")
    _utf8(text, "note")


def parse_note(note: str | bytes) -> SignedNote:
    """Split a note into text and signatures, strictly. Raises LogError; checks no signature."""
    raw = _utf8(note, "note") if isinstance(note, str) else note
    if len(raw) > MAX_NOTE_BYTES:
        raise LogError(f"note has {len(raw)} bytes, more than {MAX_NOTE_BYTES}")
    try:
        content = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LogError(f"note is not UTF-8: {error}") from None
    check_note_text(content)
    body, blank, tail = content.rpartition("\n\n")
    if not blank or not tail:
        raise LogError("note has no blank line followed by signatures")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise LogError(f"note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    return SignedNote(body + "\n", tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    fields = line.removeprefix(_LINE_START).split(" ")
    if not line.startswith(_LINE_START) or len(fields) != 2:
        raise LogError(f"note: malformed signature line {line!r}")
    name, encoded = fields
    check_key_name(name)
    data = decode_base64(encoded, f"note: signature of {name}")
    if len(data) < 5:
        raise LogError(f"note: signature of {name} has {len(data)} bytes, too few for a key id and a signature")
    return NoteSignature(name, data[:4], data[4:])


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> SignedNote:
    """Sign a text with one Ed25519 key under a key name. Raises LogError when text or name can not stand in a note."""
    check_note_text(text)
    verifier = VerifierKey.of(name, key)
    return SignedNote(text, (NoteSignature(name, verifier.key_id, key.sign(text.encode())),))
