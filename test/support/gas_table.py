"""What each call of the contracts costs in gas, measured on a node: for the documented table and the test of it."""

from __future__ import annotations

from dataclasses import replace

from attest_examples import signer_of, statement_of
from evm_contracts import Contract, chain_of, later, registry_of
from settlement_place import ROBOT, Place

from og_ros.attest import Algorithm, SoftwareSigner, cose, keys
from og_ros.log import MerkleTree, leaf_hash
from og_ros.settlement import contracts, deploy, forks
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.evm_chain import encode_call, robot_id
from og_ros.settlement.receipt import Receipt

FLEET = 20
LEAVES = 10_000


def measure(place: Place) -> dict[str, int]:
    """Return gas by the name that the pages give it. The place's robot has a valid key that may settle unsigned."""
    used = _settling(place)
    used.update(_fleet(place))
    used.update(_registry(place))
    used.update(_models(place))
    for name in (contracts.DECISION_CHAIN, contracts.NODE_REGISTRY, contracts.MODEL_REGISTRY):
        argument = bytes(12) + bytes.fromhex(place.registry[2:]) if name == contracts.DECISION_CHAIN else b""
        code = contracts.load(name).bytecode + argument
        used[f"deploy {name}"] = deploy.transact(place.node.rpc, place.owner, None, code).gas_used
    return used


def _settling(place: Place) -> dict[str, int]:
    chain, name = chain_of(place), place.chain.name(place.operator.address, ROBOT)
    used: dict[str, int] = {}
    previous = NO_HEAD
    # Roots as hashes are: without the zero bytes that cost less to send.
    roots = [leaf_hash(bytes([number])) for number in range(3)]
    for sequence, what in enumerate(("first", "signed")):
        entry = Entry(name, sequence, LEAVES * (sequence + 1), roots[sequence], previous)
        signature, previous = place.signer.sign(entry.message()), entry.head()
        arguments = (name.robot_id, sequence, entry.size, entry.root, signature[:32], signature[32:])
        used[what] = chain.send(place.operator, "settle", *arguments).gas_used
    arguments_unsigned = (name.robot_id, 2, 3 * LEAVES, roots[2])
    used["unsigned"] = chain.send(place.operator, "settle_unsigned", *arguments_unsigned).gas_used
    tree = MerkleTree(f"{n}".encode() for n in range(LEAVES))
    proof = (leaf_hash(b"77"), 77, LEAVES, tree.inclusion_proof(77), tree.root())
    data = encode_call(contracts.DECISION_CHAIN, "included", *proof)
    call = {"to": place.contract, "data": f"0x{data.hex()}"}
    used["inclusion"] = place.node.rpc.number("eth_estimateGas", call)
    return used


def _fleet(place: Place) -> dict[str, int]:
    chain, registry, rpc = chain_of(place), registry_of(place), place.node.rpc
    registry.send(place.owner, "set_aggregator", place.stranger.address, True)
    names = [f"fleet-{number}" for number in range(FLEET)]
    for name in names:
        signer = SoftwareSigner(keys.generate())
        deploy.propose(rpc, place.operator, place.registry, name, signer)
        deploy.approve(rpc, place.owner, place.registry, signer.key_id, place.now() + 3600)
    robots = [robot_id(name) for name in names]
    roots = [leaf_hash(name.encode()) for name in names]
    used, previous = {}, [NO_HEAD] * FLEET
    for what, size in (("fleet first", LEAVES), ("fleet", 2 * LEAVES)):
        done = chain.send(place.stranger, "settle_fleet", robots, [size] * FLEET, roots, previous)
        used[what] = done.gas_used // FLEET
        previous = [place.chain.head(place.chain.name(place.stranger.address, name)).head for name in names]
    head = NO_HEAD
    for what, count in (("root first", 1000), ("root", 2000)):
        used[what] = chain.send(place.stranger, "settle_root", roots[0], count, head).gas_used
        head = chain.ask("fleet_state", place.stranger.address)[0]
    return used


def _registry(place: Place) -> dict[str, int]:
    rpc, registry, operator = place.node.rpc, registry_of(place), place.operator
    stage, leaving = signer_of(Algorithm.ES256), SoftwareSigner(keys.generate())
    used = {}
    proposal = deploy.Proposal(ROBOT, stage, "control", "maker", leaf_hash(b"1"), leaf_hash(b"2"))
    used["propose"] = deploy.submit(rpc, operator, place.registry, proposal).gas_used
    until = place.now() + 9_000_000
    approved = deploy.approve(rpc, place.owner, place.registry, stage.key_id, until, max_silence=600)
    used["approve"] = approved.gas_used
    used["heartbeat"] = registry.send(operator, "heartbeat", stage.key_id).gas_used
    used["bond"] = registry.send(operator, "bond", stage.key_id, value=10**18).gas_used
    base = statement_of(robot=ROBOT, stage="control")
    one, other = cose.sign(base, stage), cose.sign(replace(base, duration_ns=7), stage)
    fork, salt = forks.of_attestations(one, other), bytes(range(32))
    commitment = fork.commitment(place.stranger.address, salt)
    used["commit"] = registry.send(place.stranger, "commit_fork", commitment).gas_used
    used["slash attestations"] = deploy.transact(rpc, place.stranger, place.registry, fork.call(salt)).gas_used
    deploy.propose(rpc, operator, place.registry, ROBOT, leaving, stage="control")
    registry.send(operator, "bond", leaving.key_id, value=10**18)
    used["unbond"] = registry.send(operator, "unbond", leaving.key_id).gas_used
    later(place, 14 * 86_400 + 1)
    used["withdraw"] = registry.send(operator, "withdraw", leaving.key_id, operator.address).gas_used
    registry.send(operator, "bond", place.signer.key_id, value=10**18)
    name = ChainName(place.chain.chain_id, place.contract, operator.address, robot_id(ROBOT))
    signed = []
    for face in range(2):
        entry = Entry(name, 3, 4 * LEAVES, leaf_hash(bytes([face])), NO_HEAD[:-1] + b"\1")
        signed.append(Receipt(entry, place.signer.sign(entry.message()), bytes(32)))
    checkpoints = forks.of_checkpoints(place.signer.key_id, *signed)
    registry.send(place.stranger, "commit_fork", checkpoints.commitment(place.stranger.address, salt))
    done = deploy.transact(rpc, place.stranger, place.registry, checkpoints.call(salt))
    used["slash checkpoints"] = done.gas_used
    third = SoftwareSigner(keys.generate())
    deploy.propose(rpc, operator, place.registry, ROBOT, third, stage="control")
    used["revoke"] = deploy.revoke(rpc, place.owner, place.registry, third.key_id).gas_used
    return used


def _models(place: Place) -> dict[str, int]:
    models = Contract(place.node.rpc, contracts.MODEL_REGISTRY, deploy.deploy_models(place.node.rpc, place.owner))
    digest = leaf_hash(b"model")
    certificate = ("line_perception", "1.0.0", digest, leaf_hash(b"p"), bytes(32), "perception", 0)
    return {
        "certify": models.send(place.owner, "certify", *certificate).gas_used,
        "revoke model": models.send(place.owner, "revoke", digest, 0, "unsafe").gas_used,
    }
