"""Signature verification: the registered key decides the algorithm, and one message has one valid signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.attest import cose, keys
from og_ros.attest.signer import P256_ORDER
from og_ros.attest.statement import Attestation
from og_ros.errors import SignatureError

_ECDSA: Final = ec.ECDSA(hashes.SHA256())


class Verifier:
    """Checks signatures of one public key, and knows what an attestation must say to be of that key.

    Raises KeyFileError for a key that is neither P-256 nor Ed25519.
    """

    def __init__(self, public_key: keys.PublicKey) -> None:
        self.algorithm = keys.algorithm_of(public_key)
        self.key_id = keys.key_id(public_key)
        self._check = _ed25519(public_key) if isinstance(public_key, ed25519.Ed25519PublicKey) else _es256(public_key)

    def verify(self, attestation: Attestation) -> None:
        """Check an attestation; raises SignatureError as `verify` does."""
        statement = attestation.statement
        if statement.key_id != self.key_id:
            raise SignatureError("the attestation names another key")
        if statement.algorithm != self.algorithm:
            raise SignatureError(f"the attestation says {statement.algorithm.name}, which is not the key's algorithm")
        self.verify_signature(attestation.signed_bytes, attestation.signature)

    def verify_signature(self, message: bytes, signature: bytes) -> None:
        """Check a 64-byte signature of a message; raises SignatureError with the reason when it does not hold."""
        if len(signature) != cose.SIGNATURE_SIZE:
            raise SignatureError(f"the signature is {len(signature)} bytes long; it must be {cose.SIGNATURE_SIZE}")
        try:
            self._check(message, signature)
        except InvalidSignature as error:
            raise SignatureError("the signature does not match the statement") from error


def verify_signature(public_key: keys.PublicKey, message: bytes, signature: bytes) -> None:
    """Check a 64-byte signature of a message.

    Raises SignatureError with the reason when it does not hold, KeyFileError for a key that is not P-256 or Ed25519.
    """
    Verifier(public_key).verify_signature(message, signature)


def verify(attestation: Attestation, public_key: keys.PublicKey) -> None:
    """Check an attestation against the key that it must have been signed with.

    Raises SignatureError when the statement names another key or another algorithm than the key's own, or when the
    signature does not hold. Nothing else is checked: whether the key is certified is the registry's word.
    """
    Verifier(public_key).verify(attestation)


def _ed25519(public_key: ed25519.Ed25519PublicKey) -> Callable[[bytes, bytes], None]:
    def check(message: bytes, signature: bytes) -> None:
        public_key.verify(signature, message)

    return check


def _es256(public_key: ec.EllipticCurvePublicKey) -> Callable[[bytes, bytes], None]:
    def check(message: bytes, signature: bytes) -> None:
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        if not 0 < r < P256_ORDER or not 0 < s < P256_ORDER:
            raise SignatureError("the signature's numbers are out of range")
        if s > P256_ORDER // 2:
            raise SignatureError("the signature is not in low-S form, so its record could be made to look like another")
        public_key.verify(encode_dss_signature(r, s), message, _ECDSA)

    return check
