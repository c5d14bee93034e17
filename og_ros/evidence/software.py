"""Attester and verifier of `software`: what a key signs about itself, and that is worth no more than the key.

It shows that whoever holds the key named this robot, stage and manifest at that time. It shows nothing of where the key
lives: a copy on another machine makes the same statement, and so does one that calls itself a PKCS#11 token's.
"""

from __future__ import annotations

import time
from typing import Final

import cbor2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key

from og_ros.attest import cbor_reader, keys
from og_ros.attest.signer import Signer
from og_ros.attest.verifier import verify_signature
from og_ros.errors import AttestationError, EvidenceError, KeyFileError
from og_ros.evidence.appraisal import Appraisal, Provenance
from og_ros.evidence.binding import Context, binding
from og_ros.evidence.case import Case, utc
from og_ros.evidence.interface import AppraisalPolicy, Evidence
from og_ros.evidence.reference import ReferenceValues

FORMAT: Final = "software"
DOMAIN: Final = b"og_ros/software-evidence/v1\x00"
_PROVENANCES: Final = (Provenance.SOFTWARE, Provenance.TOKEN)
_MAX_SIZE: Final = 1024


class SoftwareAttester:
    """Signs the statement with the key itself; `provenance` is what the statement claims of where the key lives."""

    format: str = FORMAT

    def __init__(self, signer: Signer, provenance: str = Provenance.SOFTWARE) -> None:
        self._signer, self._provenance = signer, provenance

    def available(self) -> str:
        """Return why it cannot attest here: it always can."""
        return ""

    def attest(self, key: bytes, nonce: bytes, context: Context) -> Evidence:
        """Sign the binding; raises EvidenceError for a key that is not the signer's own."""
        if key != keys.spki(self._signer.public_key):
            raise EvidenceError("software evidence is signed by the very key that it is about, and this is another")
        now_ns = time.time_ns()
        said = [1, binding(FORMAT, nonce, key, context), now_ns, self._provenance]
        signature = self._signer.sign(DOMAIN + cbor2.dumps(said))
        return Evidence(FORMAT, cbor2.dumps([*said, signature]), key, nonce, context, now_ns)


class SoftwareVerifier:
    """Appraises such statements; the best that one is worth is the level software_key."""

    format: str = FORMAT

    def check_reference(self, policy: AppraisalPolicy) -> None:
        """Raise PolicyError for any reference value: there is nothing to compare."""
        ReferenceValues(policy, FORMAT).end()

    def appraise(self, evidence: Evidence, policy: AppraisalPolicy, now_ns: int) -> Appraisal:
        """Judge a statement; raises PolicyError for reference values, and nothing else."""
        self.check_reference(policy)
        case = Case(evidence, policy, now_ns)
        case.check_format(FORMAT)
        try:
            bound, made_ns, provenance, signature = read(evidence.document)
            key = _key(evidence.key)
        except EvidenceError as error:
            case.against("malformed", str(error))
            return case.close()
        case.claims |= {"document_time": utc(made_ns), "key_provenance_claimed": provenance}
        try:
            verify_signature(key, DOMAIN + cbor2.dumps([1, bound, made_ns, provenance]), signature)
        except AttestationError as error:
            case.against("bad_signature", str(error))
        asked = case.check_nonce()
        age_s = (now_ns - made_ns) / 1e9
        if age_s > policy.max_age_s:
            case.against("too_old", f"the statement is {age_s:.0f} s old; {policy.max_age_s:g} s are allowed")
        if -age_s > policy.max_skew_s:
            case.against("from_the_future", f"the statement is from {-age_s:.0f} s ahead of the time judged")
        case.check_bound(bound, case.expected_binding(), "the statement")
        if not asked:
            case.not_checked.append("that it was made for one question: nobody asked with a nonce")
        case.not_checked.append("where the key lives and what software uses it: the key alone says so")
        if provenance == Provenance.TOKEN:
            case.not_checked.append("that the key lives in a PKCS#11 token: a token signs no proof of that")
        return case.close()


VERIFIER: Final = SoftwareVerifier()


def read(document: bytes) -> tuple[bytes, int, str, bytes]:
    """Return binding, time (ns), claimed provenance and signature; raises EvidenceError."""
    if len(document) > _MAX_SIZE:
        raise EvidenceError(f"the statement is over {_MAX_SIZE} bytes long")
    try:
        parts = cbor_reader.read(document)
    except AttestationError as error:
        raise EvidenceError(str(error)) from error
    if not isinstance(parts, list) or len(parts) != 5 or parts[0] != 1:
        raise EvidenceError("a statement has five parts and is of version 1")
    _, bound, made_ns, provenance, signature = parts
    if not isinstance(bound, bytes) or len(bound) != 32 or not isinstance(signature, bytes):
        raise EvidenceError("a statement's binding is 32 bytes long, and its signature is a byte string")
    if not isinstance(made_ns, int) or not 0 <= made_ns < 2**62 or provenance not in _PROVENANCES:
        raise EvidenceError("a statement's time or provenance cannot be")
    return bound, made_ns, str(provenance), signature


def _key(spki: bytes) -> keys.PublicKey:
    try:
        key = load_der_public_key(spki)
        keys.algorithm_of(key)  # type: ignore[arg-type]  # of whatever kind: that is what it checks
    except (ValueError, UnsupportedAlgorithm, KeyFileError) as error:
        raise EvidenceError("the key is no P-256 or Ed25519 key (SPKI DER)") from error
    return key  # type: ignore[return-value]
