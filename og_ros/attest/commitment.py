"""Commitments: a digest that says nothing of its message until the salt is shown, and links a chain all the same.

    salt       = HMAC-SHA256(secret, digest algorithm || 0x00 || digest)
    commitment = SHA-256("og_ros commitment v1" || 0x00 || salt || digest)

The salt is derived and not drawn, so that the producer and the consumer of a message, who share the robot's secret,
give the same commitment, and an audit joins the two by equality. To reveal one message, its salt is shown; that tells
nothing of any other. Equal messages have equal commitments, which everybody can see.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from og_ros.attest.keys import read_owner_only, write_owner_only
from og_ros.attest.statement import DIGEST_SIZE, NO_DIGEST, DataReference, Disclosure
from og_ros.errors import AttestationError, KeyFileError

SECRET_SIZE: Final = 32
SALT_SIZE: Final = 32
_CONTEXT: Final = b"og_ros commitment v1\0"


def salt_of(secret: bytes, digest: bytes, algorithm: str = "sha256") -> bytes:
    """Return the 32-byte salt of a message, by its digest, under a robot's secret."""
    if len(secret) != SECRET_SIZE:
        raise AttestationError(f"a disclosure secret has {SECRET_SIZE} bytes; this one has {len(secret)}")
    return hmac.digest(secret, algorithm.encode() + b"\0" + digest, "sha256")


def commitment_of(salt: bytes, digest: bytes) -> bytes:
    """Return the 32-byte commitment to a message; raises AttestationError for a salt or digest of another size."""
    if len(salt) != SALT_SIZE or len(digest) != DIGEST_SIZE:
        raise AttestationError(f"a salt and a digest have 32 bytes each; these have {len(salt)} and {len(digest)}")
    return hashlib.sha256(_CONTEXT + salt + digest).digest()


def conceal(reference: DataReference, disclosure: Disclosure, secret: bytes = b"") -> DataReference:
    """Return a reference in clear as it is to be shown: as it is, committed to, or absent (no digest, no size)."""
    if disclosure == Disclosure.CLEAR:
        return reference
    if disclosure == Disclosure.ABSENT:
        return replace(reference, digest=NO_DIGEST, size=0, disclosure=disclosure)
    salt = salt_of(secret, reference.digest, reference.digest_algorithm)
    return replace(reference, digest=commitment_of(salt, reference.digest), disclosure=disclosure)


def make_secret(path: Path) -> None:
    """Make a robot's disclosure secret: 32 random bytes in a new file, mode 0600. Raises KeyFileError."""
    write_owner_only(os.urandom(SECRET_SIZE), path)


def load_secret(path: Path) -> bytes:
    """Read a disclosure secret; raises KeyFileError for another size, or when others can read the file."""
    secret = read_owner_only(path)
    if len(secret) != SECRET_SIZE:
        raise KeyFileError(f"{path} is {len(secret)} bytes long; a secret has {SECRET_SIZE}: og-ros keys secret")
    return secret
