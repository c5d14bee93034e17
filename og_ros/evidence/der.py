"""A strict reader of DER (X.690), as much as AMD's certificates need.

AMD issues VCEK certificates whose serial number is zero. RFC 5280 forbids that, and the cryptography library warns that
it will refuse to load them; so they are taken apart here, and only keys and signatures are left to the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros.errors import EvidenceError

INTEGER: Final = 0x02
OCTET_STRING: Final = 0x04
IA5_STRING: Final = 0x16
_BOOLEAN, _BIT_STRING, _OID, _SEQUENCE = 0x01, 0x03, 0x06, 0x30
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_MAX_CERTIFICATE: Final = 8192
# RSASSA-PSS with SHA-384, MGF1 of SHA-384 and 48 bytes of salt: what AMD signs with. AMD writes the trailer field,
# which is the default, and which RFC 4055 leaves out.
_PSS_SHA384: Final = (
    bytes.fromhex(
        "304606092a864886f70d01010a3039a00f300d06096086480165030402020500"
        "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101"
    ),
    bytes.fromhex(
        "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
        "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
    ),
)


@dataclass(frozen=True)
class Item:
    """One element: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    whole: bytes


def items(data: bytes) -> list[Item]:
    """Split bytes into the elements that they are made of; raises EvidenceError."""
    found, at = [], 0
    while at < len(data):
        item = _item(data, at)
        found.append(item)
        at += len(item.whole)
    return found


def one(data: bytes, tag: int) -> bytes:
    """Return the content of the only element, which must have a tag; raises EvidenceError."""
    found = items(data)
    if len(found) != 1 or found[0].tag != tag:
        raise EvidenceError("malformed DER: another element was expected")
    return found[0].content


def integer(data: bytes) -> int:
    """Return the non-negative INTEGER that the bytes are; raises EvidenceError."""
    content = one(data, INTEGER)
    if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and not content[1] & 0x80):
        raise EvidenceError("malformed DER: a number that is negative or not in its shortest form")
    return int.from_bytes(content, "big")


def _item(data: bytes, at: int) -> Item:
    start = at
    if len(data) - at < 2:
        raise EvidenceError("malformed DER: truncated")
    tag, size = data[at], data[at + 1]
    at += 2
    if tag & 0x1F == 0x1F:
        raise EvidenceError("malformed DER: a tag of several bytes")
    if size >= 0x80:
        width = size - 0x80
        raw = data[at : at + width]
        size = int.from_bytes(raw, "big")
        if not 1 <= width <= 3 or len(raw) != width or size < (0x80 if width == 1 else 1 << (8 * (width - 1))):
            raise EvidenceError("malformed DER: a length that is not in its shortest form")
        at += width
    if size > len(data) - at:
        raise EvidenceError("malformed DER: truncated")
    return Item(tag, data[at : at + size], data[start : at + size])


@dataclass(frozen=True)
class Certificate:
    """An X.509 certificate, version 3, as its fields stand in it; names and key are DER.

    `extensions` maps the DER content of an OID to its value; `critical` are those that must be understood.
    """

    issuer: bytes
    subject: bytes
    begin: datetime
    end: datetime
    spki: bytes
    extensions: dict[bytes, bytes]
    critical: frozenset[bytes]
    signed: bytes
    signature: bytes

    def verify_issued_by(self, subject: bytes, spki: bytes) -> None:
        """Check that an issuer (its name and key, DER) signed it, with RSA-PSS and SHA-384; raises EvidenceError."""
        if self.issuer != subject:
            raise EvidenceError("a certificate names another issuer than the next one in the chain")
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise EvidenceError("an issuer's key cannot be read") from error
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 3072:
            raise EvidenceError("an issuer's key is no RSA key of 3072 bits or more")
        scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
        try:
            key.verify(self.signature, self.signed, scheme, hashes.SHA384())
        except InvalidSignature as error:
            raise EvidenceError("a certificate's signature does not match its issuer's key") from error


@lru_cache(maxsize=64)
def certificate(data: bytes) -> Certificate:
    """Read a certificate that is signed with RSA-PSS and SHA-384; raises EvidenceError for any other."""
    if len(data) > _MAX_CERTIFICATE:
        raise EvidenceError(f"a certificate is {len(data)} bytes long; {_MAX_CERTIFICATE} are allowed")
    body, algorithm, bits = _exactly(items(one(data, _SEQUENCE)), (_SEQUENCE, _SEQUENCE, _BIT_STRING))
    if algorithm.whole not in _PSS_SHA384:
        raise EvidenceError("a certificate is not signed with RSA-PSS and SHA-384")
    fields = _exactly(
        items(body.content), (_VERSION, INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE, _EXTENSIONS)
    )
    version, _, inner, issuer, validity, subject, spki, extensions = fields
    if integer(version.content) != 2 or inner.whole != algorithm.whole or bits.content[:1] != b"\0":
        raise EvidenceError("a certificate is not of version 3, or names two algorithms")
    times = items(validity.content)
    if len(times) != 2:
        raise EvidenceError("malformed DER: a validity has two times")
    known, critical = _extensions(extensions.content)
    return Certificate(
        issuer.whole, subject.whole, _time(times[0]), _time(times[1]), spki.whole, known, critical, body.whole,
        bits.content[1:],
    )  # fmt: skip


def _exactly(found: list[Item], tags: tuple[int, ...]) -> list[Item]:
    if tuple(item.tag for item in found) != tags:
        raise EvidenceError("malformed DER: not the fields of a certificate")
    return found


def _extensions(data: bytes) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    found: dict[bytes, bytes] = {}
    critical = set()
    for extension in items(one(data, _SEQUENCE)):
        parts = items(extension.content) if extension.tag == _SEQUENCE else []
        tags = tuple(part.tag for part in parts)
        if tags not in ((_OID, OCTET_STRING), (_OID, _BOOLEAN, OCTET_STRING)):
            raise EvidenceError("malformed DER: not an extension")
        name = parts[0].content
        if name in found:
            raise EvidenceError("a certificate has an extension twice")
        if len(parts) == 3:
            if parts[1].content != b"\xff":
                raise EvidenceError("malformed DER: a truth value that is not in its only form")
            critical.add(name)
        found[name] = parts[-1].content
    return found, frozenset(critical)


def _time(item: Item) -> datetime:
    formats = {_UTC_TIME: "%y%m%d%H%M%SZ", _GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}
    text = item.content.decode("ascii", "replace")
    size = {_UTC_TIME: 13, _GENERALIZED_TIME: 15}.get(item.tag)
    if size != len(text) or not text[:-1].isdecimal():
        raise EvidenceError("malformed DER: a time that is not in its only form")
    if item.tag == _UTC_TIME:  # RFC 5280: 50 to 99 are of the last century
        text = ("19" if text[0] >= "5" else "20") + text
    try:
        return datetime.strptime(text, formats[_GENERALIZED_TIME]).replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise EvidenceError("malformed DER: a time that is none") from error
