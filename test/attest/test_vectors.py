"""The published vectors: the file is what its script makes, holds by other libraries alone, and holds by this one."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from og_ros.attest import SoftwareSigner, cbor, cose, decode_attestation, digest, encode_attestation, keys, verify
from og_ros.errors import AttestationError

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS: dict[str, Any] = json.loads((FOLDER / "attestation_v1.json").read_text(encoding="utf-8"))
WIDE = {"sequence", "start", "signed_at", "stamp", "size", "start_monotonic_ns", "duration_ns"}

REASONS = {
    "signature flipped": "does not match",
    "high-S twin": "low-S",
    "r is zero": "out of range",
    "s is zero": "out of range",
    "r is the group order": "out of range",
    "signature of 63 bytes": "63 bytes long",
    "signature of 65 bytes": "65 bytes long",
    "statement changed": "does not match",
    "statement says EdDSA, key is P-256": "says EDDSA",
    "statement names another key": "names another key",
    "protected header names another robot": "protected header does not match",
    "unprotected header": "unprotected header is not empty",
    "no tag": "tag 18 is missing",
    "bytes after the end": "after its end",
    "payload: bytes after the end": "after its end",
    "payload: number not in its shortest form": "shortest form",
    "payload: unknown field": "unknown fields",
    "payload: field missing": "'node' has nothing",
    "payload: duplicate key": "'node' is a duplicate",
    "payload: keys out of order": "out of order",
    "payload: true in place of 1": "simple value",
    "payload: control character": "control or hidden character",
    "payload: format version 2": "format_version is 2",
}
"""For which reason, and no other, each refused vector is refused here."""


def named(items: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[items], ids=lambda vector: vector["name"])


def test_the_file_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(FOLDER / "make_vectors.py"))["build"]()
    assert (FOLDER / "attestation_v1.json").read_text(encoding="utf-8") == made


@named("attestations")
def test_a_vector_holds_by_other_libraries_alone(vector: dict[str, Any]) -> None:
    """What a verifier elsewhere does: no og_ros in here."""
    protected, unprotected, payload, signature = cbor2.loads(bytes.fromhex(vector["cose"])).value
    assert (payload.hex(), signature.hex()) == (vector["cbor"], vector["signature"])
    assert not unprotected
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    assert message.hex() == vector["sig_structure"]
    assert hashlib.sha256(bytes.fromhex(vector["cose"])).hexdigest() == vector["digest"]
    public = serialization.load_pem_public_key(VECTORS["keys"][vector["algorithm"]]["public_key"].encode())
    if isinstance(public, ed25519.Ed25519PublicKey):
        public.verify(signature, message)
    else:
        assert isinstance(public, ec.EllipticCurvePublicKey)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            public.verify(encode_dss_signature(r, s), message + b"\0", ec.ECDSA(hashes.SHA256()))

    def of_json(item: Any, name: str = "") -> Any:
        if isinstance(item, list):
            return [of_json(part) for part in item]
        if isinstance(item, dict):
            return {key: of_json(part, key) for key, part in item.items()}
        if name in WIDE:
            return int(item)
        octets = ("session", "previous", "digest", "processing_digest", "attestation", "key_id")
        return bytes.fromhex(item) if name in octets else item

    assert cbor2.dumps(of_json(vector["statement"]), canonical=True).hex() == vector["cbor"]


@named("attestations")
def test_a_vector_holds_here(vector: dict[str, Any]) -> None:
    key = VECTORS["keys"][vector["algorithm"]]
    attestation = cose.decode(bytes.fromhex(vector["cose"]))
    assert decode_attestation(bytes.fromhex(vector["wire"])) == attestation
    assert encode_attestation(attestation).hex() == vector["wire"]
    assert attestation.statement == cbor.decode(bytes.fromhex(vector["cbor"]))
    assert attestation.digest.hex() == vector["digest"]
    public = keys.parse_public(key["public_key"])
    assert keys.key_id(public).hex() == key["key_id"]
    verify(attestation, public)
    private = serialization.load_pem_private_key(key["private_key"].encode(), None)
    assert isinstance(private, (ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey))
    assert cose.sign(attestation.statement, SoftwareSigner(private)) == attestation


@named("refused")
def test_what_must_be_refused_is(vector: dict[str, Any]) -> None:
    public = keys.parse_public(VECTORS["keys"][vector["public_key"]]["public_key"])
    with pytest.raises(AttestationError, match=REASONS[vector["name"]]):
        verify(cose.decode(bytes.fromhex(vector["cose"])), public)


@named("messages")
def test_the_digest_of_a_message(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    assert digest(payload).hex() == vector["sha256"]
    covered = payload[:2] + b"\0\0" + payload[4:] + bytes(-len(payload) % 4)
    assert (len(covered), hashlib.sha256(covered).hexdigest()) == (vector["size"], vector["sha256"])
