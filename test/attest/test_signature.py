"""Signatures: known answers, determinism, low S, ranges and sizes, and no confusion of algorithms or keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attest_examples import attestation_of, signer_of, statement_of
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Algorithm, SoftwareSigner, cose, keys, verify, verify_signature
from og_ros.attest.signer import P256_ORDER
from og_ros.errors import KeyFileError, SignatureError

ES256, EDDSA = signer_of(Algorithm.ES256), signer_of(Algorithm.EDDSA)

# RFC 6979 appendix A.2.5, P-256 with SHA-256, messages "sample" and "test": r and s.
RFC_6979 = {
    b"sample": (
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    b"test": (
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
}
# RFC 8032 section 7.1, test 1: the empty message.
RFC_8032_PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
RFC_8032_SIGNATURE = (
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
    "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
)


def raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.parametrize("message", RFC_6979)
def test_es256_gives_the_signature_of_rfc_6979_in_low_s(message: bytes) -> None:
    r, s = RFC_6979[message]
    low = min(s, P256_ORDER - s)
    assert ES256.sign(message) == raw(r, low)
    verify_signature(ES256.public_key, message, raw(r, low))


def test_one_of_the_known_answers_has_a_high_s_that_is_refused() -> None:
    r, s = RFC_6979[b"sample"]
    assert s > P256_ORDER // 2
    ES256.public_key.verify(encode_dss_signature(r, s), b"sample", ec.ECDSA(hashes.SHA256()))  # type: ignore[union-attr,call-arg,arg-type]
    with pytest.raises(SignatureError, match="low-S"):
        verify_signature(ES256.public_key, b"sample", raw(r, s))


def test_eddsa_gives_the_signature_of_rfc_8032() -> None:
    assert keys.spki(EDDSA.public_key)[-32:].hex() == RFC_8032_PUBLIC
    assert EDDSA.sign(b"").hex() == RFC_8032_SIGNATURE
    verify_signature(EDDSA.public_key, b"", bytes.fromhex(RFC_8032_SIGNATURE))


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_signing_is_deterministic_low_s_and_verifies(message: bytes) -> None:
    for signer in (ES256, EDDSA):
        signature = signer.sign(message)
        assert signature == signer.sign(message)
        assert len(signature) == 64
        verify_signature(signer.public_key, message, signature)
        with pytest.raises(SignatureError, match="does not match"):
            verify_signature(signer.public_key, message + b"\0", signature)
    assert int.from_bytes(ES256.sign(message)[32:], "big") <= P256_ORDER // 2


@given(st.binary(max_size=60))
def test_the_high_s_twin_is_refused(message: bytes) -> None:
    signature = ES256.sign(message)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    with pytest.raises(SignatureError, match="low-S"):
        verify_signature(ES256.public_key, message, raw(r, P256_ORDER - s))


@pytest.mark.parametrize("r", [0, 1, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, P256_ORDER // 2, P256_ORDER, P256_ORDER + 1, 2**256 - 1])
def test_numbers_out_of_range_are_refused(r: int, s: int) -> None:
    reason = "does not match" if 0 < r < P256_ORDER and 0 < s < P256_ORDER else "out of range"
    with pytest.raises(SignatureError, match=reason):
        verify_signature(ES256.public_key, b"message", raw(r, s))


def test_r_plus_n_is_refused() -> None:
    # r + n fits 32 bytes only for a tiny r; the check is on the number, so any such r is refused.
    signature = ES256.sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), signature[32:]
    shifted = (r + P256_ORDER) % 2**256
    with pytest.raises(SignatureError):
        verify_signature(ES256.public_key, b"message", shifted.to_bytes(32, "big") + s)


def test_eddsa_s_plus_the_group_order_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493
    signature = EDDSA.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + order
    with pytest.raises(SignatureError, match="does not match"):
        verify_signature(EDDSA.public_key, b"message", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("signer", [ES256, EDDSA], ids=["ES256", "EdDSA"])
@pytest.mark.parametrize("size", [0, 1, 63, 65, 70, 72, 128])
def test_sizes_other_than_64_are_refused(signer: SoftwareSigner, size: int) -> None:
    signature = (signer.sign(b"message") * 2)[:size]
    with pytest.raises(SignatureError, match=f"{size} bytes long; it must be 64"):
        verify_signature(signer.public_key, b"message", signature)


def test_a_der_signature_is_refused() -> None:
    signature = ES256.sign(b"message")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    with pytest.raises(SignatureError, match="it must be 64"):
        verify_signature(ES256.public_key, b"message", encode_dss_signature(r, s))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_an_attestation_verifies_with_its_key(algorithm: Algorithm) -> None:
    verify(attestation_of(algorithm), signer_of(algorithm).public_key)


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_key_fixes_the_algorithm(algorithm: Algorithm) -> None:
    """The statement names the right key but the other algorithm, and is signed by that key as it stands."""
    signer = signer_of(algorithm)
    other = Algorithm.ES256 if algorithm == Algorithm.EDDSA else Algorithm.EDDSA
    statement = replace(statement_of(algorithm), algorithm=other)
    draft = cose.seal(statement, bytes(64))
    forged = cose.seal(statement, signer.sign(draft.signed_bytes))
    verify_signature(signer.public_key, forged.signed_bytes, forged.signature)
    with pytest.raises(SignatureError, match=f"says {other.name}, which is not the key's algorithm"):
        verify(forged, signer.public_key)


def test_the_id_of_another_key_is_refused() -> None:
    """A key signs a statement that names another key: refused with either."""
    statement = statement_of(Algorithm.ES256, key_id=EDDSA.key_id)
    forged = cose.seal(statement, ES256.sign(cose.seal(statement, bytes(64)).signed_bytes))
    with pytest.raises(SignatureError, match="names another key"):
        verify(forged, ES256.public_key)
    with pytest.raises(SignatureError, match="says ES256"):
        verify(forged, EDDSA.public_key)
    stranger = SoftwareSigner(keys.generate())
    with pytest.raises(SignatureError, match="names another key"):
        verify(attestation_of(), stranger.public_key)


def test_a_signature_moved_to_another_statement_is_refused() -> None:
    honest = attestation_of()
    for statement in (
        replace(honest.statement, robot="robot-8"),
        replace(honest.statement, sequence=6),
        replace(honest.statement, inputs=honest.statement.inputs * 2),
    ):
        with pytest.raises(SignatureError, match="does not match"):
            verify(cose.seal(statement, honest.signature), ES256.public_key)


def test_a_key_of_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    with pytest.raises(KeyFileError, match="secp384r1"):
        verify_signature(key.public_key(), b"message", bytes(64))
    with pytest.raises(KeyFileError, match="secp384r1"):
        SoftwareSigner(key)
