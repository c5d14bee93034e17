"""TPMT_PUBLIC of a signing key and TPMT_SIGNATURE, read strictly, and what a key must be to sign quotes.

TPM 2.0 Part 2, sections 12.2.4 (TPMT_PUBLIC), 8.3 (TPMA_OBJECT) and 11.3.4 (TPMT_SIGNATURE).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.errors import EvidenceError
from og_ros.evidence.tpm.quote import ALG_SHA256
from og_ros.evidence.tpm.wire import Reader, number

Key: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

ALG_RSA: Final = 0x0001
ALG_ECC: Final = 0x0023
ALG_NULL: Final = 0x0010
ALG_RSASSA: Final = 0x0014
ALG_ECDSA: Final = 0x0018
CURVE_P256: Final = 0x0003
RSA_BITS: Final = (2048, 3072, 4096)

FIXED_TPM: Final = 1 << 1
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18
_ATTRIBUTES: Final = 0x000F0CF6
"""All bits of TPMA_OBJECT that have a meaning; the others must be zero."""

# What each attribute of an attestation key is for: said where it lacks.
_REQUIRED: Final = (
    (FIXED_TPM, "fixed_tpm", "is not fixedTPM: it can be copied to another TPM"),
    (FIXED_PARENT, "fixed_parent", "is not fixedParent: it can be given another parent"),
    (SENSITIVE_DATA_ORIGIN, "sensitive_data_origin", "is not sensitiveDataOrigin: it was made outside of the TPM"),
    (RESTRICTED, "restricted", "is not restricted: it signs whatever it is given, forged quotes too"),
    (SIGN, "sign", "is no signing key"),
)


@dataclass(frozen=True, slots=True)
class PublicArea:
    """The public area of a signing key: its attributes, its scheme (RSASSA or ECDSA, SHA-256) and its key."""

    data: bytes
    attributes: int
    key: Key

    @property
    def name(self) -> bytes:
        """The TPM's name of the object: algorithm and SHA-256 of its public area (Part 1, section 16)."""
        return number(ALG_SHA256, 2) + sha256(self.data).digest()


def parse_public(data: bytes) -> PublicArea:
    """Read a TPMT_PUBLIC of an ECDSA P-256 or RSASSA key with SHA-256; raises EvidenceError for anything else."""
    reader = Reader(data, "the attestation key")
    kind, name_alg, attributes = reader.number(2), reader.number(2), reader.number(4)
    if kind not in (ALG_RSA, ALG_ECC) or name_alg != ALG_SHA256 or attributes & ~_ATTRIBUTES:
        raise EvidenceError("the attestation key is of a type, a name algorithm or attributes that are not known here")
    reader.sized(64)  # authorisation policy: who may use the key, not what it is
    if reader.number(2) != ALG_NULL:
        raise EvidenceError("the attestation key has a symmetric algorithm: it is a storage key")
    scheme = (reader.number(2), reader.number(2))
    if scheme != (ALG_RSASSA if kind == ALG_RSA else ALG_ECDSA, ALG_SHA256):
        raise EvidenceError("the attestation key's scheme is not RSASSA or ECDSA with SHA-256")
    key = _rsa(reader) if kind == ALG_RSA else _ecc(reader)
    reader.end()
    return PublicArea(data, attributes, key)


def _rsa(reader: Reader) -> rsa.RSAPublicKey:
    bits, exponent = reader.number(2), reader.number(4) or 65_537
    modulus = reader.sized(max(RSA_BITS) // 8)
    if bits not in RSA_BITS or len(modulus) * 8 != bits or exponent != 65_537:
        raise EvidenceError("the attestation key is no RSA key of 2048, 3072 or 4096 bits with exponent 65537")
    try:
        return rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "big")).public_key()
    except ValueError as error:
        raise EvidenceError("the attestation key has an impossible RSA modulus") from error


def _ecc(reader: Reader) -> ec.EllipticCurvePublicKey:
    if (reader.number(2), reader.number(2)) != (CURVE_P256, ALG_NULL):
        raise EvidenceError("the attestation key is not on P-256")
    x, y = reader.sized(32), reader.sized(32)
    try:
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        return point.public_key()
    except ValueError as error:
        raise EvidenceError("the attestation key's point is not on P-256") from error


def attribute_problem(area: PublicArea) -> tuple[str, str]:
    """Return the code and the sentence of why a key must not sign quotes; two empty texts when it may."""
    for bit, name, consequence in _REQUIRED:
        if not area.attributes & bit:
            return f"attestation_key_not_{name}", f"the attestation key {consequence}"
    if area.attributes & DECRYPT:
        return "attestation_key_decrypts", "the attestation key can decrypt, too; an attestation key only signs"
    return "", ""


def signature_holds(area: PublicArea, message: bytes, signature: bytes) -> bool:
    """Whether a TPMT_SIGNATURE of the key over a message holds; raises EvidenceError when it is malformed."""
    try:
        if isinstance(area.key, rsa.RSAPublicKey):
            reader = _signature(signature, ALG_RSASSA)
            value = reader.sized(max(RSA_BITS) // 8)
            reader.end()
            area.key.verify(value, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            area.key.verify(encode_dss_signature(*ecdsa_values(signature)), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def ecdsa_values(signature: bytes) -> tuple[int, int]:
    """Return r and s of a TPMT_SIGNATURE by ECDSA P-256 with SHA-256; raises EvidenceError for another."""
    reader = _signature(signature, ALG_ECDSA)
    r, s = (int.from_bytes(reader.sized(32), "big") for _ in range(2))
    reader.end()
    return r, s


def _signature(signature: bytes, scheme: int) -> Reader:
    reader = Reader(signature, "the TPM's signature")
    if (reader.number(2), reader.number(2)) != (scheme, ALG_SHA256):
        raise EvidenceError("the TPM's signature is of another scheme than its key's")
    return reader
