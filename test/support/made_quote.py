"""DCAP quotes and collateral under a root of our own, as dcap-qvl reads them: the way to test a TEE without one.

Structures after Intel's "SGX ECDSA Quote Library Reference", "TDX DCAP" (quote version 4) and "PCK Certificate and CRL
Profile"; the JSON as Intel's provisioning service gives it.
"""

from __future__ import annotations

import datetime
import json
import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from made_nitro import BEGIN

FMSPC = "00a067110000"
QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
END = BEGIN + datetime.timedelta(days=30)
SGX = "1.2.840.113741.1.13.1"


def _name(text: str) -> x509.Name:
    pairs = [("C", "US"), ("ST", "CA"), ("L", "Santa Clara"), ("O", "Intel Corporation"), ("CN", text)]
    oids = {
        "C": NameOID.COUNTRY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME, "L": NameOID.LOCALITY_NAME,
        "O": NameOID.ORGANIZATION_NAME, "CN": NameOID.COMMON_NAME,
    }  # fmt: skip
    return x509.Name([x509.NameAttribute(oids[kind], value) for kind, value in pairs])


def _tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    head = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + head + body


def _oid(text: str) -> bytes:
    first, second, *rest = map(int, text.split("."))
    out = [40 * first + second]
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(number & 0x7F | 0x80)
        out += reversed(groups)
    return _tlv(6, bytes(out))


def _pck_extension() -> bytes:
    """TCB of 16 components of version 2 and PCESVN 11, FMSPC, and a platform of type scalable."""
    components = [_tlv(0x30, _oid(f"{SGX}.2.{n}"), _tlv(2, b"\x02")) for n in range(1, 17)]
    components.append(_tlv(0x30, _oid(f"{SGX}.2.17"), _tlv(2, b"\x0b")))
    components.append(_tlv(0x30, _oid(f"{SGX}.2.18"), _tlv(4, b"\x02" * 16)))
    return _tlv(
        0x30,
        _tlv(0x30, _oid(f"{SGX}.1"), _tlv(4, bytes(16))),
        _tlv(0x30, _oid(f"{SGX}.2"), _tlv(0x30, *components)),
        _tlv(0x30, _oid(f"{SGX}.3"), _tlv(4, bytes(2))),
        _tlv(0x30, _oid(f"{SGX}.4"), _tlv(4, bytes.fromhex(FMSPC))),
        _tlv(0x30, _oid(f"{SGX}.5"), _tlv(10, b"\x01")),
    )


