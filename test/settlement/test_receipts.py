"""Receipts files, headers and Merkle-Patricia proofs without a node: what is read right, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from made_block import CHAIN, receipts_of_a_block, transaction_receipt

from og_ros.errors import ConfigError, SettlementError
from og_ros.log import Ledger
from og_ros.settlement import config, receipt, trie
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.receipt import Level


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 127, 128, 129, 300])
def test_every_receipt_of_a_block_is_proven(count: int) -> None:
    entries = [Entry(CHAIN, 1, n + 1, bytes(32), b"\1" * 32) for n in range(count)]
    values = [trie.encode_receipt(transaction_receipt(entry)) for entry in entries]
    for index in {0, 1, 2, 15, 16, 127, 128, count // 2, count - 1} & set(range(count)):
        root, proof = trie.prove(values, index)
        assert trie.verify(root, index, proof) == values[index]
        with pytest.raises(SettlementError):
            trie.verify(root, index + 1, proof)
        with pytest.raises(SettlementError):
            trie.verify(root, index, proof[:-1])
        with pytest.raises(SettlementError):
            trie.verify(root, index, [*proof, proof[-1]])
        with pytest.raises(SettlementError):
            trie.verify(bytes(32), index, proof)


def test_a_receipts_trie_of_short_values() -> None:
    values = [bytes([n]) for n in range(20)]  # nodes below 32 bytes lie within their parents
    for index in range(20):
        root, proof = trie.prove(values, index)
        assert trie.verify(root, index, proof) == values[index]


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    receipts = receipts_of_a_block(3)
    receipt.write_file(tmp_path / "r.json", "robot-7", receipts)
    assert receipt.read_file(tmp_path / "r.json") == ("robot-7", receipts)


def change(tree: Any, path: str, value: Any) -> bytes:
    *parents, last = path.split(".")
    place = tree
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("receipts.0.sequence", 1),
        ("receipts.0.sequence", True),
        ("receipts.0.size", 0),
        ("receipts.0.root", "00"),
        ("receipts.0.contract", "0x1"),
        ("receipts.0.signature", "AA"),
        ("receipts.0.signature", "aa"),
        ("receipts.0.chain_id", 0),
        ("receipts.1.previous", "00" * 32),
        ("receipts.0.inclusion", []),
        ("receipts.0.inclusion.proof", [1]),
        ("receipts.0.inclusion.index", -1),
        ("receipts.0.extra", 1),
    ],
)
def test_a_malformed_file_is_refused(path: str, value: Any) -> None:
    tree = json.loads(receipt.encode("robot-7", receipts_of_a_block(2)))
    with pytest.raises(SettlementError):
        receipt.decode(change(tree, path, value))


def test_a_failed_transactions_receipt_proves_nothing() -> None:
    told = transaction_receipt(Entry(CHAIN, 0, 1, bytes(32), NO_HEAD))
    with pytest.raises(SettlementError, match="failed"):
        trie.receipt_logs(trie.encode_receipt({**told, "status": "0x0"}))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("settlement: {state: s}", "robot is missing"),
        ("robot: r", "settlement is missing"),
        ("robot: r\nsettlement: {}", "state is missing"),
        ("robot: r\nsettlement: {state: s, backends: {}}", "backends is empty"),
        ("robot: r\nsettlement: {state: s, backends: {a: {type: evm}}}", "rpc and contract"),
        ("robot: r\nsettlement: {state: s, backends: {a: {type: ftp}}}", "one of local, evm, http, opengradient"),
        ("robot: r\nsettlement: {state: s, every_seconds: .nan}", "every_seconds"),
        ("robot: r\nsettlement: {state: s, backends: {a: {type: local, finality: 0}}}", "finality"),
        ("robot: r\nsettlement: {state: s, secret: x}", "not known"),
    ],
)
def test_a_wrong_section_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=why):
        config.load(file)


def test_the_default_is_the_ledger_itself(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("robot: r\nsettlement: {state: s}")
    read = config.load(file)
    assert [backend.name for backend in read.backends(partial(Ledger.open, tmp_path / "ledger"))] == ["local"]
    assert read.state == tmp_path / "s"
    assert Level.NONE < Level.SUBMITTED


def test_the_account_leaves_the_recursion_limit_alone() -> None:
    program = (
        "import sys; before = sys.getrecursionlimit(); import og_ros.settlement.account;"
        " assert sys.getrecursionlimit() == before"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_password_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from og_ros.errors import KeyFileError
    from og_ros.settlement import account

    monkeypatch.delenv(account.KEY_VARIABLE, raising=False)
    monkeypatch.delenv(account.PASSWORD_VARIABLE, raising=False)
    with pytest.raises(KeyFileError, match="OG_ROS_SETTLEMENT_KEY"):
        account.load(None)
    made = account.create(tmp_path / "account.json", "secret")
    with pytest.raises(KeyFileError, match="OG_ROS_KEYSTORE_PASSWORD"):
        account.load(tmp_path / "account.json")
    monkeypatch.setenv(account.PASSWORD_VARIABLE, "secret")
    assert account.load(tmp_path / "account.json").address == made.address
    monkeypatch.setenv(account.PASSWORD_VARIABLE, "wrong")
    with pytest.raises(KeyFileError, match="password"):
        account.load(tmp_path / "account.json")
    (tmp_path / "account.json").chmod(0o644)
    with pytest.raises(KeyFileError, match="others can"):
        account.load(tmp_path / "account.json")
    monkeypatch.setenv(account.KEY_VARIABLE, "0x12")
    with pytest.raises(KeyFileError) as told:
        account.load(None)
    assert "12" not in str(told.value), "no part of a key is told"
