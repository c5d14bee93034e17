"""A bond goes to who proves a fork, half of it, and to nobody who proves anything else; each rule with its attack."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cbor2
import pytest
from attest_examples import signer_of, statement_of
from evm_contracts import balance, call_data, later, put, registry_of
from settlement_place import ROBOT, Place

from og_ros.attest import Algorithm, SoftwareSigner, cose, keys
from og_ros.attest.signer import P256_ORDER
from og_ros.errors import SettlementError
from og_ros.settlement import deploy, forks
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.receipt import Receipt

BOND = 10**18
DAY = 86_400


def checkpoint(
    place: Place, root: bytes, size: int = 10, signer: SoftwareSigner | None = None, **chain: Any
) -> Receipt:
    name = replace(place.chain.name(place.operator.address, ROBOT), **chain)
    entry = Entry(name, 0, size, root, NO_HEAD)
    return Receipt(entry, (signer or place.signer).sign(entry.message()), bytes(32))


def fork_of(place: Place, **chain: Any) -> forks.Fork:
    one, other = checkpoint(place, b"\1" * 32), checkpoint(place, b"\2" * 32, **chain)
    return forks.of_checkpoints(place.signer.key_id, one, other)


def forced(place: Place, one: Receipt, other: Receipt, size: int = 10) -> forks.Fork:
    """A proof that `of_checkpoints` would not make."""
    sides = [(c.entry.chain.contract, c.entry.chain.submitter, c.entry.previous, c.entry.sequence, c.entry.root,
              c.signature[:32], c.signature[32:]) for c in (one, other)]  # fmt: skip
    arguments = (place.signer.key_id, size, *sides)
    return forks.Fork(place.signer.key_id, one.entry.message(), other.entry.message(), "slash_checkpoints", arguments)


@pytest.fixture
def bonded(place: Place) -> Place:
    registry_of(place).send(place.operator, "bond", place.signer.key_id, value=BOND)
    return place


@pytest.fixture
def stage(bonded: Place) -> SoftwareSigner:
    """A stage's key beside the settlement key, with a bond of its own."""
    signer = signer_of(Algorithm.ES256)
    deploy.propose(bonded.node.rpc, bonded.operator, bonded.registry, ROBOT, signer, stage="control")
    registry_of(bonded).send(bonded.operator, "bond", signer.key_id, value=BOND)
    return signer


def report(place: Place, fork: forks.Fork) -> int:
    """Report a fork as the stranger; what he gained but for gas."""
    rpc, before = place.node.rpc, balance(place.node.rpc, place.stranger.address)
    start = rpc.number("eth_blockNumber")
    forks.report(rpc, place.stranger, place.registry, fork)
    paid = 0
    for number in range(start + 1, rpc.number("eth_blockNumber") + 1):
        for receipt in rpc.call("eth_getBlockReceipts", hex(number)):
            if receipt["from"] == place.stranger.address:
                paid += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    return balance(rpc, place.stranger.address) - before + paid


def refuse(place: Place, fork: forks.Fork, why: str) -> None:
    before = balance(place.node.rpc, place.registry)
    with pytest.raises(SettlementError, match=why):
        forks.report(place.node.rpc, place.stranger, place.registry, fork)
    assert balance(place.node.rpc, place.registry) == before
    assert registry_of(place).ask("bonds", fork.key_id) == BOND
    assert registry_of(place).ask("is_valid", place.signer.key_id)


def test_two_checkpoints_of_one_size_pay_the_reporter_and_end_the_key(bonded: Place) -> None:
    registry = registry_of(bonded)
    assert report(bonded, fork_of(bonded)) == BOND // 2
    assert registry.ask("bonds", bonded.signer.key_id) == 0
    assert registry.ask("burnt") == BOND // 2 == balance(bonded.node.rpc, bonded.registry)
    assert not registry.ask("is_valid", bonded.signer.key_id)
    with pytest.raises(SettlementError, match="nothing left to take"):
        forks.report(bonded.node.rpc, bonded.stranger, bonded.registry, fork_of(bonded))


def test_checkpoints_for_two_contracts_are_a_fork_of_one_log(bonded: Place) -> None:
    assert report(bonded, fork_of(bonded, contract="0x" + "11" * 20)) == BOND // 2


def test_a_fork_of_a_key_without_a_bond_ends_the_key(place: Place) -> None:
    assert report(place, fork_of(place)) == 0
    assert not registry_of(place).ask("is_valid", place.signer.key_id)


