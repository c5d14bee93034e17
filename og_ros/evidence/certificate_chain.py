"""Checks a chain of X.509 certificates from a leaf to one pinned root, at a given time.

The chain is given in order, so nothing is searched for: each certificate must be signed by the next, be valid at the
time judged, and, above the leaf, be a CA that may sign certificates at that depth (RFC 5280 section 6.1, without
policies, name constraints and revocation: a critical extension that is not known here is refused).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from og_ros.errors import EvidenceError

_MAX_CHAIN: Final = 8
_KNOWN: Final = (x509.BasicConstraints, x509.KeyUsage, x509.ExtendedKeyUsage)
_MAX_NS: Final = 2**63 - 1
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class ChainError(EvidenceError):
    """A chain that does not hold; `code` is that of the reason in an appraisal."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@lru_cache(maxsize=64)
def load(der: bytes) -> x509.Certificate:
    """Parse a certificate; raises ChainError `malformed`."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key()
    except Exception as error:  # of many kinds, for a certificate that is damaged
        raise ChainError("malformed", f"a certificate cannot be read: {' '.join(str(error).split())[:100]}") from error
    return certificate


def verify_chain(chain: Sequence[bytes], anchor: bytes, now_ns: int) -> int:
    """Check a chain of DER certificates, leaf first; returns the time (ns) at which the first of them ends.

    The last one must be signed by the anchor (DER) or be it. Raises ChainError with one of the codes malformed,
    certificate_expired, certificate_invalid.
    """
    if not 1 <= len(chain) <= _MAX_CHAIN:
        raise ChainError("malformed", f"the chain has {len(chain)} certificates; 1 to {_MAX_CHAIN} are allowed")
    whole = [*chain, anchor] if chain[-1] != anchor else list(chain)
    end = _MAX_NS
    for depth, der in enumerate(whole):
        certificate = load(der)
        end = min(end, check_validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now_ns))
        _check_extensions(certificate, depth)
        # The anchor's own signature proves nothing: it is trusted for being the anchor.
        if depth + 1 < len(whole):
            _check_issued(der, whole[depth + 1])
    return end


def check_validity(begin: datetime, end: datetime, now_ns: int, what: str = "a certificate") -> int:
    """Return the end of a validity in ns; raises ChainError `certificate_expired` when now is outside it."""
    begin_ns, end_ns = nanoseconds(begin), nanoseconds(end)
    if not begin_ns <= now_ns <= end_ns:
        word = "not valid yet" if now_ns < begin_ns else "no longer valid"
        raise ChainError(
            "certificate_expired",
            f"{what} is {word}: it holds from {begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC",
        )
    return end_ns


def nanoseconds(time: datetime) -> int:
    """Return a time as ns since 1970, exactly; a time without a zone is UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    since = time - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 10**6 + since.microseconds) * 1000


def to_der(pem: bytes) -> bytes:
    """Return the one certificate of a PEM text as DER; raises ChainError `malformed`."""
    try:
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except ValueError as error:
        raise ChainError("malformed", "no certificate in PEM") from error


@lru_cache(maxsize=256)
def why_not_issued(child: bytes, issuer: bytes) -> str:
    """Return why a certificate was not issued by another, empty when it was: a pure function, and the costly part."""
    try:
        load(child).verify_directly_issued_by(load(issuer))
    except InvalidSignature:
        return "its signature does not match"
    except (ValueError, TypeError) as error:
        return " ".join(str(error).split())[:100]
    return ""


def _check_issued(child: bytes, issuer: bytes) -> None:
    if problem := why_not_issued(child, issuer):
        raise ChainError("certificate_invalid", f"a certificate was not issued by the next one in the chain: {problem}")


def _check_extensions(certificate: x509.Certificate, depth: int) -> None:
    for extension in certificate.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN):
            name = extension.oid.dotted_string
            raise ChainError("certificate_invalid", f"a certificate has the critical extension {name}, not known here")
    constraints = _value(certificate, x509.BasicConstraints)
    usage = _value(certificate, x509.KeyUsage)
    if depth == 0:
        if constraints is not None and constraints.ca:
            raise ChainError("certificate_invalid", "the certificate that signed the document is that of a CA")
        if usage is not None and not usage.digital_signature:
            raise ChainError("certificate_invalid", "the certificate that signed the document may not sign documents")
        return
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise ChainError("certificate_invalid", "a certificate above the leaf may not sign certificates")
    if constraints.path_length is not None and depth - 1 > constraints.path_length:
        raise ChainError("certificate_invalid", "the chain is longer than one of its certificates allows")


def _value(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
