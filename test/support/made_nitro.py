"""Nitro documents under a root of our own: what an enclave's document looks like when we choose what it says."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

PROTECTED = bytes.fromhex("a1013822")
BEGIN = datetime.datetime(2026, 2, 1, tzinfo=datetime.timezone.utc)
MADE_AT = 1_770_000_000 * 10**9


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(
    subject: str, key: Any, issuer: str, issuer_key: Any, ca: bool, path: int | None = None, **extra: Any
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + datetime.timedelta(days=extra.get("days", 30)))
    )
    if extra.get("constraints", True):
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=path), critical=True)
    usage = {"digital_signature": not ca, "key_cert_sign": ca, **extra.get("usage", {})}
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    flags = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    builder = builder.add_extension(x509.KeyUsage(**flags, **usage), critical=True)
    for extension in extra.get("extensions", ()):
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(issuer_key, hashes.SHA384())


@dataclass
class NitroMaker:
    """A root, an intermediate and a leaf; `document` signs what it is told."""

    def __post_init__(self) -> None:
        self.keys = [ec.generate_private_key(ec.SECP384R1()) for _ in range(3)]
        root, middle, leaf = self.keys
        self.certificates = [
            certificate("root", root, "root", root, ca=True),
            certificate("middle", middle, "root", root, ca=True, path=0),
            certificate("leaf", leaf, "middle", middle, ca=False),
        ]

    @property
    def der(self) -> list[bytes]:
        return [certificate.public_bytes(Encoding.DER) for certificate in self.certificates]

    def fields(self, **changes: Any) -> dict[str, Any]:
        root, middle, leaf = self.der
        found = {
            "module_id": "i-1-enc2",
            "digest": "SHA384",
            "timestamp": MADE_AT // 10**6,
            "pcrs": {number: bytes([number + 1]) * 48 if number < 5 else bytes(48) for number in range(16)},
            "certificate": leaf,
            "cabundle": [root, middle],
            "public_key": None,
            "user_data": None,
            "nonce": None,
            **changes,
        }
        return {key: value for key, value in found.items() if value is not ...}

    def sign(self, payload: bytes, protected: bytes = PROTECTED, unprotected: Any = None) -> bytes:
        signed = cbor2.dumps(["Signature1", protected, b"", payload])
        r, s = decode_dss_signature(self.keys[2].sign(signed, ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(48, "big") + s.to_bytes(48, "big")
        return cbor2.dumps([protected, unprotected or {}, payload, signature])

    def document(self, **changes: Any) -> bytes:
        return self.sign(cbor2.dumps(self.fields(**changes)))
