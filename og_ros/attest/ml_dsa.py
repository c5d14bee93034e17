"""ML-DSA-65 keys (FIPS 204): the post-quantum half of a log's signatures, in PEM files like every other key.

Tried with `cryptography` 50, whose wheels bring OpenSSL 4; built against a system OpenSSL it needs 3.5 or newer. Where
ML-DSA is missing, every function here raises KeyFileError, which says so.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from og_ros.attest import keys
from og_ros.errors import KeyFileError, SignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey

NAME: Final = "ML-DSA-65"
PUBLIC_SIZE: Final = 1952
SIGNATURE_SIZE: Final = 3309


def generate() -> MLDSA65PrivateKey:
    """Make a private key; its file holds the 32-byte seed."""
    try:
        key: MLDSA65PrivateKey = _module().MLDSA65PrivateKey.generate()
    except UnsupportedAlgorithm as error:
        raise KeyFileError(f"{NAME}: {error}") from error
    return key


def save_private(key: MLDSA65PrivateKey, path: Path) -> None:
    """Write a private key as PKCS#8 PEM, for its owner only; raises KeyFileError as keys.write_owner_only does."""
    keys.write_owner_only(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), path)


def load_private(path: Path) -> MLDSA65PrivateKey:
    """Read a private key that only its owner can read; raises KeyFileError as keys.load_private does."""
    data = keys.read_owner_only(path)
    kind = _module().MLDSA65PrivateKey
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no private key in unencrypted PEM") from error
    if not isinstance(key, kind):
        raise KeyFileError(f"{path} is no {NAME} key; make one: og-ros keys generate --algorithm {NAME}")
    return key  # type: ignore[no-any-return]


def parse_public(pem: str | bytes, name: str = "public key") -> MLDSA65PublicKey:
    """Read a public key from PEM text; raises KeyFileError, naming `name`."""
    kind = _module().MLDSA65PublicKey
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{name} is no public key in PEM") from error
    if not isinstance(key, kind):
        raise KeyFileError(f"{name} is no {NAME} key")
    return key  # type: ignore[no-any-return]


def from_raw(raw: bytes, name: str = "public key") -> MLDSA65PublicKey:
    """Take a public key of 1952 bytes; raises KeyFileError, naming `name`."""
    try:
        key: MLDSA65PublicKey = _module().MLDSA65PublicKey.from_public_bytes(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{name} is no {NAME} key: {error}") from error
    return key


def public_pem(key: MLDSA65PublicKey) -> str:
    """Return a public key as PEM text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def key_id(key: MLDSA65PublicKey) -> bytes:
    """Return the 32-byte id of a public key: SHA-256 of its SubjectPublicKeyInfo (DER), as of any other key."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def verify(key: MLDSA65PublicKey, message: bytes, signature: bytes, context: bytes) -> None:
    """Check a signature made under a FIPS 204 context string; raises SignatureError."""
    try:
        key.verify(signature, message, context)
    except InvalidSignature as error:
        raise SignatureError(f"the {NAME} signature does not match") from error


def _module() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa
    except ImportError as error:
        import cryptography

        raise KeyFileError(f"{NAME} needs cryptography 50 or newer; this is {cryptography.__version__}") from error
    return mldsa
