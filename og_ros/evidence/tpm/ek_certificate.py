"""Certificates of endorsement keys: the chain to a maker's root, and what they say of the TPM.

After the TCG EK Credential Profile 2.5: such a key only decrypts, so its certificate signs nothing and names its TPM in
the subject's alternative name, which may be critical. Neither revocation nor name constraints are checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from og_ros.errors import EvidenceError
from og_ros.evidence import certificate_chain
from og_ros.evidence.certificate_chain import ChainError, nanoseconds, why_not_issued

EndorsementKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MAX_CHAIN: Final = 6
SIMULATORS: Final = ("swtpm", "simulator")
_EK_USAGE: Final = x509.ObjectIdentifier("2.23.133.8.1")
_NAMES: Final = {"2.23.133.2.1": "manufacturer", "2.23.133.2.2": "model", "2.23.133.2.3": "firmware"}
_KNOWN: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectAlternativeName)


@dataclass(frozen=True)
class Endorsement:
    """A chain that holds: the root's name in the policy, when it ends (ns), and what the certificate calls the TPM."""

    root: str
    end_ns: int
    tpm: Mapping[str, str]

    @property
    def simulated(self) -> bool:
        """Whether the certificate says that its TPM is a program."""
        return any(word in text.lower() for text in self.tpm.values() for word in SIMULATORS)


@lru_cache(maxsize=64)
def load(der: bytes) -> x509.Certificate:
    """Parse a certificate; raises EvidenceError."""
    try:
        return certificate_chain.load(der)
    except ChainError as error:
        raise EvidenceError("a certificate of the endorsement key cannot be read") from error


def endorsement_key(der: bytes) -> EndorsementKey:
    """Return the key of an endorsement certificate: RSA-2048, P-256 or P-384; raises EvidenceError for another."""
    key = load(der).public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return key
    raise EvidenceError("the endorsement key is of none of the default templates: RSA-2048, P-256, P-384")


def check_endorsement(chain: Sequence[bytes], roots: Mapping[str, bytes], now_ns: int) -> Endorsement:
    """Check a chain of DER certificates, that of the endorsement key first, up to one of the roots.

    Raises EvidenceError, saying what does not hold.
    """
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise EvidenceError(f"the endorsement key has {len(chain)} certificates; 1 to {MAX_CHAIN} are allowed")
    last = load(chain[-1])
    found = [name for name, root in roots.items() if root == chain[-1] or not why_not_issued(chain[-1], root)]
    if not found:
        issuer = last.issuer.rfc4514_string()[:100]
        raise EvidenceError(f"the endorsement certificate leads to {issuer!a}, which is none of the trusted roots")
    whole = [*chain, roots[found[0]]] if roots[found[0]] != chain[-1] else list(chain)
    end = 2**63 - 1
    for depth, der in enumerate(whole):
        certificate = load(der)
        end = min(end, _valid(certificate, now_ns))
        _check_extensions(certificate, depth)
        if depth + 1 < len(whole) and (problem := why_not_issued(der, whole[depth + 1])):
            raise EvidenceError(f"a certificate of the endorsement key was not issued by the next one: {problem}")
    return Endorsement(found[0], end, tpm_names(chain[0]))


def tpm_names(der: bytes) -> dict[str, str]:
    """Return what an endorsement certificate says of its TPM: manufacturer, model, firmware."""
    try:
        alternative = load(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    found = {}
    for name in alternative.get_values_for_type(x509.DirectoryName):
        for attribute in name:
            if (label := _NAMES.get(attribute.oid.dotted_string)) and isinstance(attribute.value, str):
                found[label] = attribute.value[:64]
    return found


def fingerprint(der: bytes) -> bytes:
    """Return the SHA-256 of a certificate."""
    return sha256(der).digest()


def issued(child: bytes, issuer: bytes) -> bool:
    """Whether a certificate was issued by another; raises EvidenceError for what is none."""
    return not why_not_issued(child, issuer)


def trimmed(data: bytes) -> bytes:
    """Return the certificate at the beginning of an NV index, which may be filled up behind it (DER length)."""
    if len(data) < 4 or data[:2] != b"\x30\x82":
        raise EvidenceError("the TPM's NV index holds no certificate in DER")
    return data[: 4 + int.from_bytes(data[2:4], "big")]


def _valid(certificate: x509.Certificate, now_ns: int) -> int:
    begin, end = (
        min(nanoseconds(t), 2**63 - 1) for t in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    )
    if not begin <= now_ns <= end:
        word = "not valid yet" if now_ns < begin else "no longer valid"
        raise EvidenceError(f"a certificate of the endorsement key is {word}")
    return end


def _check_extensions(certificate: x509.Certificate, depth: int) -> None:
    constraints: x509.BasicConstraints | None = None
    usage: x509.KeyUsage | None = None
    extended: x509.ExtendedKeyUsage | None = None
    for extension in certificate.extensions:
        value = extension.value
        if extension.critical and not isinstance(value, _KNOWN):
            oid = extension.oid.dotted_string
            raise EvidenceError(f"a certificate has the critical extension {oid}, not known here")
        constraints = value if isinstance(value, x509.BasicConstraints) else constraints
        usage = value if isinstance(value, x509.KeyUsage) else usage
        extended = value if isinstance(value, x509.ExtendedKeyUsage) else extended
    if depth == 0:
        if constraints is not None and constraints.ca:
            raise EvidenceError("the endorsement certificate is that of a CA")
        if extended is not None and _EK_USAGE not in extended:
            raise EvidenceError("the first certificate is not for an endorsement key (extended key usage)")
        return
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise EvidenceError("a certificate above the endorsement key's may not sign certificates")
    if constraints.path_length is not None and depth - 1 > constraints.path_length:
        raise EvidenceError("the endorsement key's chain is longer than one of its certificates allows")
