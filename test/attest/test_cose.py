"""The COSE_Sign1 form: one form per attestation, nothing else is read, and no flipped bit verifies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cbor2
import pytest
from attest_examples import attestation_of, signer_of, statement_of
from attest_strategies import attestations
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Algorithm, Attestation, cbor, cose, verify
from og_ros.errors import AttestationError, SignatureError

ALGORITHMS = list(Algorithm)


def parts_of(attestation: Attestation) -> list[Any]:
    """Protected header, unprotected header, payload, signature, as a generic decoder gives them."""
    protected, _, payload, signature = cbor2.loads(attestation.cose).value
    return [protected, {}, payload, signature]


def object_of(parts: Any, tag: int = 18) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(tag, parts))


@given(attestations())
@settings(max_examples=30)
def test_round_trip(attestation: Attestation) -> None:
    assert cose.decode(attestation.cose) == attestation
    assert len(attestation.cose) <= cose.MAX_COSE_SIZE


@given(attestations())
@settings(max_examples=30)
def test_the_object_is_what_a_generic_encoder_makes(attestation: Attestation) -> None:
    statement = attestation.statement
    protected = cbor2.dumps(
        {
            1: int(statement.algorithm),
            3: "application/vnd.og-ros.statement+cbor",
            4: statement.key_id,
            15: {1: statement.robot, 2: statement.stage},
        },
        canonical=True,
    )
    payload = cbor.encode(statement)
    assert attestation.cose == object_of([protected, {}, payload, attestation.signature])
    assert attestation.signed_bytes == cbor2.dumps(["Signature1", protected, b"", payload])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_bit_flip_fails_to_decode_or_to_verify(algorithm: Algorithm) -> None:
    signer = signer_of(algorithm)
    original = attestation_of(algorithm)
    verify(original, signer.public_key)
    decoded = 0
    for bit in range(len(original.cose) * 8):
        data = bytearray(original.cose)
        data[bit // 8] ^= 1 << (bit % 8)
        try:
            other = cose.decode(bytes(data))
        except AttestationError:
            continue
        decoded += 1
        assert other != original
        with pytest.raises(SignatureError):
            verify(other, signer.public_key)
    assert decoded >= 64 * 8  # at least every bit of the signature still makes an attestation


@pytest.mark.parametrize(
    "data",
    {
        "no tag": cbor2.dumps(parts_of(attestation_of())),
        "tag of COSE_Sign": object_of(parts_of(attestation_of()), 98),
        "tag of COSE_Mac0": object_of(parts_of(attestation_of()), 17),
        "tag 18 in two bytes": b"\xd8\x12" + attestation_of().cose[1:],
        "tagged twice": b"\xd2" + attestation_of().cose,
        "self-described": b"\xd9\xd9\xf7" + attestation_of().cose,
        "not an array": object_of({}),
        "three parts": object_of(parts_of(attestation_of())[:3]),
        "five parts": object_of([*parts_of(attestation_of()), b""]),
        "detached payload": object_of([*parts_of(attestation_of())[:2], None, attestation_of().signature]),
        "protected header as a map": object_of([{1: -7}, *parts_of(attestation_of())[1:]]),
        "empty protected header": object_of([b"", *parts_of(attestation_of())[1:]]),
        "text signature": object_of([*parts_of(attestation_of())[:3], "a" * 64]),
        "unprotected header": object_of([parts_of(attestation_of())[0], {33: b"a"}, *parts_of(attestation_of())[2:]]),
        "unprotected header is an empty array": object_of(
            [parts_of(attestation_of())[0], [], *parts_of(attestation_of())[2:]]
        ),
        "unprotected header is empty bytes": object_of(
            [parts_of(attestation_of())[0], b"", *parts_of(attestation_of())[2:]]
        ),
        "protected header of another": object_of(
            [parts_of(attestation_of(robot="robot-8"))[0], *parts_of(attestation_of())[1:]]
        ),
        "protected header of the other algorithm": object_of(
            [parts_of(attestation_of(Algorithm.EDDSA))[0], *parts_of(attestation_of())[1:]]
        ),
        "bytes after the end": attestation_of().cose + b"\0",
        "nothing": b"",
        "the tag alone": b"\xd2",
        "too long": b"\xd2" + bytes(65_535),
    }.items(),
    ids=lambda item: item[0],
)
def test_decode_refuses(data: tuple[str, bytes]) -> None:
    with pytest.raises(AttestationError):
        cose.decode(data[1])


@pytest.mark.parametrize("size", [0, 63, 65, 128])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(AttestationError, match=f"signature is {size} bytes long; it must be 64"):
        cose.decode(object_of([*parts_of(attestation_of())[:3], bytes(size)]))
    with pytest.raises(AttestationError, match=f"signature is {size} bytes long; it must be 64"):
        cose.seal(statement_of(), bytes(size))


def test_every_truncation_is_refused() -> None:
    data = attestation_of().cose
    for end in range(len(data)):
        with pytest.raises(AttestationError):
            cose.decode(data[:end])


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_decode_of_any_bytes_raises_only_attestation_error(data: bytes) -> None:
    for candidate in (data, b"\xd2" + data, b"\xd2\x84" + data):
        with pytest.raises(AttestationError):
            cose.decode(candidate)


@given(st.data())
@settings(max_examples=200)
def test_decode_of_a_spoilt_object_raises_only_attestation_error(data: st.DataObject) -> None:
    original = attestation_of()
    start = data.draw(st.integers(0, len(original.cose)))
    end = data.draw(st.integers(start, min(len(original.cose), start + 12)))
    spoilt = original.cose[:start] + data.draw(st.binary(max_size=12)) + original.cose[end:]
    try:
        other = cose.decode(spoilt)
        verify(other, signer_of(Algorithm.ES256).public_key)
    except AttestationError:
        return
    assert spoilt == original.cose


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sign_refuses_a_statement_that_names_another_key(algorithm: Algorithm) -> None:
    other = next(one for one in ALGORITHMS if one != algorithm)
    for statement in (statement_of(algorithm, key_id=bytes(32)), replace(statement_of(algorithm), algorithm=other)):
        with pytest.raises(AttestationError, match="names another key"):
            cose.sign(statement, signer_of(algorithm))
