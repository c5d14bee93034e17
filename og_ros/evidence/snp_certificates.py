"""AMD's certificates: the key of a chip (VCEK) or of a cloud (VLEK), what issued it, and the table they travel in."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from og_ros.errors import EvidenceError
from og_ros.evidence import der
from og_ros.evidence.certificate_chain import ChainError, check_validity

_GUIDS: Final = {
    "63da758d-e664-4564-adc5-f4b93be8accd": "vcek",
    "a8074bc2-a25a-483e-aae6-39c045a0b8a1": "vlek",
    "4ab7b379-bbac-4fe4-a02f-05aef327c782": "ask",
}
_ENTRY: Final = 24
_MAX_TABLE: Final = 65_536
_AMD: Final = bytes.fromhex("2b060104019c78")  # 1.3.6.1.4.1.3704
_PRODUCT: Final = _AMD + b"\x01\x02"
_TCB: Final = {"bootloader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}
_HARDWARE_ID: Final = _AMD + b"\x01\x04"
_KEY_USAGE, _BASIC_CONSTRAINTS = b"\x55\x1d\x0f", b"\x55\x1d\x13"


@dataclass(frozen=True)
class EndorsementKey:
    """The key that signs reports, and what AMD says of it.

    Attributes:
        key: on P-384.
        product: name of the processor line and stepping, such as Milan-B0.
        tcb: the firmware versions that the key is derived from, by name.
        chip_id: of the chip; empty for a VLEK.
        end_ns: when its certificate or that of its issuer ends.
        root: name of the trusted root behind it.
    """

    key: ec.EllipticCurvePublicKey
    product: str
    tcb: Mapping[str, int]
    chip_id: bytes
    end_ns: int
    root: str

    @property
    def turin(self) -> bool:
        """Whether firmware versions are laid out as Turin's."""
        return self.product.startswith("Turin")


def read_table(data: bytes) -> dict[str, bytes]:
    """Return the certificates (DER) in a GHCB certificate table by vcek, vlek, ask; raises EvidenceError.

    The table comes from the host and is signed by nobody: what is in it must prove itself. GUIDs are found in either
    order of bytes, since hosts write both.
    """
    if len(data) > _MAX_TABLE:
        raise EvidenceError(f"the certificate table is {len(data)} bytes long; {_MAX_TABLE} are allowed")
    found: dict[str, bytes] = {}
    for at in range(0, len(data) - _ENTRY + 1, _ENTRY):
        guid = data[at : at + 16]
        if guid == bytes(16):
            break
        offset, size = struct.unpack_from("<II", data, at + 16)
        if offset + size > len(data):
            raise EvidenceError("the certificate table names bytes beyond its end")
        for reading in (UUID(bytes=guid), UUID(bytes_le=guid)):
            if name := _GUIDS.get(str(reading)):
                found[name] = data[offset : offset + size]
    return found


@lru_cache(maxsize=16)
def to_der(data: bytes) -> bytes:
    """Return the first certificate of a PEM text as DER; DER is returned as it is."""
    if not data.lstrip().startswith(b"-----BEGIN"):
        return data
    try:
        # AMD's key service answers with the ASK first and the ARK behind it.
        return x509.load_pem_x509_certificates(data)[0].public_bytes(Encoding.DER)
    except ValueError as error:
        raise ChainError("malformed", "a certificate cannot be read") from error


def verify_chain(leaf: bytes, issuer: bytes, roots: Mapping[str, bytes], now_ns: int) -> EndorsementKey:
    """Check VCEK or VLEK (DER), its issuer, and a root; raises ChainError with its code."""
    try:
        certificate, above = der.certificate(leaf), der.certificate(issuer)
        anchors = {name: der.certificate(root) for name, root in roots.items() if _readable(root)}
    except EvidenceError as error:
        raise ChainError("malformed", str(error)) from error
    name = next((name for name, anchor in anchors.items() if anchor.subject == above.issuer), None)
    if name is None:
        raise ChainError("unknown_root", "no trusted root issued the certificate behind the report's key")
    _check_issuer(above)
    _check_leaf(certificate)
    for problem in (_issued(leaf, issuer), _issued(issuer, roots[name])):
        if problem:
            raise ChainError("certificate_invalid", problem)
    end = min(
        check_validity(found.begin, found.end, now_ns, what)
        for found, what in ((certificate, "the VCEK or VLEK"), (above, "its issuer"), (anchors[name], "the root"))
    )
    return _endorsement(certificate, end, name)


def _readable(root: bytes) -> bool:
    """Whether a root is one that AMD's certificates can have: a policy's roots are for other vendors, too."""
    try:
        der.certificate(root)
    except EvidenceError:
        return False
    return True


@lru_cache(maxsize=64)
def _issued(child: bytes, issuer: bytes) -> str:
    """Return why one certificate was not issued by another, empty when it was: a pure function, and the costly part."""
    above = der.certificate(issuer)
    try:
        der.certificate(child).verify_issued_by(above.subject, above.spki)
    except EvidenceError as error:
        return str(error)
    return ""


def _check_issuer(certificate: der.Certificate) -> None:
    if certificate.critical - {_KEY_USAGE, _BASIC_CONSTRAINTS}:
        raise ChainError("certificate_invalid", "the issuer has a critical extension that is not known here")
    constraints = certificate.extensions.get(_BASIC_CONSTRAINTS, b"")
    usage = certificate.extensions.get(_KEY_USAGE, b"")
    # SEQUENCE { TRUE, 0 }: a CA below which stand no others. BIT STRING with bit 5: it may sign certificates.
    if constraints != bytes.fromhex("30060101ff020100") or not usage[-1:] or not usage[-1] & 0x04:
        raise ChainError("certificate_invalid", "the issuer may not sign certificates")


def _check_leaf(certificate: der.Certificate) -> None:
    if certificate.critical or _BASIC_CONSTRAINTS in certificate.extensions:
        raise ChainError("certificate_invalid", "the VCEK or VLEK has extensions that it must not have")


def _endorsement(certificate: der.Certificate, end_ns: int, root: str) -> EndorsementKey:
    found = certificate.extensions
    try:
        key = load_der_public_key(certificate.spki)
        product = der.one(found[_PRODUCT], der.IA5_STRING).decode("ascii")
        tcb = {name: der.integer(value) for name, n in _TCB.items() if (value := found.get(_AMD + bytes([1, 3, n])))}
    except (KeyError, ValueError, UnsupportedAlgorithm, EvidenceError) as error:
        raise ChainError("malformed", "the VCEK or VLEK lacks what AMD says of a key") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ChainError("malformed", "the VCEK or VLEK is no key on P-384")
    if not product.isprintable() or not {"bootloader", "tee", "snp", "microcode"} <= tcb.keys():
        raise ChainError("malformed", "the VCEK or VLEK lacks its firmware versions")
    return EndorsementKey(key, product, tcb, found.get(_HARDWARE_ID, b""), end_ns, root)
