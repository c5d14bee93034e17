"""The document of `tpm2-quote` evidence: a quote with what it takes to judge it, as deterministic CBOR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cbor2

from og_ros.errors import EvidenceError
from og_ros.evidence.signed_document import fields, read_cbor
from og_ros.evidence.tpm import event_log
from og_ros.evidence.tpm.event_log import Event
from og_ros.evidence.tpm.quote import PCR_COUNT

FORMAT: Final = "tpm2-quote"
MAX_SIZE: Final = 262_144
_VERSION: Final = 1
_MAX_CERTIFICATES: Final = 8
_KINDS: Final[dict[str, type]] = {
    "version": int, "quote": bytes, "signature": bytes, "key": bytes, "pcrs": dict, "log_start": bytes, "log": list,
    "enrolment": bytes, "certificates": list, "manifest": bytes,
}  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A quote and what belongs to it.

    Attributes:
        quote, signature, key: TPMS_ATTEST, TPMT_SIGNATURE and TPMT_PUBLIC of the attestation key.
        pcrs: the values that the quote's digest covers (SHA-256 bank).
        log_start, log: what PCR 14 held before the launch, and what the launch measured into it.
        enrolment: the record that the enrolment service signed of the attestation key; may be empty.
        certificates: of the endorsement key, DER, the leaf first; may be empty.
        manifest: of the stage's environment, so that a difference can be named; may be empty.
    """

    quote: bytes
    signature: bytes
    key: bytes
    pcrs: Mapping[int, bytes]
    log_start: bytes
    log: tuple[Event, ...]
    enrolment: bytes = b""
    certificates: tuple[bytes, ...] = ()
    manifest: bytes = b""


def encode(document: Document) -> bytes:
    """Return the document's one encoding."""
    tree: dict[str, Any] = {
        "version": _VERSION,
        "quote": document.quote,
        "signature": document.signature,
        "key": document.key,
        "pcrs": dict(document.pcrs),
        "log_start": document.log_start,
        "log": event_log.to_tree(document.log),
        "enrolment": document.enrolment,
        "certificates": list(document.certificates),
        "manifest": document.manifest,
    }
    return cbor2.dumps(tree, canonical=True)


def decode(data: bytes) -> Document:
    """Read a document; raises EvidenceError for anything but the one encoding of one."""
    if len(data) > MAX_SIZE:
        raise EvidenceError(f"the document is {len(data)} bytes long; {MAX_SIZE} are allowed")
    tree = fields(read_cbor(data, "the document"), "the document", _KINDS)
    if tree["version"] != _VERSION:
        raise EvidenceError(f"the document is of version {tree['version']}; this og_ros reads {_VERSION}")
    for index, value in tree["pcrs"].items():
        if type(index) is not int or not 0 <= index < PCR_COUNT or type(value) is not bytes or len(value) != 32:
            raise EvidenceError("a PCR of the document has an impossible index or value")
    certificates = tree["certificates"]
    if len(certificates) > _MAX_CERTIFICATES or any(type(item) is not bytes for item in certificates):
        raise EvidenceError(f"the document's certificates are no list of at most {_MAX_CERTIFICATES}")
    if len(tree["log_start"]) != 32:
        raise EvidenceError("the document's log_start is not 32 bytes long")
    return Document(
        quote=tree["quote"],
        signature=tree["signature"],
        key=tree["key"],
        pcrs=tree["pcrs"],
        log_start=tree["log_start"],
        log=event_log.from_tree(tree["log"]),
        enrolment=tree["enrolment"],
        certificates=tuple(certificates),
        manifest=tree["manifest"],
    )
