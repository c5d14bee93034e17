"""software: what a key says of itself, its file form, and how little it is worth."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
import softhsm
from evidence_vectors import CONTEXT, NONCE, SECOND, codes
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import SoftwareSigner, keys
from og_ros.attest.statement import Algorithm
from og_ros.errors import EvidenceError, PolicyError
from og_ros.evidence.appraisal import Appraisal, Provenance, Tier
from og_ros.evidence.attesters import attester
from og_ros.evidence.binding import Context
from og_ros.evidence.evidence_file import decode, encode, is_evidence
from og_ros.evidence.interface import AppraisalPolicy, Evidence, verifier
from og_ros.evidence.software import SoftwareAttester


def made(algorithm: Algorithm = Algorithm.ES256, provenance: str = Provenance.SOFTWARE) -> Evidence:
    signer = SoftwareSigner(keys.generate(algorithm))
    return SoftwareAttester(signer, provenance).attest(keys.spki(signer.public_key), NONCE, CONTEXT)


def judge(evidence: Evidence, policy: AppraisalPolicy | None = None, after_s: float = 1) -> Appraisal:
    now_ns = evidence.collected_at_ns + int(after_s * SECOND)
    return verifier("software").appraise(evidence, policy or AppraisalPolicy(), now_ns)


@pytest.mark.parametrize("algorithm", [Algorithm.ES256, Algorithm.EDDSA])
def test_it_is_worth_a_software_key_and_no_more(algorithm: Algorithm) -> None:
    found = judge(made(algorithm))
    assert (codes(found), found.level(), found.claims["level"]) == ([], "software_key", "software_key")
    assert not found.accepted
    assert {found.status(name) for name in ("platform", "tee", "inference")} == {Tier.NONE}


def test_a_claim_to_be_a_token_is_shown_as_a_claim() -> None:
    found = judge(made(provenance=Provenance.TOKEN))
    assert (found.claims["key_provenance"], found.claims["key_provenance_claimed"]) == ("software", "pkcs11-token")
    assert (found.level(), any("token signs no proof" in s for s in found.not_checked)) == ("software_key", True)


@pytest.mark.parametrize(
    "changes",
    [{"nonce": bytes(32)}, {"context": Context("amr-2", "planning", CONTEXT.manifest)},
     {"context": replace(CONTEXT, manifest=bytes(32))}],
    ids=str,
)  # fmt: skip
def test_a_statement_about_something_else_is_refused(changes: dict[str, object]) -> None:
    found = judge(replace(made(), **changes))
    assert (codes(found), found.level()) == (["not_bound"], "none")


def test_a_statement_of_another_key_is_refused() -> None:
    found = judge(replace(made(), key=made().key))
    assert (codes(found), found.level()) == (["bad_signature", "not_bound"], "none")


def test_age_skew_and_nonce() -> None:
    evidence = made()
    assert codes(judge(evidence, after_s=301)) == ["too_old"]
    assert codes(judge(evidence, after_s=-61)) == ["from_the_future"]
    assert codes(judge(evidence, AppraisalPolicy(nonce=NONCE))) == []
    assert codes(judge(evidence, AppraisalPolicy(nonce=bytes(32)))) == ["wrong_nonce"]


def test_every_flipped_bit_is_refused() -> None:
    evidence = made()
    for bit in range(8 * len(evidence.document)):
        changed = bytearray(evidence.document)
        changed[bit // 8] ^= 1 << bit % 8
        found = judge(replace(evidence, document=bytes(changed)))
        assert found.level() == "none", bit


@pytest.mark.parametrize("document", [b"", b"\x80", cbor2.dumps([2, bytes(32), 1, "software", bytes(64)]),
                                      cbor2.dumps([1, bytes(31), 1, "software", bytes(64)]),
                                      cbor2.dumps([1, bytes(32), -1, "software", bytes(64)]),
                                      cbor2.dumps([1, bytes(32), 1, "tee", bytes(64)]),
                                      bytes(2000)], ids=len)  # fmt: skip
def test_malformed_statements(document: bytes) -> None:
    assert codes(judge(replace(made(), document=document))) == ["malformed"]


@pytest.mark.parametrize("key", [b"", b"\x30", b"x" * 91])
def test_a_key_that_is_none(key: bytes) -> None:
    found = judge(replace(made(), key=key))
    assert (codes(found)[0], found.level()) == ("malformed", "none")


def test_there_is_nothing_to_expect_of_it() -> None:
    with pytest.raises(PolicyError, match="unknown"):
        judge(made(), AppraisalPolicy(reference_values={"software": {"measurement": "00"}}))


def test_an_attester_signs_for_its_own_key_only() -> None:
    with pytest.raises(EvidenceError, match="this is another"):
        SoftwareAttester(SoftwareSigner(keys.generate())).attest(made().key, NONCE, CONTEXT)


@pytest.mark.skipif(bool(softhsm.missing()), reason=softhsm.missing())
def test_a_tokens_key_says_that_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    # PKCS#11 reads its configuration once a process: another token needs another process.
    program = """
import pkcs11, softhsm
from og_ros.attest import keys
from og_ros.attest.key_reference import load_signer
from og_ros.evidence.attesters import attester
from og_ros.evidence.binding import Context
from og_ros.evidence.evidence_file import encode
import sys
with pkcs11.lib(softhsm.module()).get_token(token_label="robot7").open(rw=True, user_pin="5678") as session:
    softhsm.generate(session, "planning", 1)
signer = load_signer("pkcs11:token=robot7;object=planning")
made = attester(signer).attest(keys.spki(signer.public_key), bytes(32), Context("amr-1", "planning"))
sys.stdout.buffer.write(encode(made))
"""
    import os

    environment = {**os.environ, **softhsm.environment(tmp_path), "PYTHONPATH": str(Path(softhsm.__file__).parent)}
    shown = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, timeout=60, check=True
    )
    found = judge(decode(shown.stdout))
    assert (codes(found), found.level()) == ([], "software_key")
    assert found.claims["key_provenance_claimed"] == "pkcs11-token"


# ---- the file form ---------------------------------------------------------------------------------------------------


def test_the_file_form_is_one() -> None:
    evidence = made()
    data = encode(evidence)
    assert is_evidence(data)
    assert decode(data) == evidence
    assert encode(decode(data)) == data


@given(st.data())
def test_a_damaged_file_is_an_error_or_other_evidence(data: st.DataObject) -> None:
    good = encode(Evidence("software", b"\1\2\3", b"k" * 91, NONCE, CONTEXT, 5))
    at = data.draw(st.integers(0, len(good) - 1))
    changed = good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :]
    try:
        found = decode(changed)
    except EvidenceError:
        return
    assert encode(found) == changed


@pytest.mark.parametrize(
    "changes",
    [
        {"format": ""}, {"format": "a\nb"}, {"document": b""}, {"nonce": bytes(8)}, {"key": b"k" * 5000},
        {"collected_at_ns": -1}, {"context": Context("a" * 300, "b")}, {"context": Context("a", "b", b"short")},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_read_back_is_not_written(changes: dict[str, object]) -> None:
    with pytest.raises(EvidenceError):
        encode(replace(made(), **changes))


def test_collected_now() -> None:
    signer = SoftwareSigner(keys.generate())
    evidence = attester(signer).attest(keys.spki(signer.public_key), NONCE, CONTEXT)
    assert abs(evidence.collected_at_ns - time.time_ns()) < 60 * SECOND
