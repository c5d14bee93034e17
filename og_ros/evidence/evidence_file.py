"""Evidence as a file: one map in deterministic CBOR, so that equal evidence has equal bytes."""

from __future__ import annotations

from typing import Any, Final

import cbor2

from og_ros.attest import cbor_reader
from og_ros.errors import AttestationError, EvidenceError
from og_ros.evidence.binding import NONCE_SIZES, Context
from og_ros.evidence.interface import Evidence

MAX_DOCUMENT: Final = 1_048_576
_MAX_KEY: Final = 4096
_MAX_TEXT: Final = 256
_FIELDS: Final = {"v", "format", "document", "key", "nonce", "robot", "stage", "manifest", "collected_at_ns"}
# A map of nine whose first key, in deterministic order, is the version.
_MAGIC: Final = b"\xa9\x61v"


def is_evidence(data: bytes) -> bool:
    """Whether bytes begin as an evidence file does, of whatever version."""
    return data.startswith(_MAGIC)


def encode(evidence: Evidence) -> bytes:
    """Return the file form; raises EvidenceError for what cannot be read back."""
    data = cbor2.dumps(
        {
            "v": 1,
            "format": evidence.format,
            "document": evidence.document,
            "key": evidence.key,
            "nonce": evidence.nonce,
            "robot": evidence.context.robot,
            "stage": evidence.context.stage,
            "manifest": evidence.context.manifest,
            "collected_at_ns": evidence.collected_at_ns,
        },
        canonical=True,
    )
    decode(data)
    return data


def decode(data: bytes) -> Evidence:
    """Read the file form; raises EvidenceError for any other bytes."""
    if len(data) > MAX_DOCUMENT + 16_384:
        raise EvidenceError(f"the evidence file is {len(data)} bytes long; {MAX_DOCUMENT} are allowed for its document")
    try:
        tree = cbor_reader.read(data)
    except AttestationError as error:
        raise EvidenceError(f"not an evidence file: {error}") from error
    if not isinstance(tree, dict) or tree.keys() != _FIELDS or tree["v"] != 1:
        raise EvidenceError("not an evidence file of version 1")
    collected = tree["collected_at_ns"]
    if not isinstance(collected, int) or not 0 <= collected < 2**63:
        raise EvidenceError("collected_at_ns is no time")
    return Evidence(
        format=_text(tree, "format", 1),
        document=_bytes(tree, "document", range(1, MAX_DOCUMENT + 1)),
        key=_bytes(tree, "key", range(_MAX_KEY + 1)),
        nonce=_bytes(tree, "nonce", NONCE_SIZES),
        context=Context(_text(tree, "robot"), _text(tree, "stage"), _bytes(tree, "manifest", range(32, 33))),
        collected_at_ns=collected,
    )


def _text(tree: dict[Any, Any], name: str, least: int = 0) -> str:
    value = tree[name]
    if not isinstance(value, str) or not least <= len(value) <= _MAX_TEXT or not (value.isprintable() or not value):
        raise EvidenceError(f"{name} must be text of {least} to {_MAX_TEXT} characters")
    return value


def _bytes(tree: dict[Any, Any], name: str, sizes: range) -> bytes:
    value = tree[name]
    if not isinstance(value, bytes) or len(value) not in sizes:
        raise EvidenceError(f"{name} must be {sizes[0]} to {sizes[-1]} bytes")
    return value