@pytest.mark.parametrize(("sequence", "signed_at_ns"), [(0, 1), (5, 1_790_000_000_123_456_789), (2**63, 2**32)])
def test_two_attestations_with_one_sequence_number_pay_the_reporter(
    bonded: Place, stage: SoftwareSigner, sequence: int, signed_at_ns: int
) -> None:
    base = statement_of(robot=ROBOT, stage="control", sequence=sequence, signed_at_ns=signed_at_ns)
    base = replace(base, previous=bytes(32)) if sequence == 0 else base
    one, other = cose.sign(base, stage), cose.sign(replace(base, duration_ns=7), stage)
    assert report(bonded, forks.of_attestations(one, other)) == BOND // 2
    assert registry_of(bonded).ask("bonds", stage.key_id) == 0
    assert registry_of(bonded).ask("is_valid", bonded.signer.key_id), "the other key of the robot stays"


@pytest.mark.parametrize(
    "case", ["same_root", "other_size", "other_key", "other_robot", "other_chain", "unsigned_root"]
)
def test_two_checkpoints_that_are_no_fork_pay_nobody(bonded: Place, case: str) -> None:
    one, other = checkpoint(bonded, b"\1" * 32), checkpoint(bonded, b"\2" * 32)
    why = "bad signature"
    if case == "same_root":
        other, why = checkpoint(bonded, b"\1" * 32, contract="0x" + "11" * 20), "no fork"
    elif case == "other_size":
        other = checkpoint(bonded, b"\2" * 32, size=11)
    elif case == "other_key":
        other = checkpoint(bonded, b"\2" * 32, signer=SoftwareSigner(keys.generate()))
    elif case == "other_robot":
        other = checkpoint(bonded, b"\2" * 32, robot_id=bytes(32))
    elif case == "other_chain":
        other = checkpoint(bonded, b"\2" * 32, chain_id=1)
    else:
        other = replace(other, entry=replace(other.entry, root=b"\3" * 32))
    refuse(bonded, forced(bonded, one, other), why)


def test_a_signature_made_to_look_like_another_pays_nobody(bonded: Place) -> None:
    one = checkpoint(bonded, b"\1" * 32)
    s = P256_ORDER - int.from_bytes(one.signature[32:], "big")
    twin = replace(one, signature=one.signature[:32] + s.to_bytes(32, "big"))
    refuse(bonded, forced(bonded, one, twin), "no fork")
    refuse(bonded, forced(bonded, twin, checkpoint(bonded, b"\2" * 32)), "high s")


@pytest.mark.parametrize("case", ["same", "twin", "sequence", "session", "other_key", "tail", "cut", "no_statement"])
def test_two_attestations_that_are_no_fork_pay_nobody(bonded: Place, stage: SoftwareSigner, case: str) -> None:
    base = statement_of(robot=ROBOT, stage="control")
    one, other, why, shift = cose.sign(base, stage), cose.sign(replace(base, duration_ns=7), stage), "no fork", 0
    if case in ("same", "twin"):
        other = one
    elif case == "sequence":
        other = cose.sign(replace(base, sequence=6), stage)
    elif case == "session":
        other = cose.sign(replace(base, session=bytes(16)), stage)
    elif case == "other_key":
        thief = SoftwareSigner(keys.generate())
        other, why = cose.sign(replace(base, key_id=thief.key_id, duration_ns=7), thief), "bad signature"
    elif case == "tail":
        shift, why = 1, "no session"
    sides: list[Any] = [stage.key_id]
    for side in (one, other):
        sides += [side.signed_bytes, forks.tail_of(side) + shift, side.signature[:32], side.signature[32:]]
    if case == "cut":  # the front of the bytes alone, whatever they say, was never signed
        sides[5], why = sides[5][:-1], "bad signature"
    elif case == "no_statement":  # the key signed it, as another thing than an attestation
        text = b"\x84\x6aSignature1" + one.signed_bytes[20:]
        sides[5:9], why = [text, sides[6], *_halves(stage.sign(text))], "no statement|no protected header"
    elif case == "twin":
        s = P256_ORDER - int.from_bytes(one.signature[32:], "big")
        sides[8] = s.to_bytes(32, "big")
    fork = forks.Fork(stage.key_id, sides[1], sides[5], "slash_attestations", tuple(sides))
    refuse(bonded, fork, why)


def _halves(signature: bytes) -> list[bytes]:
    return [signature[:32], signature[32:]]


