"""Merkle trees against published vectors, the RFC's recursive definitions, and an independent implementation."""

from __future__ import annotations

import contextlib
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.errors import LogError
from og_ros.log.merkle import EMPTY_ROOT, MerkleTree, leaf_hash, root_of, verify_consistency, verify_inclusion
from og_ros.log.tiles import Frontier

# The reference vectors of Certificate Transparency (transparency-dev/merkle, testonly/constants.go).
CT_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
CT_INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
CT_CONSISTENCY = {
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256().digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = naive_split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """RFC 6962 section 2.1.2."""
    if m == len(leaves):
        return [] if known else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], known), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


def test_reference_roots_and_proofs() -> None:
    tree = MerkleTree(CT_LEAVES)
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]
    assert [tree.root(size).hex() for size in range(9)] == CT_ROOTS
    for (index, size), path in CT_INCLUSION.items():
        assert [value.hex() for value in tree.inclusion_proof(index, size)] == path
    for (first, second), path in CT_CONSISTENCY.items():
        assert [value.hex() for value in tree.consistency_proof(first, second)] == path


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_agrees_with_the_recursive_definition(leaves: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree()
    split = data.draw(st.integers(0, len(leaves)))
    for index, leaf in enumerate(leaves[:split]):
        assert tree.append(leaf) == index
    tree.extend_hashes(leaf_hash(leaf) for leaf in leaves[split:])
    second = data.draw(st.integers(1, len(leaves)))
    first = data.draw(st.integers(1, second))
    index = data.draw(st.integers(0, second - 1))
    root = naive_root(leaves[:second])
    assert tree.root(second) == root == root_of([leaf_hash(leaf) for leaf in leaves[:second]])
    path = tree.inclusion_proof(index, second)
    assert path == naive_path(index, leaves[:second])
    verify_inclusion(leaf_hash(leaves[index]), index, second, path, root)
    proof = tree.consistency_proof(first, second)
    assert proof == naive_subproof(first, leaves[:second], True)
    verify_consistency(first, second, proof, naive_root(leaves[:first]), root)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=6), st.integers(0, 3))
def test_frontier_agrees_with_the_tree(batches: list[int], seed: int) -> None:
    frontier, tree = Frontier(), MerkleTree()
    for size in batches:
        hashes = [leaf_hash(bytes([seed]) + (tree.size + n).to_bytes(4, "big")) for n in range(size)]
        for level, index, value in frontier.extend(hashes):
            nodes_later = (level, index, value)
            assert nodes_later[0] >= 1
        tree.extend_hashes(hashes)
        assert (frontier.size, frontier.root()) == (tree.size, tree.root())


def test_frontier_nodes_are_tile_roots_up_to_level_two() -> None:
    hashes = [leaf_hash(n.to_bytes(4, "big")) for n in range(65_536 + 300)]
    tree = MerkleTree()
    tree.extend_hashes(hashes)
    nodes = Frontier().extend(hashes)
    assert len(nodes) == 257 + 1
    assert all(tree.node(8 * level, index) == value for level, index, value in nodes)


def test_every_mutation_of_a_proof_fails() -> None:
    leaves = [bytes([n]) for n in range(13)]
    tree = MerkleTree(leaves)
    root = tree.root()
    for index, leaf in enumerate(leaves):
        path = tree.inclusion_proof(index)
        good = leaf_hash(leaf)
        verify_inclusion(good, index, 13, path, root)
        bad_paths = [path[:-1], path[1:], [*path, root], [*path, path[-1]], [path[0][:-1], *path[1:]]]
        bad_paths += [[*path[:n], bytes(32), *path[n + 1 :]] for n in range(len(path))]
        for bad in bad_paths:
            with pytest.raises(LogError):
                verify_inclusion(good, index, 13, bad, root)
        for other in (index + 1, index - 1, 13, -1, 1 << 70):
            with pytest.raises(LogError):
                verify_inclusion(good, other, 13, path, root)
        with pytest.raises(LogError):
            verify_inclusion(leaf_hash(b"?"), index, 13, path, root)
    for first in range(1, 13):
        proof = tree.consistency_proof(first)
        old = tree.root(first)
        verify_consistency(first, 13, proof, old, root)
        bad_paths = [proof[:-1], proof[1:], [*proof, root], []]
        bad_paths += [[*proof[:n], bytes(32), *proof[n + 1 :]] for n in range(len(proof))]
        for bad in bad_paths:
            with pytest.raises(LogError):
                verify_consistency(first, 13, bad, old, root)
        with pytest.raises(LogError):
            verify_consistency(first, 13, proof, bytes(32), root)
        with pytest.raises(LogError):
            verify_consistency(first, 13, proof, old, bytes(32))


def test_consistency_at_the_ends() -> None:
    tree = MerkleTree([b"a", b"b"])
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(0, 2, tree.consistency_proof(0), EMPTY_ROOT, tree.root())
    verify_consistency(2, 2, tree.consistency_proof(2), tree.root(), tree.root())
    for first, second, path, old, new in (
        (2, 2, [], tree.root(), bytes(32)),
        (2, 2, [bytes(32)], tree.root(), tree.root()),
        (0, 2, [], bytes(32), tree.root()),
        (2, 1, [], tree.root(), tree.root()),
    ):
        with pytest.raises(LogError):
            verify_consistency(first, second, path, old, new)


def test_out_of_range_is_a_log_error() -> None:
    tree = MerkleTree([b"a"])
    for call in (
        lambda: tree.root(2),
        lambda: tree.inclusion_proof(1),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.consistency_proof(2),
        lambda: tree.node(1, 0),
    ):
        with pytest.raises(LogError):
            call()


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-2, 40),
    st.integers(-2, 40),
    st.lists(st.one_of(st.just(bytes(32)), st.binary(max_size=33)), max_size=8),
    st.binary(min_size=32, max_size=32),
)
def test_verifiers_raise_nothing_but_log_errors(a: int, b: int, path: list[bytes], root: bytes) -> None:
    for check in (
        lambda: verify_inclusion(bytes(32), a, b, path, root),
        lambda: verify_consistency(a, b, path, bytes(32), root),
    ):
        with contextlib.suppress(LogError):
            check()


def test_pymerkle_agrees() -> None:
    pymerkle = pytest.importorskip("pymerkle", reason="pymerkle, an independent implementation, is not installed")
    theirs, ours = pymerkle.InmemoryTree(algorithm="sha256"), MerkleTree()
    for n in range(40):
        theirs.append_entry(b"%d" % n)
        ours.append(b"%d" % n)
        size = n + 1
        root = (getattr(theirs, "get_root", None) or theirs.get_state)(size)
        assert root == ours.root()
        for index in range(size):
            proof = theirs.prove_inclusion(index + 1, size)
            assert proof.path[1:] == ours.inclusion_proof(index, size)
