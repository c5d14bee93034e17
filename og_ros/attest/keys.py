"""Key files: PEM private keys that only their owner may read, public keys, and key ids."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from og_ros.attest.statement import Algorithm
from og_ros.errors import KeyFileError

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_MAX_FILE_SIZE: Final = 16_384
# y-coordinates of Ed25519's points of small order, canonical and not (as in libsodium's ge25519_has_small_order).
_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)


def generate(algorithm: Algorithm = Algorithm.ES256) -> PrivateKey:
    """Make a private key: P-256 for ES256, Ed25519 for EdDSA."""
    if algorithm == Algorithm.EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def algorithm_of(key: PrivateKey | PublicKey, name: str = "this key") -> Algorithm:
    """Return the one algorithm that a key signs with; raises KeyFileError, naming `name`, for a kind not used here."""
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return Algorithm.EDDSA
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)) and key.curve.name == "secp256r1":
        return Algorithm.ES256
    kind = getattr(getattr(key, "curve", None), "name", type(key).__name__.rstrip("_"))
    raise KeyFileError(f"{name} is of the kind {kind}; make one on P-256 (ES256) or Ed25519 (EdDSA)")


def spki(key: PublicKey) -> bytes:
    """Return a public key's SubjectPublicKeyInfo (DER)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: PublicKey) -> bytes:
    """Return the 32-byte id of a public key: SHA-256 of its SubjectPublicKeyInfo (DER)."""
    return hashlib.sha256(spki(key)).digest()


def save_private(key: PrivateKey, path: Path) -> None:
    """Write a private key as PKCS#8 PEM; as `write_owner_only`."""
    write_owner_only(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), path)


def write_owner_only(data: bytes, path: Path) -> None:
    """Write a new file with mode 0600, durably; raises KeyFileError, also when the file exists.

    Where the writing fails, such as on a full disk, no part of a file is left.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)  # the name of the file is in its directory
        finally:
            os.close(directory)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists already; a key is never overwritten: choose another path") from error
    except OSError as error:
        raise KeyFileError(f"cannot write the key {path}: {error.strerror}") from error


def load_private(path: Path) -> PrivateKey:
    """Read a private key that only its owner can read.

    Raises KeyFileError when the file is missing, readable or writable by group or others, owned by another user
    (other than root), or holds no P-256 or Ed25519 key.
    """
    data = read_owner_only(path)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} holds no private key in unencrypted PEM") from error
    algorithm_of(key, str(path))  # type: ignore[arg-type]  # of whatever kind: that is what it checks
    return key  # type: ignore[return-value]


def read_owner_only(path: Path) -> bytes:
    """Read a small file that only its owner may read; raises KeyFileError as `load_private` does."""
    data, status = _read(path)
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyFileError(f"{path} has mode {mode:04o}, so others can use the key: chmod 600 {path}")
    if status.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"{path} belongs to user {status.st_uid}; a key must belong to the user that signs with it")
    return data


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Read a small regular file and its status from one descriptor, without waiting for the writer of a pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _MAX_FILE_SIZE) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise KeyFileError(f"cannot read the key {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path} is not a regular file; name the PEM file of a key")
    return data, status


def public_pem(key: PublicKey) -> str:
    """Return a public key as PEM text."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def parse_public(pem: str | bytes, name: str = "public key") -> PublicKey:
    """Read a public key from PEM text; raises KeyFileError, naming `name`, when it holds no P-256 or Ed25519 key."""
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{name} is no public key in PEM") from error
    algorithm_of(key, name)  # type: ignore[arg-type]  # of whatever kind: that is what it checks
    if isinstance(key, ed25519.Ed25519PublicKey) and _has_small_order(key):
        raise KeyFileError(f"{name} is a weak Ed25519 key: one signature of it would hold for any message")
    return key  # type: ignore[return-value]


def _has_small_order(key: ed25519.Ed25519PublicKey) -> bool:
    """Return whether a key is one of the points whose order divides the cofactor 8, in any of their encodings."""
    point = bytearray(key.public_bytes_raw())
    point[31] &= 0x7F  # the sign of x, which does not matter here
    return bytes(point) in _SMALL_ORDER


def load_public(path: Path) -> PublicKey:
    """Read a public key from a PEM file (at most 16 KiB); raises KeyFileError when it holds no P-256 or Ed25519 key."""
    return parse_public(_read(path)[0], str(path))
