"""An exported attestation in COSE libraries that were not written here: PyPI pycose and scitt-cose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from attest_examples import ED25519_SECRET, attestation_of, signer_of, statement_of

from og_ros.attest import Algorithm, SoftwareSigner, cbor, cose, keys

Check = Callable[[bytes, keys.PublicKey], bool]
"""Whether a COSE_Sign1 object verifies with a key, in another library."""


def pycose_check() -> Check:
    messages = pytest.importorskip("pycose.messages", reason="the PyPI package pycose is not installed")
    from pycose.keys import EC2Key, OKPKey
    from pycose.keys.curves import P256, Ed25519

    def key_of(public: keys.PublicKey) -> Any:
        raw = keys.spki(public)
        if keys.algorithm_of(public) == Algorithm.EDDSA:
            return OKPKey(crv=Ed25519, x=raw[-32:])
        return EC2Key(crv=P256, x=raw[-64:-32], y=raw[-32:])

    def check(data: bytes, public: keys.PublicKey) -> bool:
        # Its own decode() does not know the immutable containers that cbor2 6 gives.
        tag = cbor2.loads(data)
        protected, unprotected, payload, signature = tag.value
        message = messages.Sign1Message.from_cose_obj([protected, dict(unprotected), payload, signature], True)
        message.key = key_of(public)
        return bool(message.verify_signature())

    return check


def scitt_check() -> Check:
    scitt = pytest.importorskip("scitt_cose", reason="the PyPI package scitt-cose is not installed")

    def check(data: bytes, public: keys.PublicKey) -> bool:
        try:
            scitt.verify_sign1(data, public_key_pem=keys.public_pem(public))
        except scitt.CoseError:
            return False
        return True

    return check


@pytest.fixture(params=[pycose_check, scitt_check], ids=["pycose", "scitt-cose"])
def check(request: pytest.FixtureRequest) -> Check:
    made: Check = request.param()
    return made


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_an_export_verifies(check: Check, algorithm: Algorithm) -> None:
    for robot in ("robot-7", "Müller-ロボット 🤖"):
        assert check(attestation_of(algorithm, robot=robot).cose, signer_of(algorithm).public_key)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_forgeries_are_refused(check: Check, algorithm: Algorithm) -> None:
    honest = attestation_of(algorithm)
    public = signer_of(algorithm).public_key
    other = cose.seal(statement_of(algorithm, sequence=6), honest.signature)
    flipped = cose.seal(honest.statement, bytes([honest.signature[0] ^ 1]) + honest.signature[1:])
    relabelled = cbor2.loads(honest.cose).value
    header = cbor2.dumps({**cbor2.loads(relabelled[0]), 15: {1: "robot-8", 2: "perception"}})
    renamed = cbor2.dumps(cbor2.CBORTag(18, [header, {}, *relabelled[2:]]))
    assert check(honest.cose, public)
    for forged in (other.cose, flipped.cose, renamed):
        assert not check(forged, public)
    assert not check(honest.cose, SoftwareSigner(keys.generate(algorithm)).public_key)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_scitt_cose_reads_issuer_subject_and_content_type(algorithm: Algorithm) -> None:
    scitt = pytest.importorskip("scitt_cose", reason="the PyPI package scitt-cose is not installed")
    attestation = attestation_of(algorithm)
    read = scitt.parse_signed_statement(
        attestation.cose, public_key_pem=keys.public_pem(signer_of(algorithm).public_key)
    )
    assert read["signature_verified"] is True
    assert (read["issuer"], read["subject"]) == ("robot-7", "perception")
    assert read["content_type"] == cose.CONTENT_TYPE
    assert read["payload"] == cbor.encode(attestation.statement)


def test_the_fixed_ed25519_key_is_what_it_says() -> None:
    key = signer_of(Algorithm.EDDSA)._key
    assert isinstance(key, keys.ed25519.Ed25519PrivateKey)
    assert key.private_bytes_raw() == ED25519_SECRET
