"""TPM2_MakeCredential in Python: a secret that only the TPM with an endorsement key and a named key in it can open.

TPM 2.0 Part 1, sections 11.4.10 (KDFa, KDFe), 24 (credential protection), B.10.4 and C.6.4 (secret exchange by RSA and
ECC). The parameters are those of the default templates of the TCG EK Credential Profile: RSA-2048 and P-256 with
SHA-256 and AES-128, P-384 with SHA-384 and AES-256.
"""

from __future__ import annotations

import hmac
import os
from hashlib import new
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from og_ros.evidence.tpm.ek_certificate import EndorsementKey
from og_ros.evidence.tpm.wire import number, sized

SECRET_SIZE: Final = 32
_IDENTITY: Final = b"IDENTITY\x00"
_BLOCK: Final = 16


def make_credential(key: EndorsementKey, name: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET for TPM2_ActivateCredential.

    `name` is the TPM's name of the key that must be in the same TPM; `secret` is at most 32 bytes.
    """
    large = isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp384r1"
    algorithm, cipher_bits = ("sha384", 256) if large else ("sha256", 128)
    seed, encrypted = _by_rsa(key) if isinstance(key, rsa.RSAPublicKey) else _by_ecdh(key, algorithm)
    identity = _cfb(kdf_a(algorithm, seed, b"STORAGE", name, cipher_bits), sized(secret))
    size_bits = 8 * new(algorithm).digest_size
    integrity = hmac.digest(kdf_a(algorithm, seed, b"INTEGRITY", b"", size_bits), identity + name, algorithm)
    return sized(integrity) + identity, encrypted


def kdf_a(algorithm: str, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """Return KDFa: SP 800-108 in counter mode with HMAC; the label's NUL is added here."""
    found = b""
    while 8 * len(found) < bits:
        counter = len(found) // new(algorithm).digest_size + 1
        found += hmac.digest(key, number(counter, 4) + label + b"\x00" + context + number(bits, 4), algorithm)
    return found[: bits // 8]


def kdf_e(algorithm: str, shared: bytes, label: bytes, party_u: bytes, party_v: bytes) -> bytes:
    """Return KDFe (SP 800-56A) for one digest's worth of bits; the label ends with its NUL."""
    return new(algorithm, number(1, 4) + shared + label + party_u + party_v).digest()


def _by_rsa(key: rsa.RSAPublicKey) -> tuple[bytes, bytes]:
    seed = os.urandom(32)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), _IDENTITY)
    return seed, key.encrypt(seed, oaep)


def _by_ecdh(key: ec.EllipticCurvePublicKey, algorithm: str) -> tuple[bytes, bytes]:
    size = key.curve.key_size // 8
    ephemeral = ec.generate_private_key(key.curve)
    point, peer = ephemeral.public_key().public_numbers(), key.public_numbers()
    x, y = number(point.x, size), number(point.y, size)
    seed = kdf_e(algorithm, ephemeral.exchange(ec.ECDH(), key), _IDENTITY, x, number(peer.x, size))
    return seed, sized(x) + sized(y)


def _cfb(key: bytes, data: bytes) -> bytes:
    """Encrypt in CFB mode with a zero IV, which the fresh key allows; `cryptography` retires its own CFB."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    found, block = b"", bytes(_BLOCK)
    for at in range(0, len(data), _BLOCK):
        stream = encryptor.update(block)
        block = bytes(a ^ b for a, b in zip(data[at : at + _BLOCK], stream, strict=False))
        found += block
    return found
