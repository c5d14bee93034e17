"""Aggregators settle for fleets: many robots in a transaction, or one log's root; each rule with what breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from evm_contracts import Contract, chain_of, later, registry_of
from settlement_place import ROBOT, Place

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import SettlementError
from og_ros.log import MerkleTree, leaf_hash
from og_ros.settlement import deploy
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.evm_chain import robot_id

OTHER = "robot-8"
ROOTS = tuple(bytes([n + 1]) * 32 for n in range(6))


@pytest.fixture
def fleet(place: Place) -> Place:
    """Two robots have valid keys; the stranger is an approved aggregator."""
    signer = SoftwareSigner(keys.generate())
    deploy.propose(place.node.rpc, place.operator, place.registry, OTHER, signer)
    deploy.approve(place.node.rpc, place.owner, place.registry, signer.key_id, place.now() + 3600)
    registry_of(place).send(place.owner, "set_aggregator", place.stranger.address, True)
    return place


def settle(place: Place, robots: list[bytes], sizes: list[int], roots: list[bytes], previous: list[bytes]) -> Any:
    return chain_of(place).send(place.stranger, "settle_fleet", robots, sizes, roots, previous)


def test_a_fleet_settles_in_one_transaction_and_its_chains_go_on(fleet: Place) -> None:
    robots = [robot_id(ROBOT), robot_id(OTHER)]
    names = [fleet.chain.name(fleet.stranger.address, robot) for robot in (ROBOT, OTHER)]
    settle(fleet, robots, [5, 7], list(ROOTS[:2]), [NO_HEAD, NO_HEAD])
    first = [Entry(name, 0, size, root, NO_HEAD) for name, size, root in zip(names, (5, 7), ROOTS, strict=False)]
    settle(fleet, robots, [6, 9], list(ROOTS[2:4]), [entry.head() for entry in first])
    second = Entry(names[1], 1, 9, ROOTS[3], first[1].head())
    head = fleet.chain.head(names[1])
    assert (head.head, head.count, head.size) == (second.head(), 2, 9)
    events = fleet.chain.events(names[1])
    assert [event.entry for event in events] == [first[1], second]
    assert not any(event.signed for event in events)


@pytest.mark.parametrize(
    ("robots", "sizes", "previous", "why"),
    [
        ([], [], [], "no robots"),
        ([ROBOT], [5, 6], [NO_HEAD], "lengths differ"),
        ([ROBOT, OTHER], [5, 6], [NO_HEAD], "lengths differ"),
        ([ROBOT], [5], [ROOTS[0]], "not the next"),
        ([ROBOT], [0], [NO_HEAD], "size does not grow"),
        ([ROBOT], [2**63], [NO_HEAD], "size does not grow"),
        ([ROBOT, "robot-9"], [5, 6], [NO_HEAD, NO_HEAD], "no valid key"),
        ([ROBOT, ROBOT], [5, 6], [NO_HEAD, NO_HEAD], "not the next"),
    ],
    ids=["empty", "sizes", "previous", "wrong-head", "zero", "huge", "unknown-robot", "twice"],
)
def test_one_robot_that_breaks_a_rule_stops_the_whole_fleet(
    fleet: Place, robots: list[str], sizes: list[int], previous: list[bytes], why: str
) -> None:
    with pytest.raises(SettlementError, match=why):
        settle(fleet, [robot_id(robot) for robot in robots], sizes, list(ROOTS[: len(robots)]), previous)
    assert fleet.chain.head(fleet.chain.name(fleet.stranger.address, ROBOT)).count == 0


def test_only_an_aggregator_settles_for_fleets_and_only_while_it_is_one(fleet: Place) -> None:
    chain, registry = chain_of(fleet), registry_of(fleet)
    with pytest.raises(SettlementError, match="not the owner"):
        registry.send(fleet.stranger, "set_aggregator", fleet.operator.address, True)
    for function, arguments in (
        ("settle_fleet", ([robot_id(ROBOT)], [5], [ROOTS[0]], [NO_HEAD])),
        ("settle_root", (ROOTS[0], 5, NO_HEAD)),
    ):
        with pytest.raises(SettlementError, match="not an aggregator"):
            chain.send(fleet.operator, function, *arguments)
    chain.send(fleet.stranger, "settle_root", ROOTS[0], 5, NO_HEAD)
    registry.send(fleet.owner, "set_aggregator", fleet.stranger.address, False)
    head, _, _ = chain.ask("fleet_state", fleet.stranger.address)
    with pytest.raises(SettlementError, match="not an aggregator"):
        chain.send(fleet.stranger, "settle_root", ROOTS[1], 6, head)


def test_a_revoked_robot_is_settled_by_no_aggregator_and_its_own_chain_is_not_touched(fleet: Place) -> None:
    settle(fleet, [robot_id(ROBOT)], [5], [ROOTS[0]], [NO_HEAD])
    assert fleet.chain.head(fleet.chain.name(fleet.operator.address, ROBOT)).count == 0
    head = fleet.chain.head(fleet.chain.name(fleet.stranger.address, ROBOT)).head
    deploy.revoke(fleet.node.rpc, fleet.operator, fleet.registry, fleet.signer.key_id)
    with pytest.raises(SettlementError, match="no valid key"):
        settle(fleet, [robot_id(ROBOT)], [6], [ROOTS[1]], [head])


def test_an_action_is_proven_in_two_steps_under_an_aggregators_root(fleet: Place) -> None:
    chain = chain_of(fleet)
    robot_log = MerkleTree(f"action {n}".encode() for n in range(9))
    checkpoints = [b"of another robot", robot_log.root(), b"of a third"]
    tree = MerkleTree(checkpoints)
    chain.send(fleet.stranger, "settle_root", tree.root(2), 2, NO_HEAD)
    before, _, _ = chain.ask("fleet_state", fleet.stranger.address)
    for arguments, why in (
        ((tree.root(), 3, NO_HEAD), "not the next"),
        ((tree.root(), 2, before), "size does not grow"),
        ((tree.root(), 2**63, before), "size does not grow"),
    ):
        with pytest.raises(SettlementError, match=why):
            chain.send(fleet.stranger, "settle_root", *arguments)
    chain.send(fleet.stranger, "settle_root", tree.root(), 3, before)
    assert chain.ask("fleet_state", fleet.stranger.address)[1:] == (2, 3)
    claim = (fleet.stranger.address, before, 3, tree.root())
    step = (leaf_hash(robot_log.root()), 1, tree.inclusion_proof(1))
    assert chain.ask("proves_in_fleet", *claim, *step)
    assert chain.ask("included", leaf_hash(b"action 4"), 4, 9, robot_log.inclusion_proof(4), robot_log.root())
    assert not chain.ask("proves_in_fleet", *claim, leaf_hash(b"forged"), *step[1:])
    assert not chain.ask("proves_in_fleet", fleet.operator.address, *claim[1:], *step)
    assert not chain.ask("proves_in_fleet", claim[0], NO_HEAD, *claim[2:], *step)
    forged = MerkleTree([b"forged"])
    assert not chain.ask("proves_in_fleet", *claim[:2], 1, forged.root(), leaf_hash(b"forged"), 0, [])


def test_a_key_that_must_show_that_it_is_alive_is_valid_until_it_is_silent(bare: Place) -> None:
    rpc, registry, key_id = bare.node.rpc, registry_of(bare), bare.signer.key_id
    deploy.propose(rpc, bare.operator, bare.registry, ROBOT, bare.signer)
    with pytest.raises(SettlementError, match="not approved"):
        registry.send(bare.operator, "heartbeat", key_id)
    with pytest.raises(SettlementError, match="bad silence"):
        deploy.approve(rpc, bare.owner, bare.registry, key_id, bare.now() + 9000, max_silence=2**40)
    deploy.approve(rpc, bare.owner, bare.registry, key_id, bare.now() + 9000, max_silence=600)
    later(bare, 590)
    registry.send(bare.operator, "heartbeat", key_id)
    later(bare, 500)
    assert registry.ask("is_valid", key_id)
    later(bare, 200)
    assert not registry.ask("is_valid", key_id)
    assert registry.ask("settler_terms", robot_id(ROBOT)) == 0
    with pytest.raises(SettlementError, match="not the operator"):
        registry.send(bare.stranger, "heartbeat", key_id)
    registry.send(bare.operator, "heartbeat", key_id)
    assert registry.ask("is_valid", key_id)
    later(bare, 9000)
    registry.send(bare.operator, "heartbeat", key_id)
    assert not registry.ask("is_valid", key_id), "a heartbeat does not put the expiry off"
    deploy.revoke(rpc, bare.operator, bare.registry, key_id)
    with pytest.raises(SettlementError, match="not approved"):
        registry.send(bare.operator, "heartbeat", key_id)


def test_a_key_of_which_no_heartbeat_is_asked_takes_none(place: Place) -> None:
    with pytest.raises(SettlementError, match="no heartbeat is asked for"):
        registry_of(place).send(place.operator, "heartbeat", place.signer.key_id)


def test_measurement_and_evidence_are_what_the_key_signed(bare: Place) -> None:
    rpc, registry = bare.node.rpc, registry_of(bare)
    proposal = deploy.Proposal(ROBOT, bare.signer, measurement=b"\1" * 32, evidence=b"\2" * 32)
    data = bytearray(proposal.call(rpc.number("eth_chainId"), bare.registry, bare.operator.address))
    at = data.index(b"\1" * 32)
    data[at] = 9
    with pytest.raises(SettlementError, match="bad signature"):
        deploy.transact(rpc, bare.operator, bare.registry, bytes(data))
    deploy.submit(rpc, bare.operator, bare.registry, proposal)
    node = registry.ask("nodes", bare.signer.key_id)
    assert node[3:5] == (b"\1" * 32, b"\2" * 32)
    assert node[5:] == ("settlement", "")


def test_a_wallet_of_several_owners_can_own_the_registry(place: Place) -> None:
    """Two of three must agree before an aggregator is named: no single party controls the registry."""
    from evm_contracts import call_data, put

    rpc, registry = place.node.rpc, registry_of(place)
    accounts = (place.owner, place.operator, place.stranger)
    wallet = put(rpc, place.owner, "TwoOfThree", "address,address,address", *(one.address for one in accounts))

    def ask(account: Any, data: bytes, number: int) -> None:
        call = call_data("ask", "address,bytes,uint256", place.registry, data, number)
        deploy.transact(rpc, account, wallet, call)

    registry.send(place.owner, "offer_ownership", wallet)
    take = call_data("take_ownership", "")
    ask(place.operator, take, 0)
    ask(place.operator, take, 0)
    assert registry.ask("owner") == place.owner.address, "one owner who asks twice is one owner"
    ask(place.stranger, take, 0)
    assert registry.ask("owner") == wallet
    with pytest.raises(SettlementError, match="not the owner"):
        registry.send(place.owner, "set_approver", place.operator.address, True)
    name = call_data("set_aggregator", "address,bool", place.operator.address, True)
    ask(place.owner, name, 1)
    assert not registry.ask("is_aggregator", place.operator.address)
    ask(place.stranger, name, 1)
    assert registry.ask("is_aggregator", place.operator.address)
    dismiss = call_data("set_approver", "address,bool", place.owner.address, False)
    ask(place.operator, dismiss, 2)
    ask(place.stranger, dismiss, 2)
    with pytest.raises(SettlementError, match="neither approver nor operator"):
        deploy.revoke(rpc, place.owner, place.registry, place.signer.key_id)


def test_the_code_of_our_contracts_is_known_whatever_registry_they_were_made_with(place: Place) -> None:
    assert place.chain.has_our_code()
    assert Contract(place.node.rpc, "DecisionChain", place.contract).ask("registry") == place.registry
