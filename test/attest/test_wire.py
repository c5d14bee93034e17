"""The wire form: round trips in both byte orders, strictness, flipped bits, and bytes that do not matter."""

from __future__ import annotations

import struct

import pytest
from attest_examples import attestation_of, signer_of
from attest_strategies import attestations
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import Algorithm, Attestation, DataReference, decode_attestation, encode_attestation, verify
from og_ros.errors import AttestationError, SignatureError


class Cdr:
    """An encoder of its own: either byte order, and a chosen byte in every gap, as Fast CDR leaves memory there.

    `gaps` are the positions in the payload that hold no data.
    """

    def __init__(self, order: str, gap: int = 0) -> None:
        self.order, self.gap = order, gap
        self.body = bytearray()
        self.gaps: set[int] = set()

    def number(self, code: str, value: int) -> None:
        size = struct.calcsize("=" + code)
        while len(self.body) % size:
            self.gaps.add(4 + len(self.body))
            self.body.append(self.gap)
        self.body += struct.pack(self.order + code, value)

    def text(self, value: str) -> None:
        data = value.encode() + b"\0"
        self.number("I", len(data))
        self.body += data

    def octets(self, value: bytes) -> None:
        self.number("I", len(value))
        self.body += value

    def time(self, value: int) -> None:
        self.number("i", value // 10**9)
        self.number("I", value % 10**9)

    def reference(self, reference: DataReference) -> None:
        for text in (reference.topic, reference.type, reference.digest_algorithm):
            self.text(text)
        self.body += reference.digest
        self.number("Q", reference.size)
        self.time(reference.stamp_ns)
        self.octets(reference.attestation)
        self.number("B", reference.disclosure)

    def attestation(self, attestation: Attestation) -> bytes:
        """Field by field in the order of msg/Attestation.msg."""
        s = attestation.statement
        self.number("H", s.format_version)
        for text in (s.robot, s.stage, s.node):
            self.text(text)
        self.body += s.session
        self.number("Q", s.sequence)
        self.body += s.previous
        for text in (s.model.name, s.model.version, s.model.format, s.model.digest_algorithm):
            self.text(text)
        self.body += s.model.digest
        for text in (s.runtime.name, s.runtime.version, s.runtime.provider, s.runtime.options, s.runtime.cpu):
            self.text(text)
        self.body += s.runtime.processing_digest
        for references in (s.inputs, s.outputs):
            self.number("I", len(references))
            for reference in references:
                self.reference(reference)
        self.time(s.start_ns)
        self.number("B", s.clock)
        self.number("Q", s.start_monotonic_ns)
        self.number("Q", s.duration_ns)
        self.time(s.signed_at_ns)
        self.number("B", s.mode_requested)
        self.number("B", s.mode_used)
        self.body += s.key_id
        self.number("i", s.algorithm)
        self.octets(attestation.signature)
        return bytes([0, self.order == "<", 0, 0]) + bytes(self.body)


def padded(payload: bytes) -> bytes:
    return payload + bytes(-len(payload) % 4)


@given(attestations())
@settings(max_examples=30)
def test_round_trip_and_equality_with_another_encoder(attestation: Attestation) -> None:
    payload = encode_attestation(attestation)
    assert payload == padded(Cdr("<").attestation(attestation))
    assert decode_attestation(payload) == decode_attestation(memoryview(payload)) == attestation


@given(attestations(), st.sampled_from("<>"), st.integers(0, 255), st.binary(min_size=2, max_size=2))
@settings(max_examples=30)
def test_both_byte_orders_with_any_memory_in_the_gaps(
    attestation: Attestation, order: str, gap: int, options: bytes
) -> None:
    payload = Cdr(order, gap).attestation(attestation)
    payload = payload[:2] + options + payload[4:]
    assert decode_attestation(payload) == decode_attestation(padded(payload)) == attestation


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_bit_flip_fails_to_decode_or_to_verify_or_changes_nothing(algorithm: Algorithm, order: str) -> None:
    signer = signer_of(algorithm)
    original = attestation_of(algorithm, node="/perceptio")
    cdr = Cdr(order)
    payload = cdr.attestation(original)
    assert cdr.gaps
    same = set()
    for bit in range(len(payload) * 8):
        data = bytearray(payload)
        data[bit // 8] ^= 1 << (bit % 8)
        try:
            other = decode_attestation(bytes(data))
        except AttestationError:
            continue
        if other == original:
            same.add(bit // 8)
            continue
        with pytest.raises(SignatureError):
            verify(other, signer.public_key)
    assert same == cdr.gaps | {2, 3}


def test_every_truncation_is_refused() -> None:
    payload = encode_attestation(attestation_of())
    for end in range(len(payload)):
        with pytest.raises(AttestationError):
            decode_attestation(payload[:end])


@pytest.mark.parametrize("tail", [b"\0" * 4, b"\0" * 8, b"\1", b"\0\1", bytes(65_536)])
def test_bytes_after_the_end_are_refused(tail: bytes) -> None:
    payload = Cdr("<").attestation(attestation_of())
    with pytest.raises(AttestationError):
        decode_attestation(payload + tail)


@pytest.mark.parametrize("header", ["0002", "0003", "0006", "0007", "000a", "000b", "0100", "8001"])
def test_other_encapsulations_are_refused(header: str) -> None:
    payload = encode_attestation(attestation_of())
    with pytest.raises(AttestationError, match="is not plain CDR"):
        decode_attestation(bytes.fromhex(header) + payload[2:])


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_raise_only_attestation_error(data: bytes) -> None:
    for candidate in (data, b"\0\1\0\0" + data, b"\0\1\0\0\1\0" + data):
        with pytest.raises(AttestationError):
            decode_attestation(candidate)


@given(st.data())
@settings(max_examples=200)
def test_a_spoilt_message_raises_only_attestation_error_or_does_not_verify(data: st.DataObject) -> None:
    original = attestation_of()
    payload = encode_attestation(original)
    start = data.draw(st.integers(0, len(payload)))
    end = data.draw(st.integers(start, min(len(payload), start + 12)))
    try:
        other = decode_attestation(payload[:start] + data.draw(st.binary(max_size=12)) + payload[end:])
        verify(other, signer_of(Algorithm.ES256).public_key)
    except AttestationError:
        return
    assert other == original


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"robot-7\0", b"robot-7a"),
        (b"robot-7\0", b"robo\0-7\0"),
        (b"robot-7\0", b"robot-\xff\0"),
        (b"robot-7\0", b"robot-\x1b\0"),
        (b"sha256\0", b"sha25\n\0"),
    ],
)
def test_strings_end_in_their_only_nul_and_are_text(before: bytes, after: bytes) -> None:
    payload = encode_attestation(attestation_of())
    assert before in payload
    with pytest.raises(AttestationError):
        decode_attestation(payload.replace(before, after))


def test_counts_beyond_the_bounds_are_refused_before_anything_is_read() -> None:
    cdr = Cdr("<")
    cdr.number("H", 1)
    cdr.number("I", 2**32 - 1)
    with pytest.raises(AttestationError, match="4294967295 bytes; 513 are allowed"):
        decode_attestation(b"\0\1\0\0" + bytes(cdr.body) + bytes(600))
