"""The conformance cases hold here: good ones are accepted as written, what ends in _fail is refused for its reason."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from og_ros.attest import cose, decode_attestation, digest, keys, verify
from og_ros.attest.digest import covered_size
from og_ros.audit.records import Inference
from og_ros.audit.sessions import SessionChecker
from og_ros.errors import AttestationError, LogError
from og_ros.log.checkpoint import open_checkpoint
from og_ros.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from og_ros.log.proof import verify_proof

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS: dict[str, Any] = json.loads((FOLDER / "conformance_v1.json").read_text(encoding="utf-8"))
KINDS = ("wire", "cose", "session", "digest", "inclusion", "consistency", "checkpoint", "log_proof")
# What this software says for each reason of a case.
MESSAGES = {
    "malformed": "at least 4 bytes|truncated|after its end|encapsulation|only NUL|not UTF-8|malformed|the time|allowed"
    "|tag 18|four parts|not a decimal|not base64|canonical|has .* lines|control character|blank line|newline"
    "|root has|with another root|does not start|no index|no empty line|checkpoint size|before a checkpoint",
    "bounds": "control or hidden|format_version|not a valid|all zero when",
    "key": "names another key",
    "algorithm": "not the key's algorithm",
    "signature_form": "bytes long; it must be 64|out of range|low-S",
    "signature": "does not match the statement",
    "proof": "proof",
    "note": "signature of .* is wrong",
    "unsigned": "is not signed by",
    "origin": "speaks for the log",
}


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", VECTORS[kind], ids=lambda case: case["name"])


def octets(case: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(case[name]) for name in names]


def refuses(case: dict[str, Any], kind: type[Exception] = AttestationError) -> Any:
    return pytest.raises(kind, match=MESSAGES[case["reason"]])


def test_the_file_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(FOLDER / "make_conformance.py"))["build"]()
    assert (FOLDER / "conformance_v1.json").read_text(encoding="utf-8") == made


def test_names_say_which_must_be_refused() -> None:
    for kind in KINDS:
        names = [case["name"] for case in VECTORS[kind]]
        assert len(set(names)) == len(names)
        assert any(name.endswith("_fail") for name in names)
        assert all(("reason" in case) == case["name"].endswith("_fail") for case in VECTORS[kind])


@cases("wire")
def test_wire(case: dict[str, Any]) -> None:
    public = keys.parse_public(VECTORS["keys"][case["key"]]["public_key"])
    (data,) = octets(case, "wire")
    if "reason" in case:
        with refuses(case):
            verify(decode_attestation(data), public)
    else:
        attestation = decode_attestation(data)
        verify(attestation, public)
        assert attestation.digest.hex() == case["digest"]
        assert cose.decode(attestation.cose) == attestation


@cases("cose")
def test_cose(case: dict[str, Any]) -> None:
    public = keys.parse_public(VECTORS["keys"][case["key"]]["public_key"])
    (data,) = octets(case, "cose")
    if "reason" in case:
        with refuses(case):
            verify(cose.decode(data), public)
    else:
        attestation = cose.decode(data)
        verify(attestation, public)
        assert attestation.digest.hex() == case["digest"]


@cases("session")
def test_session(case: dict[str, Any]) -> None:
    """By the very checker of an audit; its findings are the reasons."""
    public = keys.parse_public(VECTORS["keys"][case["key"]]["public_key"])
    checker, found = SessionChecker(), []
    for at, text in enumerate(case["cose"]):
        attestation = cose.decode(bytes.fromhex(text))
        verify(attestation, public)
        inference = Inference(attestation, "/t/attestation", at)
        if checker.replayed(inference):
            found.append("attestation_replayed")
            continue
        found += [finding.kind for finding in checker.add(inference)]
    if any(chain.gaps for chain in checker.sessions.values()) and not found:
        found.append("attestation_lost")
    if len(checker.sessions) > 1:
        found = ["session_other"]
    assert found[:1] == ([case["reason"]] if "reason" in case else [])


@cases("digest")
def test_digest(case: dict[str, Any]) -> None:
    if "payload" in case:
        (payload,) = octets(case, "payload")
    else:
        payload = bytes.fromhex(case["header"]) + bytes(i % 251 for i in range(int(case["body_size"])))
    if "reason" in case:
        with refuses(case):
            digest(payload)
        return
    assert covered_size(payload) == int(case["size"])
    for algorithm, value in case["digests"].items():
        if algorithm == "blake3":
            pytest.importorskip("blake3", reason="the PyPI package blake3 is not installed")
        assert digest(payload, algorithm).hex() == value


@cases("inclusion")
def test_inclusion(case: dict[str, Any]) -> None:
    leaf, root = octets(case, "leaf", "root")
    path = [bytes.fromhex(value) for value in case["path"]]
    arguments = (leaf_hash(leaf), int(case["index"]), int(case["size"]), path, root)
    if "reason" in case:
        with refuses(case, LogError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@cases("consistency")
def test_consistency(case: dict[str, Any]) -> None:
    old, new = octets(case, "first_root", "second_root")
    path = [bytes.fromhex(value) for value in case["path"]]
    arguments = (int(case["first"]), int(case["second"]), path, old, new)
    if "reason" in case:
        with refuses(case, LogError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


@cases("checkpoint")
def test_checkpoint(case: dict[str, Any]) -> None:
    if "reason" in case:
        with refuses(case, LogError):
            open_checkpoint(case["note"], case["vkey"], case["origin"])
    else:
        checkpoint = open_checkpoint(case["note"], case["vkey"], case["origin"])
        assert (str(checkpoint.size), checkpoint.root.hex()) == (case["size"], case["root"])


@cases("log_proof")
def test_log_proof(case: dict[str, Any]) -> None:
    (leaf,) = octets(case, "leaf")
    if "reason" in case:
        with refuses(case, LogError):
            verify_proof(leaf, case["proof"], case["vkey"], case["origin"])
    else:
        verify_proof(leaf, case["proof"], case["vkey"], case["origin"])
