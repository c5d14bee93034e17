"""COSE receipts (RFC 9942, vds RFC9162_SHA256): a leaf's inclusion proof as COSE_Sign1 over the root, for SCITT tools.

A `.tlog-proof` needs no signature of its own, since the checkpoint has one. A receipt does: the log's key signs the
root in COSE's form. Only its owner can make one, and anybody checks it with the log's public key and the leaf. Its CWT
claims (RFC 9943) are the log's origin as issuer, and the leaf's hash in hex as subject.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from og_ros.attest import cbor_reader
from og_ros.attest.keys import key_id
from og_ros.errors import AttestationError, LogError
from og_ros.log.checkpoint import open_checkpoint
from og_ros.log.merkle import HASH_SIZE, leaf_hash, root_from_inclusion
from og_ros.log.note import VerifierKey
from og_ros.log.store import Ledger

MAX_RECEIPT: Final = 8192
_TAG: Final = 18
_HEAD: Final = b"\xd2\x84"  # tag 18, an array of four
_NIL: Final = b"\xf6"
_ALG, _KID, _CWT_CLAIMS, _VDS, _VDP = 1, 4, 15, 395, 396
_ISS, _SUB = 1, 2
_EDDSA: Final = -8
_RFC9162_SHA256: Final = 1
_INCLUSION: Final = -1
_MAX_PATH: Final = 63


def make_receipt(ledger: Ledger, index: int, key: Ed25519PrivateKey) -> bytes:
    """Make the receipt of a leaf under the ledger's latest checkpoint; the issuer claim is the log's origin.

    Raises LogError when the key is not the log's, when the leaf came after the checkpoint, or when the ledger does not
    give the checkpoint's root: nothing is signed then.
    """
    if VerifierKey.of(ledger.origin, key) != ledger.key:
        raise LogError(f"{ledger.directory}: was made with another signing key, {ledger.vkey}")
    latest = ledger.latest_checkpoint()
    if latest is None or not 0 <= index < latest.size:
        raise LogError(f"leaf {index} is not in the latest checkpoint, which covers {latest.size if latest else 0}")
    head = open_checkpoint(latest.note, ledger.key, ledger.origin)
    path = ledger.inclusion_proof(index, head.size)
    leaf = leaf_hash(ledger.leaf(index).data)
    if root_from_inclusion(leaf, index, head.size, path) != head.root:
        raise LogError(f"{ledger.directory}: does not give the root of its checkpoint; see og-ros log verify")
    protected = _protected(ledger.key, leaf)
    signature = key.sign(_to_be_signed(protected, head.root))
    proof = cbor2.dumps([head.size, index, path])
    return cbor2.dumps(cbor2.CBORTag(_TAG, [protected, {_VDP: {_INCLUSION: [proof]}}, None, signature]))


def verify_receipt(leaf: bytes, receipt: bytes, key: VerifierKey) -> bytes:
    """Check a receipt of `leaf` (the bytes as logged) under the log's key; the root of the tree that it is in.

    The root is all that RFC 9942 has signed: size and index in the proof are not, so nothing is said of them. Strict:
    only the form that `make_receipt` gives is taken, and nothing in the unprotected header but the proof. Raises
    LogError.
    """
    if len(receipt) > MAX_RECEIPT:
        raise LogError(f"receipt is longer than {MAX_RECEIPT} bytes")
    protected, unprotected, signature = _parts(receipt)
    if protected != _protected(key, leaf_hash(leaf)):
        raise LogError(f"receipt: its protected header is not that of a receipt of the log {key.name} for this leaf")
    size, index, path = _proof(unprotected)
    root = root_from_inclusion(leaf_hash(leaf), index, size, path)
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature, _to_be_signed(protected, root))
    except (InvalidSignature, ValueError):
        raise LogError("receipt: the log's key did not sign the root that the leaf and the proof give") from None
    return root


def _protected(key: VerifierKey, leaf: bytes) -> bytes:
    kid = key_id(Ed25519PublicKey.from_public_bytes(key.public_key))
    claims = {_ISS: key.name, _SUB: leaf.hex()}
    return cbor2.dumps({_ALG: _EDDSA, _KID: kid, _CWT_CLAIMS: claims, _VDS: _RFC9162_SHA256})


def _to_be_signed(protected: bytes, root: bytes) -> bytes:
    return cbor2.dumps(["Signature1", protected, b"", root])


def _parts(receipt: bytes) -> tuple[bytes, Any, bytes]:
    """Split the one form of a receipt: tag 18, an array of four, the payload nil. Raises LogError."""
    if not receipt.startswith(_HEAD):
        raise LogError("receipt is no COSE_Sign1 object: tag 18 or the array of four is missing")
    try:
        after_protected = cbor_reader.end_of(receipt, len(_HEAD))
        after_unprotected = cbor_reader.end_of(receipt, after_protected)
        protected = cbor_reader.read(receipt[len(_HEAD) : after_protected])
        unprotected = cbor_reader.read(receipt[after_protected:after_unprotected])
        if receipt[after_unprotected : after_unprotected + 1] != _NIL:
            raise LogError("receipt: its payload is attached, and it must follow from the leaf")
        signature = cbor_reader.read(receipt[after_unprotected + 1 :])
    except AttestationError as error:
        raise LogError(f"receipt: {error}") from error
    if not isinstance(protected, bytes) or not isinstance(signature, bytes):
        raise LogError("receipt: protected header and signature are byte strings")
    return protected, unprotected, signature


def _proof(unprotected: Any) -> tuple[int, int, list[bytes]]:
    """Read the one inclusion proof: tree size, leaf index, path. Raises LogError."""
    try:
        ((label, proofs),) = unprotected.items()
        ((kind, (blob,)),) = proofs.items()
        tree: Any = cbor_reader.read(bytes(memoryview(blob)))
        size, index, path = tree
    except (AttributeError, TypeError, ValueError):
        raise LogError("receipt: its unprotected header has not just one inclusion proof") from None
    except AttestationError as error:
        raise LogError(f"receipt: its inclusion proof: {error}") from error
    if (label, kind) != (_VDP, _INCLUSION) or not isinstance(size, int) or not isinstance(index, int):
        raise LogError("receipt: its inclusion proof is malformed")
    if not isinstance(path, list) or len(path) > _MAX_PATH:
        raise LogError("receipt: its inclusion path is malformed")
    if any(not isinstance(value, bytes) or len(value) != HASH_SIZE for value in path):
        raise LogError("receipt: its inclusion path has something that is no hash")
    return size, index, path
