"""SEV-SNP reports under an ARK of our own."""

from __future__ import annotations

import datetime
import struct
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from made_nitro import BEGIN, name

AMD = "1.3.6.1.4.1.3704.1"
PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)
TCB = {"bootloader": 3, "tee": 1, "snp": 8, "microcode": 100}
CHIP = bytes(range(64))
GUIDS = {
    "vcek": "63da758de6644564adc5f4b93be8accd",
    "vlek": "a8074bc2a25a483eaae639c045a0b8a1",
    "ask": "4ab7b379bbac4fe4a02f05aef327c782",
}


def _integer(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(raw)]) + raw


@dataclass
class SnpMaker:
    """ARK, ASK and VCEK; `report` signs what it is told."""

    product: str = "Milan-B0"
    ark_key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 3072))
    ask_key: Any = field(default_factory=lambda: rsa.generate_private_key(65537, 3072))
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP384R1()))

    def __post_init__(self) -> None:
        self.ark = self.issuer("ARK", self.ark_key, "ARK", self.ark_key, path=None)
        self.ask = self.issuer("ASK", self.ask_key, "ARK", self.ark_key)
        self.vcek = self.endorsement()

    def issuer(
        self, subject: str, key: Any, issuer: str, issuer_key: Any, path: int | None = 0, sign: bool = True
    ) -> bytes:
        flags = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False)  # fmt: skip
        builder = self._builder(subject, key, issuer)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path), critical=True)
        usage = x509.KeyUsage(**flags, key_cert_sign=sign, crl_sign=not sign)
        builder = builder.add_extension(usage, critical=True)
        return builder.sign(issuer_key, hashes.SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)

    def endorsement(self, chip: bytes = CHIP, tcb: dict[str, int] = TCB, **changes: Any) -> bytes:
        numbers = {"bootloader": 1, "tee": 2, "snp": 3, "microcode": 8, "fmc": 9}
        values = {f"{AMD}.3.{numbers[part]}": _integer(version) for part, version in tcb.items()}
        values[f"{AMD}.2"] = bytes([0x16, len(self.product)]) + self.product.encode()
        if chip:
            values[f"{AMD}.4"] = chip
        builder = self._builder("VCEK", changes.get("key", self.key), changes.get("issuer", "ASK"))
        for oid, value in values.items():
            if oid not in changes.get("without", ()):
                builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value), False)
        if changes.get("ca"):
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        signer = changes.get("issuer_key", self.ask_key)
        return builder.sign(signer, hashes.SHA384(), rsa_padding=PSS).public_bytes(Encoding.DER)

    def _builder(self, subject: str, key: Any, issuer: str) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
            .public_key(key.public_key()).serial_number(1)
            .not_valid_before(BEGIN).not_valid_after(BEGIN + datetime.timedelta(days=3000))
        )  # fmt: skip

    def report(self, report_data: bytes, **changes: Any) -> bytes:
        turin = self.product.startswith("Turin")
        tcb = changes.get("tcb", TCB)
        order = ("fmc", "bootloader", "tee", "snp") if turin else ("bootloader", "tee")
        packed = bytearray(8)
        packed[: len(order)] = bytes(tcb.get(part, 0) for part in order)
        if not turin:
            packed[6] = tcb["snp"]
        packed[7] = tcb["microcode"]
        body = bytearray(0x2A0)
        struct.pack_into("<IIQ", body, 0, changes.get("version", 3), 7, changes.get("policy", 0x30000))
        struct.pack_into("<II", body, 0x30, changes.get("vmpl", 0), changes.get("algorithm", 1))
        struct.pack_into("<I", body, 0x48, changes.get("key_info", 0))
        body[0x50:0x90] = report_data
        body[0x90:0xC0] = changes.get("measurement", b"\x11" * 48)
        body[0xC0:0xE0] = changes.get("host_data", b"\x22" * 32)
        for at in (0x38, 0x180, 0x1E0, 0x1F0):
            body[at : at + 8] = packed
        body[0x1A0:0x1E0] = changes.get("chip", CHIP)
        r, s = decode_dss_signature(self.key.sign(bytes(body), ec.ECDSA(hashes.SHA384())))
        signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
        return bytes(body) + signature + bytes(1184 - 0x2A0 - 144)


def table(certificates: dict[str, bytes], little: bool = False) -> bytes:
    """A GHCB certificate table."""
    from uuid import UUID

    at = 24 * (len(certificates) + 1)
    head, body = b"", b""
    for kind, data in certificates.items():
        guid = UUID(GUIDS[kind])
        head += (guid.bytes_le if little else guid.bytes) + struct.pack("<II", at + len(body), len(data))
        body += data
    return head + bytes(24) + body