def test_text_that_looks_like_the_fields_behind_it_is_not_taken_for_them(bonded: Place, stage: SoftwareSigner) -> None:
    """Two honest records whose texts were chosen by an attacker to hold a whole false end of a statement."""
    base = statement_of(robot=ROBOT, stage="control")
    donor = cose.sign(base, stage)
    false_end = donor.signed_bytes[forks.tail_of(donor) :].decode("latin-1")
    records = []
    for sequence in (5, 6):
        runtime = replace(base.runtime, options="".join(c for c in false_end if c.isascii() and c.isprintable()))
        records.append(cose.sign(replace(base, sequence=sequence, runtime=runtime), stage))
    for place in range(0, len(records[0].signed_bytes), 9):
        sides: list[Any] = [stage.key_id]
        for side in records:
            sides += [side.signed_bytes, place, side.signature[:32], side.signature[32:]]
        fork = forks.Fork(stage.key_id, sides[1], sides[5], "slash_attestations", tuple(sides))
        refusal = forks._refusal(bonded.node.rpc, bonded.stranger, bonded.registry, fork.call(bytes(32)))
        assert refusal is not None
        assert "committed" not in refusal


def test_no_name_behind_session_could_stand_at_two_places() -> None:
    """What makes the end of a statement readable in one way only: a name that overlaps itself could stand twice."""
    for name in forks._TAIL[2:]:  # those before sequence stand at a fixed distance from it
        text = cbor2.dumps(name)
        assert not any(text.startswith(text[place:]) for place in range(1, 9)), name
        assert len(text) > 8, "two places are at most 8 bytes apart: an integer has 1 to 9"


def test_a_proof_that_was_seen_in_the_pool_pays_only_who_committed_to_it(bonded: Place) -> None:
    registry, fork, salt = registry_of(bonded), fork_of(bonded), b"\7" * 32
    registry.send(bonded.stranger, "commit_fork", fork.commitment(bonded.stranger.address, salt))
    for thief in (bonded.operator, bonded.owner):
        with pytest.raises(SettlementError, match="not committed before"):
            deploy.transact(bonded.node.rpc, thief, bonded.registry, fork.call(salt))
    with pytest.raises(SettlementError, match="committed already"):  # nor can it be put off by committing again
        registry.send(bonded.owner, "commit_fork", fork.commitment(bonded.stranger.address, salt))
    deploy.transact(bonded.node.rpc, bonded.stranger, bonded.registry, fork.call(salt))
    assert registry.ask("bonds", bonded.signer.key_id) == 0


def test_commitment_and_proof_in_one_block_count_for_nothing(bonded: Place) -> None:
    rpc, fork, salt = bonded.node.rpc, fork_of(bonded), bytes(32)
    forger = put(rpc, bonded.stranger, "Greedy")
    commit = call_data("commit_fork", "bytes32", fork.commitment(forger, salt))
    act = "address,bytes"
    bonded.node.automine(False)
    nonce = rpc.number("eth_getTransactionCount", bonded.stranger.address, "latest")
    for number, data in enumerate((commit, fork.call(salt))):
        transaction = {
            "type": 2, "chainId": rpc.number("eth_chainId"), "nonce": nonce + number, "value": 0, "gas": 3_000_000,
            "data": call_data("act", act, bonded.registry, data), "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 10**9, "to": deploy.to_checksum_address(forger),
        }  # fmt: skip
        raw, name = bonded.stranger.sign(transaction)
        rpc.call("eth_sendRawTransaction", f"0x{raw.hex()}")
    bonded.node.mine()
    assert rpc.call("eth_getTransactionReceipt", f"0x{name.hex()}")["status"] == "0x0"
    assert registry_of(bonded).ask("bonds", bonded.signer.key_id) == BOND


def test_a_bond_leaves_only_after_its_delay_and_a_fork_takes_it_until_then(bonded: Place) -> None:
    registry, key_id, operator = registry_of(bonded), bonded.signer.key_id, bonded.operator
    with pytest.raises(SettlementError, match="not unbonding"):
        registry.send(operator, "withdraw", key_id, operator.address)
    for function, arguments in (("unbond", [key_id]), ("withdraw", [key_id, bonded.stranger.address])):
        with pytest.raises(SettlementError, match="not the operator"):
            registry.send(bonded.stranger, function, *arguments)
    registry.send(operator, "unbond", key_id)
    assert not registry.ask("is_valid", key_id), "who takes the bond back gives the key up"
    with pytest.raises(SettlementError, match="unbonding already"):
        registry.send(operator, "unbond", key_id)
    with pytest.raises(SettlementError, match="revoked already"):
        registry.send(operator, "bond", key_id, value=1)
    later(bonded, 14 * DAY - 60)
    with pytest.raises(SettlementError, match="too early"):
        registry.send(operator, "withdraw", key_id, operator.address)
    before = bonded.node.rpc.call("evm_snapshot")
    later(bonded, 120)
    registry.send(operator, "withdraw", key_id, "0x" + "77" * 20)
    assert balance(bonded.node.rpc, "0x" + "77" * 20) == BOND
    with pytest.raises(SettlementError, match="nothing bonded"):
        registry.send(operator, "withdraw", key_id, operator.address)
    bonded.node.rpc.call("evm_revert", before)
    assert report(bonded, fork_of(bonded)) == BOND // 2
    later(bonded, 120)
    with pytest.raises(SettlementError, match="nothing bonded"):
        registry.send(operator, "withdraw", key_id, operator.address)


