"""Signers: what makes an attestation's signature. A software key here; hardware keys fit the same protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from og_ros.attest import keys
from og_ros.attest.statement import Algorithm

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)


class Signer(Protocol):
    """A key that signs: its id, its one algorithm, its public half."""

    @property
    def key_id(self) -> bytes: ...
    @property
    def algorithm(self) -> Algorithm: ...
    @property
    def public_key(self) -> keys.PublicKey: ...
    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature: r || s with low s for ES256 (RFC 9053 section 2.1), R || S for EdDSA."""


class SoftwareSigner:
    """A key held in this process's memory. Nonces are deterministic (RFC 6979), s is normalised to its low half."""

    def __init__(self, private_key: keys.PrivateKey) -> None:
        self._key = private_key
        self.algorithm = keys.algorithm_of(private_key)
        self.public_key: keys.PublicKey = private_key.public_key()
        self.key_id = keys.key_id(self.public_key)

    @classmethod
    def load(cls, path: Path) -> SoftwareSigner:
        """Read a PEM key file; raises KeyFileError as og_ros.attest.keys.load_private does."""
        return cls(keys.load_private(path))

    def sign(self, message: bytes) -> bytes:
        """Sign a message; see Signer.sign."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, _DETERMINISTIC))
        if s > P256_ORDER // 2:
            s = P256_ORDER - s
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
