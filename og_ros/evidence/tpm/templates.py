"""Public areas of the keys that og_ros makes in a TPM, as bytes (TPMT_PUBLIC), and the digest of a PCR policy."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from og_ros.evidence.tpm import public_area as areas
from og_ros.evidence.tpm.quote import ALG_SHA256, PCR_COUNT
from og_ros.evidence.tpm.wire import number, sized

KeyType: TypeAlias = Literal["ecc", "rsa"]

_USER_WITH_AUTH: Final = 1 << 6
_NO_DA: Final = 1 << 10
_OWN: Final = areas.FIXED_TPM | areas.FIXED_PARENT | areas.SENSITIVE_DATA_ORIGIN
_KEYEDHASH: Final = 0x0008
_AES, _CFB = 0x0006, 0x0043
_POLICY_PCR: Final = 0x0000017F


def attestation_key(kind: KeyType = "ecc") -> bytes:
    """Return the template of the attestation key: restricted, signs only; P-256 or RSA-2048 with SHA-256."""
    attributes = _OWN | _USER_WITH_AUTH | _NO_DA | areas.RESTRICTED | areas.SIGN
    return _rsa_signer(attributes) if kind == "rsa" else _ecc_signer(attributes, b"")


def signing_key(policy: bytes = b"") -> bytes:
    """Return the template of a P-256 key that signs what it is given; with a policy, only under that policy."""
    attributes = _OWN | _NO_DA | areas.SIGN | (0 if policy else _USER_WITH_AUTH)
    return _ecc_signer(attributes, policy)


def storage_key() -> bytes:
    """Return the template of the parent of what is kept outside of the TPM: P-256, AES-128."""
    attributes = _OWN | _USER_WITH_AUTH | _NO_DA | areas.RESTRICTED | areas.DECRYPT
    cipher = number(_AES, 2) + number(128, 2) + number(_CFB, 2)
    null = number(areas.ALG_NULL, 2)
    parameters = cipher + null + number(areas.CURVE_P256, 2) + null
    return _head(areas.ALG_ECC, attributes, b"") + parameters + sized(b"") + sized(b"")


def sealed_data(policy: bytes) -> bytes:
    """Return the template of data that only opens under a policy."""
    attributes = areas.FIXED_TPM | areas.FIXED_PARENT | _NO_DA
    return _head(_KEYEDHASH, attributes, policy) + number(areas.ALG_NULL, 2) + sized(b"")


def pcr_selection(pcrs: Iterable[int]) -> bytes:
    """Return a TPML_PCR_SELECTION of PCRs of the SHA-256 bank."""
    bits = sum(1 << index for index in set(pcrs))
    return number(1, 4) + number(ALG_SHA256, 2) + b"\x03" + bits.to_bytes(PCR_COUNT // 8, "little")


def pcr_policy(pcrs: Iterable[int], pcr_digest: bytes) -> bytes:
    """Return the policy digest of one TPM2_PolicyPCR (Part 3, section 23.7)."""
    return sha256(bytes(32) + number(_POLICY_PCR, 4) + pcr_selection(pcrs) + pcr_digest).digest()


def _head(kind: int, attributes: int, policy: bytes) -> bytes:
    return number(kind, 2) + number(ALG_SHA256, 2) + number(attributes, 4) + sized(policy)


def _ecc_signer(attributes: int, policy: bytes) -> bytes:
    null = number(areas.ALG_NULL, 2)
    scheme = number(areas.ALG_ECDSA, 2) + number(ALG_SHA256, 2)
    parameters = null + scheme + number(areas.CURVE_P256, 2) + null
    return _head(areas.ALG_ECC, attributes, policy) + parameters + sized(b"") + sized(b"")


def _rsa_signer(attributes: int) -> bytes:
    scheme = number(areas.ALG_RSASSA, 2) + number(ALG_SHA256, 2)
    parameters = number(areas.ALG_NULL, 2) + scheme + number(2048, 2) + number(0, 4)
    return _head(areas.ALG_RSA, attributes, b"") + parameters + sized(b"")