def test_bonds_are_their_operators_and_may_be_demanded(bare: Place) -> None:
    rpc, registry, key_id = bare.node.rpc, registry_of(bare), bare.signer.key_id
    with pytest.raises(SettlementError, match="not the owner"):
        registry.send(bare.stranger, "set_minimum_bond", 1)
    registry.send(bare.owner, "set_minimum_bond", BOND)
    deploy.propose(rpc, bare.operator, bare.registry, ROBOT, bare.signer)
    with pytest.raises(SettlementError, match="bond too small"):
        deploy.approve(rpc, bare.owner, bare.registry, key_id, bare.now() + 99)
    with pytest.raises(SettlementError, match="not the operator"):
        registry.send(bare.stranger, "bond", key_id, value=BOND)
    with pytest.raises(SettlementError, match="nothing sent"):
        registry.send(bare.operator, "bond", key_id)
    registry.send(bare.operator, "bond", key_id, value=BOND)
    deploy.approve(rpc, bare.owner, bare.registry, key_id, bare.now() + 99)
    assert registry.ask("is_valid", key_id)


def test_no_money_reaches_the_registry_but_as_a_bond(place: Place) -> None:
    with pytest.raises(SettlementError):
        deploy.transact(place.node.rpc, place.operator, place.registry, b"", value=1)
    with pytest.raises(SettlementError):
        registry_of(place).send(place.operator, "revoke", place.signer.key_id, value=1)


@pytest.mark.parametrize("way", ["withdraw", "slash"])
def test_who_is_paid_cannot_call_in_again_for_more(bare: Place, way: str) -> None:
    """Another's bond lies in the contract, too: an attacker who is paid twice would take it."""
    rpc, registry, act = bare.node.rpc, registry_of(bare), "address,bytes"
    greedy = put(rpc, bare.stranger, "Greedy")

    def do(data: bytes, value: int = 0) -> None:
        deploy.transact(rpc, bare.stranger, greedy, call_data("act", act, bare.registry, data), value=value)

    def arm(data: bytes) -> None:
        deploy.transact(rpc, bare.stranger, greedy, call_data("arm", act, bare.registry, data))

    victim = SoftwareSigner(keys.generate())
    deploy.propose(rpc, bare.operator, bare.registry, "robot-8", victim)
    registry.send(bare.operator, "bond", victim.key_id, value=BOND)
    do(deploy.Proposal(ROBOT, bare.signer).call(rpc.number("eth_chainId"), bare.registry, greedy))
    do(call_data("bond", "bytes32", bare.signer.key_id), BOND)
    if way == "withdraw":
        do(call_data("unbond", "bytes32", bare.signer.key_id))
        later(bare, 14 * DAY + 1)
        data, gain = call_data("withdraw", "bytes32,address", bare.signer.key_id, greedy), BOND
    else:
        fork, salt = fork_of(bare), bytes(32)
        do(call_data("commit_fork", "bytes32", fork.commitment(greedy, salt)))
        bare.node.mine()
        data, gain = fork.call(salt), BOND // 2
    arm(data)
    do(data)
    assert rpc.read(greedy, call_data("tries", "")) == (1).to_bytes(32, "big"), "it was paid once, and called in again"
    assert rpc.read(greedy, call_data("successes", "")) == bytes(32)
    assert balance(rpc, greedy) == gain
    assert balance(rpc, bare.registry) == 2 * BOND - gain
    assert registry.ask("bonds", victim.key_id) == BOND


def test_forks_that_no_contract_could_check_are_refused_before_they_are_sent(place: Place) -> None:
    one = cose.sign(statement_of(Algorithm.EDDSA), signer_of(Algorithm.EDDSA))
    with pytest.raises(SettlementError, match="not on P-256"):
        forks.of_attestations(one, one)
    here = checkpoint(place, b"\1" * 32)
    for other, why in (
        (replace(here, signature=b""), "no key signed"),
        (checkpoint(place, b"\2" * 32, robot_id=bytes(32)), "two robots"),
        (checkpoint(place, b"\2" * 32, size=11), "10 and 11 leaves"),
        (here, "same root"),
    ):
        with pytest.raises(SettlementError, match=why):
            forks.of_checkpoints(place.signer.key_id, here, other)
