"""Appraisals as EAR (draft-ietf-rats-ear-04): claims, a JWT signed by the verifier's key, and a strict way back.

What EAR has no claim for stands in one map of our own, `og_ros`: the key, the reasons, what was not checked, exact
times. Whatever follows from other claims (a status, a time in seconds) is computed again when a result is read, so that
a result says one thing only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from og_ros.attest import keys
from og_ros.attest.signer import Signer
from og_ros.attest.statement import Algorithm
from og_ros.attest.verifier import verify_signature
from og_ros.errors import AttestationError, EvidenceError
from og_ros.evidence.appraisal import Appraisal, Reason, Tier

PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
DEVELOPER: Final = "og_ros"
TYPE: Final = "eat+jwt"
SUBMODULES: Final = ("platform", "tee", "inference")
CLAIMS: Final = (
    "instance_identity", "configuration", "executables", "file_system", "hardware", "runtime_opaque", "storage_opaque",
    "sourced_data",
)  # fmt: skip
"""AR4SI's trustworthiness claims; in EAR they are written with dashes."""

_ALGORITHMS: Final = {Algorithm.ES256: "ES256", Algorithm.EDDSA: "EdDSA"}
_MAX_SIZE: Final = 262_144


def to_claims(appraisal: Appraisal) -> dict[str, Any]:
    """Return an appraisal as EAR's claims, JSON; raises EvidenceError for claims that JSON cannot hold."""
    tree = {
        "eat_profile": PROFILE,
        "iat": appraisal.verified_at_ns // 10**9,
        "exp": appraisal.valid_until_ns // 10**9,
        "ear_verifier_id": {"developer": DEVELOPER, "build": appraisal.verifier},
        "submods": {name: _submodule(appraisal, name) for name in SUBMODULES},
        "og_ros": {
            "version": 1,
            "format": appraisal.format,
            "level": appraisal.level(),
            "key": _base64url(appraisal.key),
            "claims": dict(appraisal.claims),
            "reasons": [
                {"code": reason.code, "message": reason.message, "tier": _word(reason.tier)}
                for reason in appraisal.reasons
            ],
            "not_checked": list(appraisal.not_checked),
            # Text: numbers of this size are rounded by readers of JSON that have doubles alone.
            "verified_at_ns": str(appraisal.verified_at_ns),
            "valid_until_ns": str(appraisal.valid_until_ns),
            "policy": appraisal.policy,
            "cap": _word(appraisal.cap),
        },
    }
    try:
        loaded: dict[str, Any] = json.loads(_json(tree))
    except (TypeError, ValueError) as error:
        raise EvidenceError(f"an appraisal's claims must be JSON: {error}") from error
    return loaded


def from_claims(tree: object) -> Appraisal:
    """Read EAR's claims as `to_claims` writes them; raises EvidenceError for any other, and for any contradiction."""
    try:
        appraisal = _read(tree)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EvidenceError("not an attestation result of og_ros: a claim is missing or of another kind") from error
    if _json(to_claims(appraisal)) != _json(tree):
        raise EvidenceError("the attestation result contradicts itself, or has claims that are not known here")
    return appraisal


def sign(appraisal: Appraisal, signer: Signer) -> str:
    """Return a JWT (RFC 7515, compact) of an appraisal, signed by the verifier."""
    header = {"alg": _ALGORITHMS[signer.algorithm], "kid": signer.key_id.hex(), "typ": TYPE}
    signed = f"{_base64url(_json(header).encode())}.{_base64url(_json(to_claims(appraisal)).encode())}"
    return f"{signed}.{_base64url(signer.sign(signed.encode()))}"


def verify(token: str | bytes, public_key: keys.PublicKey) -> Appraisal:
    """Read a JWT that `sign` made with a key; raises EvidenceError. Whether it is still valid, the caller must ask."""
    text = token.decode("ascii", "replace") if isinstance(token, bytes) else token
    parts = text.strip().split(".")
    if len(text) > _MAX_SIZE or len(parts) != 3:
        raise EvidenceError("not a JWT: three parts between dots")
    algorithm = _ALGORITHMS[keys.algorithm_of(public_key)]
    if load_json(_bytes(parts[0])) != {"alg": algorithm, "kid": keys.key_id(public_key).hex(), "typ": TYPE}:
        raise EvidenceError(f"the attestation result is not signed by this key, with {algorithm}, as {TYPE}")
    try:
        verify_signature(public_key, f"{parts[0]}.{parts[1]}".encode(), _bytes(parts[2]))
    except AttestationError as error:
        raise EvidenceError(f"the attestation result does not hold: {error}") from error
    return from_claims(load_json(_bytes(parts[1])))


def load_json(data: bytes | str) -> Any:
    """Read JSON in which no key stands twice and every number is one; raises EvidenceError."""
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_float)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(f"not JSON: {' '.join(str(error).split())[:100]}") from error


def _submodule(appraisal: Appraisal, name: str) -> dict[str, Any]:
    """Return one submodule's claims; one that nothing is said of has the status none, and no vector."""
    found: dict[str, Any] = {
        "ear_status": _word(appraisal.status(name)),
        "ear_appraisal_policy_ids": [f"urn:og_ros:appraisal-policy:sha256:{appraisal.policy}"],
    }
    if vector := appraisal.submodules.get(name):
        found["ear_trustworthiness_vector"] = {claim.replace("_", "-"): int(tier) for claim, tier in vector.items()}
    return found


def _read(tree: Any) -> Appraisal:
    ours, submods = tree["og_ros"], tree["submods"]
    return Appraisal(
        format=_text(ours["format"]),
        key=_bytes(ours["key"]),
        submodules={
            name: _vector(submods[name]["ear_trustworthiness_vector"])
            for name in SUBMODULES
            if "ear_trustworthiness_vector" in submods[name]
        },
        claims=_mapping(ours["claims"]),
        reasons=tuple(Reason(_text(r["code"]), _text(r["message"]), _tier(r["tier"])) for r in ours["reasons"]),
        not_checked=tuple(_text(item) for item in ours["not_checked"]),
        verified_at_ns=_time(ours["verified_at_ns"]),
        valid_until_ns=_time(ours["valid_until_ns"]),
        policy=_text(ours["policy"]),
        verifier=_text(tree["ear_verifier_id"]["build"]),
        cap=_tier(ours["cap"]),
    )


def _vector(tree: Any) -> dict[str, Tier]:
    found = {str(name).replace("-", "_"): Tier(tier) for name, tier in _mapping(tree).items()}
    if not found or not found.keys() <= set(CLAIMS):
        raise ValueError("not a trustworthiness vector")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not a mapping")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _time(value: Any) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 19:
        raise ValueError("not a time in nanoseconds")
    return int(value)


def _word(tier: Tier) -> str:
    return tier.name.lower()


def _tier(word: Any) -> Tier:
    return Tier[_text(word).upper()]


def _json(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no number")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number beyond all bounds")
    return value


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: Any) -> bytes:
    """Read base64url without padding, in its one form (RFC 7515 appendix C); raises EvidenceError."""
    try:
        data = base64.b64decode(_text(text) + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError) as error:
        raise EvidenceError("not base64url") from error
    if _base64url(data) != text:
        raise EvidenceError("not base64url in its one form")
    return data
