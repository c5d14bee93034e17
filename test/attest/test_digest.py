"""The digest rule of a CDR payload: padding and options bytes do not count, everything else does."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from og_ros.attest import digest
from og_ros.attest.digest import covered_size
from og_ros.errors import AttestationError

PAYLOADS = st.builds(
    lambda order, options, body: bytes([0, order]) + options + body,
    st.integers(0, 1),
    st.binary(min_size=2, max_size=2),
    st.binary(max_size=36),
)


def reference(payload: bytes) -> bytes:
    """The rule, spelled out: the exact bytes that are hashed."""
    body = payload[4:]
    while len(body) % 4:
        body += b"\0"
    return payload[:2] + b"\0\0" + body


@given(PAYLOADS)
def test_sha256_over_the_bytes_of_the_rule(payload: bytes) -> None:
    assert 4 <= len(payload) <= 40
    assert digest(payload) == digest(payload, "sha256") == hashlib.sha256(reference(payload)).digest()
    assert covered_size(payload) == len(reference(payload))


def test_reference_value() -> None:
    # std_msgs/String "hello": printf '\0\1\0\0\6\0\0\0hello\0\0\0' | sha256sum
    payload = b"\x00\x01\x00\x00" + struct.pack("<I", 6) + b"hello\0"
    expected = "0f9ced066854b3812762e1f8489fdcf341f707dbbe35cd4156d6642b8a5b021f"
    assert len(payload) == 14
    assert covered_size(payload) == 16
    assert digest(payload).hex() == expected
    assert digest(payload + b"\0\0").hex() == expected
    assert digest(b"\x00\x01\x00\x02" + payload[4:] + b"\0\0").hex() == expected


@given(PAYLOADS, st.binary(min_size=2, max_size=2))
def test_padded_and_unpadded_with_any_options_are_one(payload: bytes, options: bytes) -> None:
    padded = payload + bytes(-len(payload) % 4)
    assert digest(padded) == digest(payload)
    assert digest(padded[:2] + options + padded[4:]) == digest(payload)
    assert covered_size(padded) == covered_size(payload) == len(padded)


def test_75_bytes_sent_are_76_received() -> None:
    sent = b"\x00\x01\x00\x00" + bytes(range(1, 72))
    assert len(sent) == 75
    assert digest(sent) == digest(sent + b"\0")
    assert digest(sent) != digest(sent + b"\1")


@given(PAYLOADS, st.data())
def test_every_other_bit_counts(payload: bytes, data: st.DataObject) -> None:
    positions = [at for at in range(len(payload)) if at not in (2, 3)]
    at = data.draw(st.sampled_from(positions))
    changed = bytearray(payload)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert digest(changed) != digest(payload)


@given(PAYLOADS)
def test_four_more_zeros_count(payload: bytes) -> None:
    assert digest(payload + bytes(4)) != digest(payload)


@given(PAYLOADS)
def test_every_kind_of_buffer_gives_the_same(payload: bytes) -> None:
    padded = payload + bytes(-len(payload) % 4)
    words = memoryview(np.frombuffer(padded, np.uint32))
    assert words.itemsize == 4
    for view in (bytearray(padded), memoryview(padded), words, memoryview(np.frombuffer(padded, ">u2"))):
        assert digest(view) == digest(payload)
        assert covered_size(view) == len(padded)


def test_a_view_with_gaps_is_refused() -> None:
    with pytest.raises(AttestationError, match="not contiguous"):
        digest(memoryview(np.zeros((8, 8), np.uint16)[:, ::2]))


def test_a_strided_view_of_bytes_is_refused() -> None:
    data = bytes(range(64))
    with pytest.raises(AttestationError, match="not contiguous"):
        digest(memoryview(data)[::2])


@pytest.mark.parametrize("size", range(4))
def test_shorter_than_an_encapsulation_header_is_refused(size: int) -> None:
    with pytest.raises(AttestationError, match=f"at least 4 bytes; this one has {size}"):
        digest(bytes(size))


def test_blake3() -> None:
    blake3 = pytest.importorskip("blake3", reason="the PyPI package blake3 is not installed")
    payload = b"\x00\x01\x00\x00" + struct.pack("<I", 6) + b"hello\0"
    assert digest(payload, "blake3") == blake3.blake3(reference(payload)).digest()
    assert digest(payload + b"\0\0", "blake3") == digest(payload, "blake3") != digest(payload)


@pytest.mark.parametrize("name", ["", "md5", "SHA256", "sha-256", "blake2b"])
def test_another_algorithm_is_refused(name: str) -> None:
    with pytest.raises(AttestationError, match="is not known; use one of sha256, blake3, sha256-tree"):
        digest(bytes(8), name)
