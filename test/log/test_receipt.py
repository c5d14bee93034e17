"""COSE receipts of leaves: checked by us, and by scitt-cose; changed in no byte."""

from __future__ import annotations

from collections.abc import Callable

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from og_ros.errors import LogError
from og_ros.log import Ledger, VerifierKey
from og_ros.log.receipt import make_receipt, verify_receipt

LEAVES = [b"leaf %d" % number for number in range(21)]


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    ledger.append(LEAVES)
    ledger.checkpoint()
    ledger.append([b"not under a checkpoint"])
    return ledger


def test_every_leaf_has_one_that_scitt_cose_takes(full: Ledger, key: Ed25519PrivateKey) -> None:
    scitt = pytest.importorskip("scitt_cose", reason="the PyPI package scitt-cose is not installed")
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for index, leaf in enumerate(LEAVES):
        receipt = make_receipt(full, index, key)
        assert verify_receipt(leaf, receipt, full.key) == full.root(21)
        found = scitt.verify_receipt(receipt, leaf_entry_hex=leaf.hex(), log_public_key_pem=pem)
        assert found.ok, found.errors
        assert (found.root, found.tree_size, found.leaf_index) == (full.root(21).hex(), 21, index)
        assert found.issuer == full.origin
        assert not scitt.verify_receipt(receipt, leaf_entry_hex=b"forged".hex(), log_public_key_pem=pem).ok
        assert not scitt.verify_receipt(receipt, leaf_entry_hex=leaf.hex(), log_public_key_pem=stranger).ok


def test_no_changed_byte_gives_another_leaf_or_root(full: Ledger, key: Ed25519PrivateKey) -> None:
    receipt = make_receipt(full, 5, key)
    unsigned = receipt.index(cbor2.dumps(21) + cbor2.dumps(5))  # the proof's size: some others walk the same way
    for place in range(len(receipt)):
        for change in (1, 0x80):
            mutant = receipt[:place] + bytes([receipt[place] ^ change]) + receipt[place + 1 :]
            if place == unsigned and change == 1:
                assert verify_receipt(LEAVES[5], mutant, full.key) == full.root(21)
                continue
            with pytest.raises(LogError):
                verify_receipt(LEAVES[5], mutant, full.key)
    for mutant in (b"", receipt[:-1], receipt + b"\0", receipt[1:], receipt * 30):
        with pytest.raises(LogError):
            verify_receipt(LEAVES[5], mutant, full.key)


def reformed(change: Callable[[list[object]], None]) -> Callable[[bytes], bytes]:
    def act(receipt: bytes) -> bytes:
        tag = cbor2.loads(receipt)
        parts = list(tag.value)
        change(parts)
        return cbor2.dumps(cbor2.CBORTag(18, parts))

    return act


def _set(place: int, value: object) -> Callable[[list[object]], None]:
    return lambda parts: parts.__setitem__(place, value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_set(1, {}), id="no proof"),
        pytest.param(_set(1, {396: {}}), id="no inclusion proof"),
        pytest.param(_set(1, {396: {-1: []}}), id="empty list"),
        pytest.param(_set(1, {396: {-1: [cbor2.dumps([21, 5, []])]}}), id="no path"),
        pytest.param(_set(1, {396: {-1: [cbor2.dumps([21, 5, [b"x"]])]}}), id="no hash"),
        pytest.param(_set(1, {396: {-1: [cbor2.dumps([21, 5, [bytes(32)] * 64])]}}), id="long path"),
        pytest.param(_set(1, {396: {-1: [cbor2.dumps([5, 21, []])]}}), id="index above size"),
        pytest.param(_set(1, {396: {-1: [7]}}), id="a number"),
        pytest.param(_set(1, {396: {-2: [b""]}}), id="a consistency proof"),
        pytest.param(_set(2, b"root"), id="attached payload"),
        pytest.param(_set(0, b""), id="no protected header"),
        pytest.param(_set(3, b""), id="no signature"),
    ],
)
def test_another_form_is_refused(full: Ledger, key: Ed25519PrivateKey, change: Callable[[list[object]], None]) -> None:
    with pytest.raises(LogError):
        verify_receipt(LEAVES[5], reformed(change)(make_receipt(full, 5, key)), full.key)


def test_only_the_log_makes_one_and_only_of_what_it_checkpointed(full: Ledger, key: Ed25519PrivateKey) -> None:
    with pytest.raises(LogError, match="another signing key"):
        make_receipt(full, 5, Ed25519PrivateKey.generate())
    for index in (21, -1, 10**20):
        with pytest.raises(LogError, match="not in the latest checkpoint"):
            make_receipt(full, index, key)
    receipt = make_receipt(full, 5, key)
    with pytest.raises(LogError, match="not that of a receipt of the log"):
        verify_receipt(LEAVES[5], receipt, VerifierKey("example.com/other", full.key.public_key))
