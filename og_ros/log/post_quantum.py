"""ML-DSA-65 signatures on C2SP signed notes: the second line of a checkpoint that is signed hybrid.

C2SP assigns the type byte 0x06 to ML-DSA-44 cosignatures, and none to ML-DSA-65. So this is an extension as
c2sp.org/signed-note provides for it: the type is 0xff and an identifier. The signature is over the text of the note, as
an Ed25519 one is, under a FIPS 204 context string. Verifiers that do not know the key ignore the line.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from og_ros.attest import ml_dsa
from og_ros.errors import KeyFileError, LogError, SignatureError, SignatureMissing
from og_ros.log.note import NoteSignature, SignedNote, check_key_name, decode_base64, encode_base64

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

SIGNATURE_TYPE: Final = b"\xffog-ros/ml-dsa-65"
CONTEXT: Final = b"og-ros/signed-note"


@dataclass(frozen=True, slots=True)
class PostQuantumKey:
    """The public half of an ML-DSA-65 note key (1952 bytes); its vkey is ``name+hexid+base64(type || key)``."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != ml_dsa.PUBLIC_SIZE:
            raise LogError(f"key {self.name}: an {ml_dsa.NAME} public key has {ml_dsa.PUBLIC_SIZE} bytes")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes SHA-256(name || 0x0A || type || public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + SIGNATURE_TYPE + self.public_key).digest()[:4]

    def format(self) -> str:
        """The vkey string."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(SIGNATURE_TYPE + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> PostQuantumKey:
        """Read a vkey string. Raises LogError when malformed, of another type, or with a wrong key id."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise LogError(f"verifier key {vkey[:60]!r}: is not name+id+key")
        name, key_id, encoded = parts
        data = decode_base64(encoded, f"verifier key {name!r}")
        if not data.startswith(SIGNATURE_TYPE):
            raise LogError(f"verifier key {name!r}: is not an {ml_dsa.NAME} key (type 0xff og-ros/ml-dsa-65)")
        key = cls(name, data.removeprefix(SIGNATURE_TYPE))
        if key.key_id.hex() != key_id:
            raise LogError(f"verifier key {name!r}: key id {key_id!r} does not match the key, {key.key_id.hex()}")
        return key

    @classmethod
    def of(cls, name: str, key: MLDSA65PublicKey) -> PostQuantumKey:
        """The verifier key of a key under a name."""
        return cls(name, key.public_bytes_raw())

    def verify(self, note: SignedNote) -> None:
        """Check this key's signature on a note; those of others are ignored.

        Raises SignatureMissing when the key has not signed, LogError when a signature under its name and id is wrong.
        """
        who = f"{ml_dsa.NAME} key {self.name}+{self.key_id.hex()}"
        mine = [s for s in note.signatures if s.name == self.name and s.key_id == self.key_id]
        if not mine:
            raise SignatureMissing(f"note is not signed by the {who}")
        try:
            public = ml_dsa.from_raw(self.public_key, f"key {self.name}")
            for signature in mine:
                ml_dsa.verify(public, note.text.encode(), signature.signature, CONTEXT)
        except (KeyFileError, SignatureError) as error:
            raise LogError(f"note: the signature of the {who} is wrong: {error}") from error


def sign_line(text: str, name: str, key: MLDSA65PrivateKey) -> NoteSignature:
    """Return the signature line of a key under a name for a note's text."""
    verifier = PostQuantumKey.of(name, key.public_key())
    return NoteSignature(name, verifier.key_id, key.sign(text.encode(), CONTEXT))
