"""The tree digest: the tree that its page describes, whatever the threads; a region proves itself and nothing else."""

from __future__ import annotations

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import digest
from og_ros.attest.digest import covered_size, is_computable
from og_ros.attest.tree_digest import CHUNK_SIZE, RegionProof, region_proof, verify_region
from og_ros.errors import AttestationError

SIZES = st.one_of(
    st.integers(4, 200),
    st.builds(lambda chunks, off: chunks * CHUNK_SIZE + off, st.integers(1, 11), st.integers(-5, 5)),
)


def message(size: int) -> bytes:
    return b"\0\1\0\0" + random.Random(size).randbytes(size - 4)


def covered(payload: bytes) -> bytes:
    return payload[:2] + b"\0\0" + payload[4:] + bytes(-len(payload) % 4)


def root(chunks: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, spelled out."""
    if len(chunks) == 1:
        return hashlib.sha256(b"\0" + chunks[0]).digest()
    k = 1
    while k * 2 < len(chunks):
        k *= 2
    return hashlib.sha256(b"\1" + root(chunks[:k]) + root(chunks[k:])).digest()


def reference(payload: bytes) -> bytes:
    data = covered(payload)
    chunks = [data[at : at + CHUNK_SIZE] for at in range(0, len(data), CHUNK_SIZE)]
    return hashlib.sha256(b"\2" + len(data).to_bytes(8, "big") + root(chunks)).digest()


@settings(max_examples=40, deadline=None)
@given(SIZES)
def test_the_tree_that_the_page_describes(size: int) -> None:
    payload = message(size)
    assert digest(payload, "sha256-tree") == reference(payload)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4, "1cb0d00d84cf308b62d005d7acee1aa3678a17be84095d58f4b30a5c326bb301"),
        (65_536, "690d5d25f1c23ab03dfc8717b923737eb79e60045aad05cb2d8f0b2178d44de3"),
        (65_537, "175c6e602061af1648ad6d533c345eca4fc7091380670568d30070d59607f5ef"),
        (921_660, "6eae190299d306a25bcd449af004e3548986316b8601e2ea8c36f4d3ebd5245c"),
    ],
)
def test_vectors(size: int, expected: str) -> None:
    """Bytes 0 to 250 over and over, behind a header; `reference` above gives the same."""
    payload = b"\0\1\0\0" + bytes(at % 251 for at in range(size - 4))
    assert digest(payload, "sha256-tree").hex() == reference(payload).hex() == expected


def test_padding_and_options_do_not_count() -> None:
    payload = message(3 * CHUNK_SIZE - 1)
    on_the_wire = payload[:2] + b"\0\1" + payload[4:] + b"\0"
    assert digest(payload, "sha256-tree") == digest(on_the_wire, "sha256-tree")
    assert digest(payload, "sha256-tree") != digest(payload)
    assert is_computable("sha256-tree")


def test_many_threads_at_once_give_the_same() -> None:
    payloads = [message(1_100_000 + number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda p: digest(p, "sha256-tree"), payloads * 4)) == [reference(p) for p in payloads] * 4


@settings(max_examples=60, deadline=None)
@given(SIZES, st.data())
def test_a_region_proves_itself(size: int, data: st.DataObject) -> None:
    payload = message(size)
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    proof, region = region_proof(payload, start, stop)
    assert proof.start <= start < stop <= proof.stop <= covered_size(payload)
    assert region == covered(payload)[proof.start : proof.stop]
    assert proof.stop - proof.start < stop - start + 2 * CHUNK_SIZE
    verify_region(digest(payload, "sha256-tree"), proof, region)


@settings(max_examples=60, deadline=None)
@given(st.integers(2 * CHUNK_SIZE, 9 * CHUNK_SIZE), st.data())
def test_nothing_else_is_proven(size: int, data: st.DataObject) -> None:
    payload = message(size)
    found = digest(payload, "sha256-tree")
    start = data.draw(st.integers(0, size - 1))
    proof, region = region_proof(payload, start, min(size, start + 1))
    at = data.draw(st.integers(0, len(region) - 1))
    altered = region[:at] + bytes([region[at] ^ 1]) + region[at + 1 :]
    moved = start // CHUNK_SIZE * CHUNK_SIZE
    attempts: list[tuple[RegionProof, bytes]] = [
        (proof, altered),
        (proof, region[:-1]),
        (replace(proof, size=proof.size + 4), region),
        (replace(proof, hashes=proof.hashes[1:]), region),
        (replace(proof, hashes=(*proof.hashes, bytes(32))), region),
        (replace(proof, hashes=(*reversed(proof.hashes[:-1]), bytes(32))), region),
        (replace(proof, start=moved + CHUNK_SIZE, stop=proof.stop + CHUNK_SIZE), region),
        (replace(proof, hashes=(*proof.hashes[:-1], b"")), region),
        (replace(proof, size=2**70), region),
    ]
    for bad, content in attempts:
        with pytest.raises(AttestationError):
            verify_region(found, bad, content)
    with pytest.raises(AttestationError):
        verify_region(hashlib.sha256(covered(payload)).digest(), proof, region)


def test_a_node_is_no_leaf() -> None:
    """Two chunks' hashes as one chunk of 64 bytes: with no domain between leaf and node this would be the root."""
    payload = message(2 * CHUNK_SIZE)
    data = covered(payload)
    inner = b"".join(hashlib.sha256(b"\0" + data[at : at + CHUNK_SIZE]).digest() for at in (0, CHUNK_SIZE))
    with pytest.raises(AttestationError):
        verify_region(digest(payload, "sha256-tree"), RegionProof(64, 0, 64, ()), inner)
    with pytest.raises(AttestationError):
        verify_region(digest(payload, "sha256-tree"), RegionProof(len(data), 0, len(data), ()), inner)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (5, 4), (-1, 3), (0, 101), (104, 105)])
def test_no_region(start: int, stop: int) -> None:
    with pytest.raises(AttestationError, match="region"):
        region_proof(message(100), start, stop)