def raw(key: Any, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class QuoteMaker:
    """Intel's hierarchy in small: root, PCK CA, PCK certificate, TCB signing; `tdx` and `sgx` make quotes."""

    def __post_init__(self) -> None:
        made = (ec.generate_private_key(ec.SECP256R1()) for _ in range(5))
        self.root, self.ca, self.pck, self.tcb, self.attestation = made
        root, ca = "Intel SGX Root CA", "Intel SGX PCK Platform CA"
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX), _pck_extension())
        self.root_certificate = self._certificate(root, self.root, root, self.root, ca=True, path=1)
        self.ca_certificate = self._certificate(ca, self.ca, root, self.root, ca=True, path=0)
        self.pck_certificate = self._certificate("Intel SGX PCK Certificate", self.pck, ca, self.ca, extra=[extension])
        self.tcb_certificate = self._certificate("Intel SGX TCB Signing", self.tcb, root, self.root)

    @property
    def root_der(self) -> bytes:
        return self.root_certificate.public_bytes(Encoding.DER)

    def _certificate(
        self, subject: str, key: Any, issuer: str, issuer_key: Any, ca: bool = False, path: int | None = None,
        extra: Any = (),
    ) -> x509.Certificate:  # fmt: skip
        unused = ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        flags = dict.fromkeys(unused, False)
        point = x509.DistributionPoint([x509.UniformResourceIdentifier("https://example.org/crl")], None, None, None)
        builder = (
            x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(BEGIN).not_valid_after(BEGIN + datetime.timedelta(days=365))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
            .add_extension(x509.CRLDistributionPoints([point]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.KeyUsage(digital_signature=not ca, content_commitment=not ca, key_cert_sign=ca,
                                         crl_sign=ca, **flags), True)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=path), True)
        )  # fmt: skip
        for extension in extra:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def _crl(self, issuer: str, key: Any, revoked: Any = ()) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder().issuer_name(_name(issuer)).last_update(BEGIN).next_update(END)
            .add_extension(x509.CRLNumber(1), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False)
        )  # fmt: skip
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(BEGIN)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    def _chain(self, *certificates: x509.Certificate) -> str:
        return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)

    def collateral(self, kind: str, status: str = "UpToDate", revoked: bool = False, advisories: Any = ()) -> bytes:
        dates = {"issueDate": f"{BEGIN:%Y-%m-%dT%H:%M:%SZ}", "nextUpdate": f"{END:%Y-%m-%dT%H:%M:%SZ}"}
        tdx = kind == "tdx"
        components = [{"svn": 2}] * 16
        level = {"sgxtcbcomponents": components, "pcesvn": 11}
        if tdx:
            level["tdxtcbcomponents"] = [{"svn": 0}] * 16
        when = {"tcbDate": "2026-01-01T00:00:00Z"}
        info: dict[str, Any] = {
            "id": "TDX" if tdx else "SGX", "version": 3, **dates, "fmspc": FMSPC.upper(), "pceId": "0000", "tcbType": 0,
            "tcbEvaluationDataNumber": 20,
        }  # fmt: skip
        if tdx:
            info["tdxModule"] = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        info["tcbLevels"] = [{"tcb": level, **when, "tcbStatus": status, "advisoryIDs": list(advisories)}]
        qe = {
            "id": "TD_QE" if tdx else "QE", "version": 2, **dates, "tcbEvaluationDataNumber": 20,
            "miscselect": "00000000", "miscselectMask": "FFFFFFFF", "attributes": "11" + "00" * 15,
            "attributesMask": "FB" + "FF" * 7 + "00" * 8, "mrsigner": "AA" * 32, "isvprodid": 1,
            "tcbLevels": [{"tcb": {"isvsvn": 4}, **when, "tcbStatus": "UpToDate"}],
        }  # fmt: skip
        trees = {"tcb_info": info, "qe_identity": qe}
        signed = {name: json.dumps(tree, separators=(",", ":")) for name, tree in trees.items()}
        chain = self._chain(self.tcb_certificate, self.root_certificate)
        return json.dumps({
            "pck_crl_issuer_chain": self._chain(self.ca_certificate, self.root_certificate),
            "root_ca_crl": self._crl("Intel SGX Root CA", self.root).hex(),
            "pck_crl": self._crl("Intel SGX PCK Platform CA", self.ca, [self.pck_certificate] if revoked else []).hex(),
            "tcb_info_issuer_chain": chain,
            "tcb_info": signed["tcb_info"],
            "tcb_info_signature": raw(self.tcb, signed["tcb_info"].encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": signed["qe_identity"],
            "qe_identity_signature": raw(self.tcb, signed["qe_identity"].encode()).hex(),
        }).encode()  # fmt: skip

    def tdx(self, report_data: bytes, attributes: bytes = bytes.fromhex("0000001000000000"), **changes: Any) -> bytes:
        body = b"".join((
            bytes(16), bytes(48), bytes(48), bytes(8), attributes, bytes(8),
            changes.get("mr_td", b"\x31" * 48), bytes(48), bytes(48), bytes(48),
            *(bytes([0x40 + number]) * 48 for number in range(4)), report_data,
        ))  # fmt: skip
        header = struct.pack("<HHI", 4, 2, 0x81) + bytes(4) + QE_VENDOR + bytes(20)
        certification = self._qe_certification()
        signature = self._signature(header + body) + struct.pack("<HI", 6, len(certification)) + certification
        return header + body + struct.pack("<I", len(signature)) + signature

    def sgx(self, report_data: bytes, attributes: int = 0x05, **changes: Any) -> bytes:
        body = self._enclave(report_data, attributes, changes.get("mr_enclave", b"\x51" * 32), b"\x52" * 32, 7, 3)
        header = struct.pack("<HHI", 3, 2, 0) + struct.pack("<HH", 8, 11) + QE_VENDOR + bytes(20)
        signature = self._signature(header + body) + self._qe_certification()
        return header + body + struct.pack("<I", len(signature)) + signature

    def _point(self) -> bytes:
        return self.attestation.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def _signature(self, signed: bytes) -> bytes:
        return raw(self.attestation, signed) + self._point()

    def _qe_certification(self) -> bytes:
        extra = bytes(range(32))
        digest = sha256(self._point() + extra).digest()
        report = self._enclave(digest + bytes(32), 0x11, b"\x61" * 32, b"\xaa" * 32, 1, 4)
        chain = self._chain(self.pck_certificate, self.ca_certificate, self.root_certificate).encode()
        return (
            report + raw(self.pck, report) + struct.pack("<H", len(extra)) + extra
            + struct.pack("<HI", 5, len(chain)) + chain
        )  # fmt: skip

    @staticmethod
    def _enclave(data: bytes, attributes: int, enclave: bytes, signer: bytes, product: int, version: int) -> bytes:
        return b"".join((
            b"\x02" * 16, bytes(32), struct.pack("<QQ", attributes, 0xE7), enclave, bytes(32), signer, bytes(96),
            struct.pack("<HH", product, version), bytes(60), data,
        ))  # fmt: skip
