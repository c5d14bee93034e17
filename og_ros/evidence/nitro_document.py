"""An AWS Nitro attestation document: COSE_Sign1 over what the Nitro Security Module says of an enclave.

After AWS's "Attestation process" (aws-nitro-enclaves-nsm-api, docs/attestation_process.md): ES384, an empty unprotected
header, and a payload of exactly the fields below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.errors import EvidenceError
from og_ros.evidence import nsm_cbor
from og_ros.evidence.certificate_chain import load

MAX_SIZE: Final = 32_768
PCR_SIZE: Final = 48
_PROTECTED: Final = bytes.fromhex("a1013822")  # {alg: ES384}
_TAG_18: Final = b"\xd2"
_SIGNATURE_SIZE: Final = 96
_MAX_FIELD: Final = 1024
_MAX_CERTIFICATE: Final = 1024
_REQUIRED: Final = {"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"}
_OPTIONAL: Final = ("public_key", "user_data", "nonce")


@dataclass(frozen=True)
class NitroDocument:
    """What a document says; nothing of it is checked but its form.

    Attributes:
        module_id: of the enclave.
        time_ns: when it was made, by the hypervisor's clock (ms).
        pcrs: platform configuration registers, 48 bytes each, by number.
        certificate, cabundle: of the key that signed it, and from the root down to what issued that.
        public_key, user_data, nonce: what the enclave's software asked to have signed; None: nothing.
        payload, signature: what is signed, and r || s.
    """

    module_id: str
    time_ns: int
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    payload: bytes
    signature: bytes

    @property
    def debug(self) -> bool:
        """Whether the enclave runs in debug mode, where the module reports zeros for what was loaded."""
        return not any(any(self.pcrs[number]) for number in (0, 1, 2))

    def signed_bytes(self) -> bytes:
        """Return the Sig_structure (RFC 9052 section 4.4)."""
        return b"\x84\x6aSignature1" + _byte_string(_PROTECTED) + b"\x40" + _byte_string(self.payload)

    def verify_signature(self) -> None:
        """Check the signature with the certificate's key; raises EvidenceError. The certificate is not checked here."""
        key = load(self.certificate).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            raise EvidenceError("the certificate's key is not on P-384")
        r, s = int.from_bytes(self.signature[:48], "big"), int.from_bytes(self.signature[48:], "big")
        try:
            key.verify(encode_dss_signature(r, s), self.signed_bytes(), ec.ECDSA(hashes.SHA384()))
        except InvalidSignature as error:
            raise EvidenceError("the signature does not match the document") from error


def parse(data: bytes) -> NitroDocument:
    """Read a document, with COSE's tag 18 or without it; raises EvidenceError for any other form."""
    if len(data) > MAX_SIZE:
        raise EvidenceError(f"the document is {len(data)} bytes long; {MAX_SIZE} are allowed")
    parts = nsm_cbor.read(data[1:] if data[:1] == _TAG_18 else data)
    if not isinstance(parts, list) or len(parts) != 4 or data[data[:1] == _TAG_18] != 0x84:
        raise EvidenceError("a COSE_Sign1 object is an array of four parts")
    protected, unprotected, payload, signature = parts
    if protected != _PROTECTED:
        raise EvidenceError("the protected header must name ES384 and nothing else")
    if unprotected != {}:
        raise EvidenceError("the unprotected header is not empty")
    if not isinstance(payload, bytes) or not isinstance(signature, bytes) or len(signature) != _SIGNATURE_SIZE:
        raise EvidenceError(f"payload and signature must be byte strings, the signature of {_SIGNATURE_SIZE} bytes")
    fields = nsm_cbor.read(payload)
    if not isinstance(fields, dict) or not _REQUIRED <= fields.keys() <= _REQUIRED.union(_OPTIONAL):
        raise EvidenceError("the payload has not the fields of an attestation document")
    module_id, time_ms = fields["module_id"], fields["timestamp"]
    if not isinstance(module_id, str) or not 1 <= len(module_id) <= 256 or not module_id.isprintable():
        raise EvidenceError("module_id must be a short text")
    if fields["digest"] != "SHA384":
        raise EvidenceError("digest must be SHA384")
    if not isinstance(time_ms, int) or not 0 < time_ms < 2**43:
        raise EvidenceError("timestamp must be milliseconds since 1970")
    optional = {name: _optional(name, fields.get(name)) for name in _OPTIONAL}
    return NitroDocument(
        module_id=module_id,
        time_ns=time_ms * 10**6,
        pcrs=_pcrs(fields["pcrs"]),
        certificate=_certificates([fields["certificate"]])[0],
        cabundle=_certificates(fields["cabundle"]),
        payload=payload,
        signature=signature,
        **optional,
    )


def _pcrs(value: nsm_cbor.Item) -> dict[int, bytes]:
    if not isinstance(value, dict) or not 3 <= len(value) <= 32:
        raise EvidenceError("pcrs must be a map of 3 to 32 registers")
    found: dict[int, bytes] = {}
    for number, register in value.items():
        if not isinstance(number, int) or not 0 <= number < 32:
            raise EvidenceError("a register's number must be 0 to 31")
        if not isinstance(register, bytes) or len(register) != PCR_SIZE:
            raise EvidenceError(f"a register must be {PCR_SIZE} bytes long")
        found[number] = register
    if not {0, 1, 2} <= found.keys():
        raise EvidenceError("registers 0, 1 and 2 must be there")
    return found


def _certificates(value: nsm_cbor.Item) -> tuple[bytes, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 7:
        raise EvidenceError("cabundle must be a list of 1 to 7 certificates")
    found = [item for item in value if isinstance(item, bytes) and 0 < len(item) <= _MAX_CERTIFICATE]
    if len(found) != len(value):
        raise EvidenceError(f"a certificate must be a byte string of at most {_MAX_CERTIFICATE} bytes")
    return tuple(found)


def _optional(name: str, value: nsm_cbor.Item) -> bytes | None:
    if value is not None and (not isinstance(value, bytes) or len(value) > _MAX_FIELD):
        raise EvidenceError(f"{name} must be a byte string of at most {_MAX_FIELD} bytes, or null")
    return value


def _byte_string(data: bytes) -> bytes:
    size = len(data)
    if size < 24:
        return bytes([0x40 | size]) + data
    if size < 256:
        return bytes([0x58, size]) + data
    return b"\x59" + size.to_bytes(2, "big") + data
