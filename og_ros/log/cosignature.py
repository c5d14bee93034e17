"""C2SP cosignatures (c2sp.org/tlog-cosignature, Ed25519 v1): a witness's dated word that a checkpoint only appends.

A cosignature says that at its time the checkpoint was the largest consistent tree of that log that the witness had
seen. It covers the whole note text of the checkpoint, extension lines too, and not the log's signature.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from og_ros.errors import LogError
from og_ros.log.note import NoteSignature, SignedNote, check_key_name, decode_base64, encode_base64

COSIGNATURE = 0x04
"""Signature type of a timestamped Ed25519 cosignature."""

MAX_TIME_S = (1 << 63) - 1
_SIZE = 8 + 64  # u64 timestamp, Ed25519 signature


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The public half of a cosigning key; its text form (vkey) is ``name+hexid+base64(0x04 || key)``."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.public_key) != 32:
            raise LogError(f"witness {self.name}: an Ed25519 public key has 32 bytes, not {len(self.public_key)}")

    @property
    def key_id(self) -> bytes:
        """The 4 bytes SHA-256(name || 0x0A || 0x04 || public key)[:4]."""
        return sha256(self.name.encode() + b"\n" + bytes([COSIGNATURE]) + self.public_key).digest()[:4]

    def format(self) -> str:
        """The vkey string."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([COSIGNATURE]) + self.public_key)}"

    @classmethod
    def parse(cls, vkey: str) -> WitnessKey:
        """Read a vkey string. Raises LogError when malformed, of another type than 0x04, or with a wrong key id."""
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise LogError(f"witness key {vkey[:200]!r}: is not name+id+key")
        name, key_id, encoded = parts
        data = decode_base64(encoded, f"witness key {name!r}")
        if len(data) != 33 or data[0] != COSIGNATURE:
            raise LogError(f"witness key {name!r}: is not an Ed25519 cosigning key (type 0x04, 32 bytes)")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise LogError(f"witness key {name!r}: key id {key_id!r} does not match the key, {key.key_id.hex()}")
        return key

    @classmethod
    def of(cls, name: str, key: Ed25519PrivateKey | Ed25519PublicKey) -> WitnessKey:
        """The witness key of a key under a name."""
        public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
        return cls(name, public.public_bytes(Encoding.Raw, PublicFormat.Raw))

    def signed(self, signature: NoteSignature) -> bool:
        """Whether a signature line claims to be of this key."""
        return signature.name == self.name and signature.key_id == self.key_id


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A cosignature that was verified: whose, and at which Unix time (s) by the witness's clock."""

    witness: WitnessKey
    time_s: int


def cosigned_message(text: str, time_s: int) -> bytes:
    """The bytes that a witness signs for a checkpoint's note text."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosign(text: str, name: str, key: Ed25519PrivateKey, time_s: int) -> NoteSignature:
    """Cosign a checkpoint's note text. Whoever calls has verified that it only appends to what was cosigned before."""
    if not 0 < time_s <= MAX_TIME_S:
        raise LogError(f"witness {name}: {time_s} is no time to cosign at")
    signature = struct.pack(">Q", time_s) + key.sign(cosigned_message(text, time_s))
    return NoteSignature(name, WitnessKey.of(name, key).key_id, signature)


def verify_cosignature(text: str, signature: NoteSignature, key: WitnessKey) -> Cosignature:
    """Check one signature line of a key over a checkpoint's note text. Raises LogError when it does not hold."""
    what = f"the cosignature of {key.name}+{key.key_id.hex()}"
    if not key.signed(signature):
        raise LogError(f"{what}: the line is of {signature.name}+{signature.key_id.hex()}")
    if len(signature.signature) != _SIZE:
        raise LogError(f"{what} has {len(signature.signature)} bytes, not {_SIZE}")
    time_s = int(struct.unpack_from(">Q", signature.signature)[0])
    if not 0 < time_s <= MAX_TIME_S:
        raise LogError(f"{what} has no time that could be")
    try:
        public = Ed25519PublicKey.from_public_bytes(key.public_key)
        public.verify(signature.signature[8:], cosigned_message(text, time_s))
    except (InvalidSignature, ValueError):
        raise LogError(f"{what} is wrong") from None
    return Cosignature(key, time_s)


def cosignatures(note: SignedNote, keys: Iterable[WitnessKey]) -> tuple[list[Cosignature], list[str]]:
    """The cosignatures of known keys on a note, and what is wrong with those that do not hold; the others are ignored.

    Of several by one key the earliest counts.
    """
    good: dict[WitnessKey, Cosignature] = {}
    bad: list[str] = []
    known = {(key.name, key.key_id): key for key in keys}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        try:
            found = verify_cosignature(note.text, line, key)
        except LogError as error:
            bad.append(str(error))
            continue
        if key not in good or found.time_s < good[key].time_s:
            good[key] = found
    return list(good.values()), bad
