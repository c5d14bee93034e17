"""The record by which an enrolment service vouches that an attestation key is in the TPM of one robot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cbor2

from og_ros.attest.signer import Signer
from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import SignedDocument, fields, read_cbor, read_document, sign_document

CONTENT_TYPE: Final = "application/vnd.og-ros.tpm-enrolment+cbor"
MAX_SIZE: Final = 4096
_MAX_FILE: Final = 65_536
_VERSION: Final = 1
_KINDS: Final[dict[str, type]] = {
    "version": int, "robot": str, "key_name": bytes, "certificate": bytes, "root": bytes, "test": int,
    "enrolled_at": int, "not_after": int,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the service found.

    Attributes:
        robot: whose TPM it is.
        key_name: the TPM's name of the attestation key (34 bytes).
        certificate, root: SHA-256 of the endorsement certificate and of the root that it led to.
        test: whether the root is for tests, or the TPM a program: worth no more than `warning`.
        enrolled_at_ns, not_after_ns: when it was found, and until when that counts.
    """

    robot: str
    key_name: bytes
    certificate: bytes
    root: bytes
    test: bool
    enrolled_at_ns: int
    not_after_ns: int


def sign(enrolment: Enrolment, signer: Signer) -> bytes:
    """Return the record, signed by the service's key."""
    tree = {
        "version": _VERSION,
        "robot": enrolment.robot,
        "key_name": enrolment.key_name,
        "certificate": enrolment.certificate,
        "root": enrolment.root,
        "test": int(enrolment.test),
        "enrolled_at": enrolment.enrolled_at_ns,
        "not_after": enrolment.not_after_ns,
    }
    return sign_document(CONTENT_TYPE, cbor2.dumps(tree, canonical=True), signer)


def read(data: bytes) -> tuple[Enrolment, SignedDocument]:
    """Read a record; the signature is to be checked with the document. Raises EvidenceError."""
    what = "the enrolment record"
    document = read_document(data, CONTENT_TYPE, what, MAX_SIZE)
    tree = fields(read_cbor(document.payload, what), what, _KINDS)
    if tree["version"] != _VERSION or tree["test"] not in (0, 1):
        raise EvidenceError(f"{what} is of version {tree['version']}, or has another value than 0 or 1 in `test`")
    if [len(tree[name]) for name in ("key_name", "certificate", "root")] != [34, 32, 32]:
        raise EvidenceError(f"{what} has a name or digest of another size")
    found = Enrolment(
        tree["robot"], tree["key_name"], tree["certificate"], tree["root"], bool(tree["test"]),
        tree["enrolled_at"], tree["not_after"],
    )  # fmt: skip
    return found, document


def write_file(path: Path, record: bytes, certificates: Sequence[bytes]) -> None:
    """Keep a record with the endorsement certificates, for the attester; replaces an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.new")
    partial.write_bytes(cbor2.dumps({"record": record, "certificates": list(certificates)}, canonical=True))
    partial.replace(path)


def read_file(path: Path) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the record and the certificates of a file; raises EvidenceError, naming it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvidenceError(f"cannot read the enrolment {path}: {error.strerror}; make it with og-ros enrol") from error
    if len(data) > _MAX_FILE:
        raise EvidenceError(f"{path} is {len(data)} bytes long; {_MAX_FILE} are allowed")
    tree = fields(read_cbor(data, str(path)), str(path), {"record": bytes, "certificates": list})
    if any(type(item) is not bytes for item in tree["certificates"]):
        raise EvidenceError(f"{path}: a certificate is no byte string")
    return tree["record"], tuple(tree["certificates"])
