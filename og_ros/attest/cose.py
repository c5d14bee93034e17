"""COSE_Sign1 (RFC 9052 section 4.2) form of an attestation: what is signed, exported, imported and logged.

The protected header is a function of the statement: algorithm (1), content type (3), key id (4) and CWT claims (15)
with the robot as issuer and the stage as subject, which makes the object a SCITT signed statement
(RFC 9597 for the claims). The unprotected header is empty, so an attestation has exactly one COSE form.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cbor2

from og_ros.attest import cbor, cbor_reader
from og_ros.attest.signer import Signer
from og_ros.attest.statement import Attestation, Statement
from og_ros.errors import AttestationError

CONTENT_TYPE: Final = "application/vnd.og-ros.statement+cbor"
COSE_SIGN1_TAG: Final = 18
MAX_COSE_SIZE: Final = 65_535  # what the log takes as a leaf; a statement of 60,000 bytes stays below it
SIGNATURE_SIZE: Final = 64
_ALG, _CONTENT_TYPE, _KID, _CWT_CLAIMS = 1, 3, 4, 15
_ISS, _SUB = 1, 2
_TAG_HEAD: Final = bytes([0xC0 | COSE_SIGN1_TAG])


def seal(statement: Statement, signature: bytes) -> Attestation:
    """Join a statement and its signature to an attestation; the signature is not checked here."""
    payload = cbor.encode(statement)
    return _assemble(statement, payload, to_be_signed(statement, payload), signature)


def to_be_signed(statement: Statement, payload: bytes) -> bytes:
    """Return the Sig_structure (RFC 9052 section 4.4) whose bytes are signed; `payload` is the statement's CBOR."""
    return cbor2.dumps(["Signature1", _protected(statement), b"", payload])


def decode(data: bytes) -> Attestation:
    """Read a COSE_Sign1 object back into an attestation.

    Raises AttestationError for anything but the one form that `seal` gives: the tag, the protected header that follows
    from the statement, an empty unprotected header, deterministic encoding, a 64-byte signature.
    """
    if len(data) > MAX_COSE_SIZE:
        raise AttestationError(f"the COSE_Sign1 object is {len(data)} bytes long; {MAX_COSE_SIZE} are allowed")
    if data[:1] != _TAG_HEAD:
        raise AttestationError("not a COSE_Sign1 object: tag 18 is missing")
    parts = cbor_reader.read(data[1:])
    if not isinstance(parts, list) or len(parts) != 4:
        raise AttestationError("a COSE_Sign1 object has four parts")
    protected, unprotected, payload, signature = parts
    if not isinstance(protected, bytes) or not isinstance(payload, bytes) or not isinstance(signature, bytes):
        raise AttestationError("protected header, payload and signature of a COSE_Sign1 object are byte strings")
    if unprotected != {}:
        raise AttestationError("the unprotected header is not empty: nothing unsigned may decide")
    statement = cbor.decode(payload)
    if protected != _protected(statement):
        raise AttestationError("the protected header does not match the statement")
    attestation = _assemble(statement, payload, to_be_signed(statement, payload), signature)
    if attestation.cose != data:
        raise AttestationError("the COSE_Sign1 object has another form than the one that `seal` gives")
    return attestation


def split(data: bytes) -> list[bytes]:
    """Split a CBOR sequence (RFC 8742) of COSE_Sign1 objects; raises AttestationError where it is none.

    The objects are not read yet: `decode` checks each.
    """
    found, at = [], 0
    while at < len(data):
        if data[at : at + 1] != _TAG_HEAD:
            raise AttestationError("not a sequence of COSE_Sign1 objects: tag 18 is missing")
        end = cbor_reader.end_of(data, at + 1)
        found.append(data[at:end])
        at = end
    return found


def sign(statement: Statement, signer: Signer) -> Attestation:
    """Sign a statement; raises AttestationError when it names another key or algorithm than the signer's."""
    if statement.key_id != signer.key_id or statement.algorithm != signer.algorithm:
        raise AttestationError("the statement names another key than the signer's")
    payload = cbor.encode(statement)
    message = to_be_signed(statement, payload)
    return _assemble(statement, payload, message, signer.sign(message))


def _assemble(statement: Statement, payload: bytes, message: bytes, signature: bytes) -> Attestation:
    if len(signature) != SIGNATURE_SIZE:
        raise AttestationError(f"the signature is {len(signature)} bytes long; it must be {SIGNATURE_SIZE}")
    body: list[object] = [_protected(statement), {}, payload, signature]
    return Attestation(statement, signature, message, cbor2.dumps(cbor2.CBORTag(COSE_SIGN1_TAG, body)))


def _protected(statement: Statement) -> bytes:
    return _protected_header(int(statement.algorithm), statement.key_id, statement.robot, statement.stage)


@lru_cache(maxsize=1024)
def _protected_header(algorithm: int, key_id: bytes, robot: str, stage: str) -> bytes:
    return cbor2.dumps(
        {_ALG: algorithm, _CONTENT_TYPE: CONTENT_TYPE, _KID: key_id, _CWT_CLAIMS: {_ISS: robot, _SUB: stage}}
    )
