"""The contracts on a real node: one test a rule, each with what breaks it; gas; sources and artefacts agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from anvil import TOOLS
from gas_table import measure
from settlement_place import ROBOT, Place

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import SettlementError
from og_ros.log import MerkleTree, leaf_hash
from og_ros.settlement import contracts, deploy
from og_ros.settlement.account import Account
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.evm_chain import decode_result, encode_call, robot_id

ROOT = Path(__file__).resolve().parents[2]
CHAIN, REGISTRY = contracts.DECISION_CHAIN, contracts.NODE_REGISTRY
ROOTS = tuple(bytes([n + 1]) * 32 for n in range(8))


def settle(place: Place, sender: Account | None = None, /, **changed: Any) -> deploy.Done:
    """Settle the next checkpoint, with some fields changed after (`late_`) or before it was signed."""
    account = sender or place.operator
    name = place.chain.name(changed.pop("submitter", account.address), changed.pop("robot", ROBOT))
    head = place.chain.head(place.chain.name(account.address, ROBOT))
    fields = {"sequence": head.count, "size": head.size + 10, "root": ROOTS[head.count], "previous": head.head}
    signed = {**fields, **{k: v for k, v in changed.items() if k in fields}}
    message = changed.pop("message", None) or Entry(name, **signed).message()
    signature = changed.pop("signature", None) or changed.pop("signer", place.signer).sign(message)
    sent = {**signed, **{k.removeprefix("late_"): v for k, v in changed.items() if k.startswith("late_")}}
    arguments = (name.robot_id, sent["sequence"], sent["size"], sent["root"], signature[:32], signature[32:])
    return deploy.transact(place.node.rpc, account, place.contract, encode_call(CHAIN, "settle", *arguments))


def settle_unsigned(place: Place, account: Account) -> deploy.Done:
    head = place.chain.head(place.chain.name(account.address, ROBOT))
    call = encode_call(CHAIN, "settle_unsigned", robot_id(ROBOT), head.count, head.size + 10, ROOTS[0])
    return deploy.transact(place.node.rpc, account, place.contract, call)


def registry(place: Place, account: Account, function: str, *arguments: Any) -> deploy.Done:
    return deploy.transact(place.node.rpc, account, place.registry, encode_call(REGISTRY, function, *arguments))


def ask(place: Place, function: str, *arguments: Any) -> Any:
    contract = place.registry if function in ("is_valid", "owner") else place.contract
    name = REGISTRY if function in ("is_valid", "owner") else CHAIN
    return decode_result(name, function, place.node.rpc.read(contract, encode_call(name, function, *arguments)))[0]


def test_a_chain_grows_and_its_head_is_what_was_signed(place: Place) -> None:
    settle(place)
    settle(place)
    name = place.chain.name(place.operator.address, ROBOT)
    first = Entry(name, 0, 10, ROOTS[0], NO_HEAD)
    second = Entry(name, 1, 20, ROOTS[1], first.head())
    head = place.chain.head(name)
    assert (head.head, head.count, head.size) == (second.head(), 2, 20)
    assert [event.entry for event in place.chain.events(name)] == [first, second]
    assert all(event.signed for event in place.chain.events(name))
    assert place.chain.has_our_code()
    assert place.chain.registry() == place.registry


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"late_root": ROOTS[7]}, "bad signature"),
        ({"late_size": 11}, "bad signature"),
        ({"sequence": 1, "previous": ROOTS[0]}, "not the next"),
        ({"size": 2**63}, "size does not grow"),
        ({"signer": SoftwareSigner(keys.generate())}, "bad signature"),
        ({"submitter": "0x" + "11" * 20}, "bad signature"),
        ({"signature": bytes(64)}, "bad signature"),
        ({"signature": bytes(31) + b"\1" + b"\xff" * 32}, "high s"),
        ({"robot": "robot-8"}, "no valid key"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_checkpoint_is_refused(place: Place, changed: dict[str, Any], why: str) -> None:
    if changed.get("size"):
        with pytest.raises(SettlementError, match="out of range"):
            settle(place, **changed)
        changed = {"late_size": changed["size"]}
    with pytest.raises(SettlementError, match=why):
        settle(place, **changed)
    assert place.chain.head(place.chain.name(place.operator.address, ROBOT)).count == 0


def test_no_checkpoint_settles_twice_and_no_log_shrinks(place: Place) -> None:
    settle(place)
    with pytest.raises(SettlementError, match="not the next"):
        settle(place, late_sequence=0)
    with pytest.raises(SettlementError, match="size does not grow"):
        settle(place, size=10)


def test_a_signature_for_another_contract_or_chain_is_worth_nothing(place: Place) -> None:
    registry_2, contract_2 = deploy.deploy(place.node.rpc, place.owner)
    assert registry_2 != place.registry
    name = place.chain.name(place.operator.address, ROBOT)
    for other in (
        type(name)(name.chain_id, contract_2, name.submitter, name.robot_id),
        type(name)(1, name.contract, name.submitter, name.robot_id),
    ):
        with pytest.raises(SettlementError, match="bad signature"):
            settle(place, message=Entry(other, 0, 10, ROOTS[0], NO_HEAD).message())


def test_nobody_but_the_operator_settles(place: Place) -> None:
    with pytest.raises(SettlementError, match="not the operator"):
        settle(place, place.stranger)


def test_a_revoked_key_settles_no_more_and_its_successor_goes_on(place: Place) -> None:
    settle(place)
    deploy.revoke(place.node.rpc, place.owner, place.registry, place.signer.key_id)
    with pytest.raises(SettlementError, match="no valid key"):
        settle(place)
    with pytest.raises(SettlementError, match="must be signed"):
        settle_unsigned(place, place.operator)
    with pytest.raises(SettlementError, match="approved or revoked"):
        deploy.approve(place.node.rpc, place.owner, place.registry, place.signer.key_id, place.now() + 99)
    successor = SoftwareSigner(keys.generate())
    deploy.propose(place.node.rpc, place.operator, place.registry, ROBOT, successor)
    deploy.approve(place.node.rpc, place.owner, place.registry, successor.key_id, place.now() + 3600)
    settle(place, signer=successor)
    assert place.chain.head(place.chain.name(place.operator.address, ROBOT)).count == 2
    with pytest.raises(SettlementError, match="must be signed"):
        settle_unsigned(place, place.operator)


def test_a_key_expires(place: Place) -> None:
    settle(place)
    place.node.rpc.call("evm_increaseTime", 3601)
    place.node.mine()
    with pytest.raises(SettlementError, match="no valid key"):
        settle(place)
    assert ask(place, "is_valid", place.signer.key_id) is False


def test_a_robots_name_cannot_be_taken(place: Place) -> None:
    rpc, squatter = place.node.rpc, SoftwareSigner(keys.generate())
    deploy.propose(rpc, place.stranger, place.registry, ROBOT, squatter)  # saying a name binds nothing
    with pytest.raises(SettlementError, match="not an approver"):
        deploy.approve(rpc, place.stranger, place.registry, squatter.key_id, place.now() + 99)
    with pytest.raises(SettlementError, match="robot has a key"):
        deploy.approve(rpc, place.owner, place.registry, squatter.key_id, place.now() + 99)
    with pytest.raises(SettlementError, match="not the operator"):
        settle(place, place.stranger, signer=squatter)
    settle(place)


def test_a_key_is_proposed_by_who_has_it_and_once(bare: Place) -> None:
    rpc = bare.node.rpc
    call = deploy.Proposal(ROBOT, bare.signer).call
    data = call(rpc.number("eth_chainId"), bare.registry, bare.operator.address)
    with pytest.raises(SettlementError, match="bad signature"):  # another sender copies it from the pool
        deploy.transact(rpc, bare.stranger, bare.registry, data)
    deploy.transact(rpc, bare.operator, bare.registry, data)
    with pytest.raises(SettlementError, match="proposed already"):
        deploy.transact(rpc, bare.operator, bare.registry, data)
    assert ask(bare, "is_valid", bare.signer.key_id) is False
    with pytest.raises(SettlementError, match="no valid key"):
        settle(bare)
    for expiry in (0, bare.now(), 2**64):
        with pytest.raises(SettlementError, match="bad expiry"):
            deploy.approve(rpc, bare.owner, bare.registry, bare.signer.key_id, expiry)
    with pytest.raises(SettlementError, match="not proposed"):
        deploy.approve(rpc, bare.owner, bare.registry, bytes(32), bare.now() + 99)


def test_a_stages_key_settles_nothing(bare: Place) -> None:
    deploy.propose(bare.node.rpc, bare.operator, bare.registry, ROBOT, bare.signer, stage="control")
    deploy.approve(bare.node.rpc, bare.owner, bare.registry, bare.signer.key_id, bare.now() + 3600)
    assert ask(bare, "is_valid", bare.signer.key_id) is True
    with pytest.raises(SettlementError, match="no valid key"):
        settle(bare)


def test_who_may_revoke(place: Place) -> None:
    rpc = place.node.rpc
    with pytest.raises(SettlementError, match="neither approver nor operator"):
        deploy.revoke(rpc, place.stranger, place.registry, place.signer.key_id)
    deploy.revoke(rpc, place.operator, place.registry, place.signer.key_id)
    with pytest.raises(SettlementError, match="revoked already"):
        deploy.revoke(rpc, place.owner, place.registry, place.signer.key_id)


def test_ownership_goes_in_two_steps_and_approvers_are_the_owners_choice(place: Place) -> None:
    stranger, owner = place.stranger, place.owner
    for function, arguments in (("offer_ownership", [stranger.address]), ("set_approver", [stranger.address, True])):
        with pytest.raises(SettlementError, match="not the owner"):
            registry(place, stranger, function, *arguments)
    registry(place, owner, "offer_ownership", stranger.address)
    assert ask(place, "owner") == owner.address
    with pytest.raises(SettlementError, match="not the pending owner"):
        registry(place, place.operator, "take_ownership")
    registry(place, stranger, "take_ownership")
    with pytest.raises(SettlementError, match="not the owner"):
        registry(place, owner, "set_approver", owner.address, False)
    registry(place, stranger, "set_approver", owner.address, False)
    with pytest.raises(SettlementError, match="neither approver"):
        deploy.revoke(place.node.rpc, owner, place.registry, place.signer.key_id)


def test_inclusion_is_proven_on_chain_as_rfc_6962_has_it(place: Place) -> None:
    tree = MerkleTree(f"{n}".encode() for n in range(21))
    for size in (1, 2, 7, 8, 21):
        root = tree.root(size)
        for index in {0, size // 2, size - 1}:
            path = tree.inclusion_proof(index, size)
            leaf = leaf_hash(f"{index}".encode())
            assert ask(place, "included", leaf, index, size, path, root)
            assert not ask(place, "included", leaf_hash(b"another"), index, size, path, root)
            assert not ask(place, "included", leaf, index + 1, size, path, root)
            assert not ask(place, "included", leaf, index, size, [*path, bytes(32)], root)
            if path:
                assert not ask(place, "included", leaf, index, size, path[:-1], root)
    assert not ask(place, "included", leaf_hash(b"0"), 0, 0, [], tree.root(1))


def test_an_action_is_proven_under_the_settled_head(place: Place) -> None:
    tree = MerkleTree(f"{n}".encode() for n in range(21))
    settle(place, size=21, root=tree.root())
    claim = [place.operator.address, robot_id(ROBOT), NO_HEAD, 21, tree.root()]
    leaf, path = leaf_hash(b"5"), tree.inclusion_proof(5)
    assert ask(place, "proves", *claim, leaf, 5, path)
    assert not ask(place, "proves", *claim, leaf_hash(b"6"), 5, path)
    forged = MerkleTree([b"forged"])
    assert not ask(place, "proves", *claim[:3], 1, forged.root(), leaf_hash(b"forged"), 0, [])
    assert not ask(place, "proves", place.stranger.address, *claim[1:], leaf, 5, path)


def test_gas_is_as_documented(place: Place) -> None:
    used = measure(place)
    print(used)
    assert used["unsigned"] <= 60_000
    assert used["signed"] <= 1.5 * used["unsigned"]
    assert used["signed"] / 10_000 <= 6
    for page in ("settlement.md", "contracts.md"):
        text = (ROOT / "docs" / "reference" / page).read_text()
        documented = re.findall(r"<!-- gas ([A-Za-z ]+) -->([0-9,]+)", text)
        assert documented
        for name, figure in documented:
            assert abs(int(figure.replace(",", "")) - used[name]) <= 300, f"{page}: {name} takes {used[name]}"


def test_the_artefacts_are_what_the_sources_compile_to() -> None:
    vyper = TOOLS / "vyper" / "bin" / "vyper"
    if not vyper.is_file():
        pytest.skip("Vyper is not there: make chain-deps")
    command = [sys.executable, str(ROOT / "tools" / "compile_contracts.py"), str(vyper), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
