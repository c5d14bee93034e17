"""Any order of calls to the contracts does what a model in Python does, refuses what it refuses, and loses no money."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from evm_contracts import balance, chain_of, later, registry_of
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from settlement_place import Place

from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import SettlementError
from og_ros.registry.snapshot import decode, encode, open_snapshot
from og_ros.settlement import deploy, forks, snapshots
from og_ros.settlement.checkpoints import NO_HEAD, ChainName, Entry
from og_ros.settlement.evm_chain import robot_id
from og_ros.settlement.receipt import Receipt

# Two keys of one robot, one of another, and a stage's. Moments lie between those at which something ends, and apart
# from them by more than a run takes.
ROBOTS = ("robot-7", "robot-7", "robot-8", "robot-8")
STAGES = ("settlement", "settlement", "settlement", "control")
UNBONDING = 14 * 86_400
KEYS = st.integers(0, 3)
OPERATOR = -1  # the key's own operator, whoever that is
WHO = st.sampled_from((OPERATOR, OPERATOR, OPERATOR, OPERATOR, 0, 1, 2))
HOURS = st.integers(1, 40).map(lambda n: n * 3600)


@dataclass
class Key:
    signer: SoftwareSigner
    robot: str
    stage: str
    operator: int = -1
    approved_until: int = 0
    max_silence: int = 0
    alive_until: int = 0
    revoked: bool = False
    unsigned: bool = False
    bond: int = 0
    withdrawable_at: int = 0

    def valid(self, now: int) -> bool:
        alive = not self.max_silence or now <= self.alive_until
        return bool(self.approved_until) and not self.revoked and now <= self.approved_until and alive


@dataclass
class Chain:
    head: bytes = NO_HEAD
    count: int = 0
    size: int = 0


@dataclass
class Model:
    """What the contracts are to hold: account 0 is owner and approver, 2 is an aggregator too."""

    keys: list[Key]
    now: int = 0
    minimum: int = 0
    burnt: int = 0
    key_of: dict[str, Key] = field(default_factory=dict)
    chains: dict[tuple[int, str], Chain] = field(default_factory=dict)

    def settler(self, robot: str) -> Key | None:
        key = self.key_of.get(robot)
        return key if key is not None and key.valid(self.now) else None

    def chain(self, who: int, robot: str) -> Chain:
        return self.chains.setdefault((who, robot), Chain())


def machine(place: Place, folder: Path) -> type[RuleBasedStateMachine]:
    """The machine on a node."""
    rpc, registry, contract = place.node.rpc, registry_of(place), chain_of(place)
    accounts = (place.owner, place.operator, place.stranger)
    signers = [SoftwareSigner(keys.generate()) for _ in ROBOTS]

    class Machine(RuleBasedStateMachine):
        @initialize(bonds=st.tuples(*[st.sampled_from((0, 700, 1001))] * 4), begun=st.tuples(*[st.booleans()] * 4))
        def begin(self, bonds: tuple[int, ...], begun: tuple[bool, ...]) -> None:
            self.before = rpc.call("evm_snapshot")
            registry.send(place.owner, "set_aggregator", place.stranger.address, True)
            self.start = place.now()
            self.model = Model([Key(*of) for of in zip(signers, ROBOTS, STAGES, strict=True)])
            for which in range(4):
                self.propose(which, 1 + which % 2)
                if bonds[which]:
                    self.bond(which, OPERATOR, bonds[which])
                if begun[which]:
                    self.approve(which, 0, 36_000 * (which + 5), 72_000 * (which % 2), which == 0)

        def teardown(self) -> None:
            if hasattr(self, "model"):
                self.check_history()
                assert rpc.call("evm_revert", self.before) is True

        def who(self, key: Key, who: int) -> int:
            return max(key.operator, 0) if who == OPERATOR else who

        def do(self, allowed: bool, account: int, function: str, *arguments: object, value: int = 0) -> bool:
            target = contract if function.startswith("settle") else registry
            try:
                target.send(accounts[account], function, *arguments, value=value)
            except SettlementError:
                assert not allowed, f"{function} was refused"
                return False
            assert allowed, f"{function} was not refused"
            return True

        def propose(self, which: int, who: int) -> None:
            key = self.model.keys[which]
            proposal = deploy.Proposal(key.robot, key.signer, key.stage)
            deploy.submit(rpc, accounts[who], place.registry, proposal)
            key.operator = who

        @rule(which=KEYS, who=st.sampled_from((0, 0, 0, 1)), hours=HOURS, silence=st.one_of(st.just(0), HOURS),
              unsigned=st.booleans())  # fmt: skip
        def approve(self, which: int, who: int, hours: int, silence: int, unsigned: bool) -> None:
            model, key = self.model, self.model.keys[which]
            settles = key.stage == "settlement"
            allowed = (
                who == 0 and key.operator >= 0 and not key.approved_until and not key.revoked
                and key.bond >= model.minimum and not (settles and model.settler(key.robot))
            )  # fmt: skip
            until = self.start + model.now + hours + 1800
            if self.do(allowed, who, "approve", key.signer.key_id, until, silence and silence + 1800, unsigned):
                key.approved_until, key.unsigned = model.now + hours + 1800, unsigned
                key.max_silence = silence and silence + 1800
                key.alive_until = model.now + key.max_silence
                if settles:
                    model.key_of[key.robot] = key

        @rule(which=KEYS, who=WHO)
        def revoke(self, which: int, who: int) -> None:
            key = self.model.keys[which]
            who = self.who(key, who)
            allowed = key.operator >= 0 and not key.revoked and who in (0, key.operator)
            if self.do(allowed, who, "revoke", key.signer.key_id):
                key.revoked = True

        @rule(which=KEYS, who=WHO)
        def heartbeat(self, which: int, who: int) -> None:
            key = self.model.keys[which]
            who = self.who(key, who)
            allowed = who == key.operator and bool(key.approved_until) and not key.revoked and bool(key.max_silence)
            if self.do(allowed, who, "heartbeat", key.signer.key_id):
                key.alive_until = self.model.now + key.max_silence

        @rule(amount=st.sampled_from((0, 0, 0, 800)), who=st.sampled_from((0, 0, 1)))
        def demand(self, amount: int, who: int) -> None:
            if self.do(who == 0, who, "set_minimum_bond", amount):
                self.model.minimum = amount

        @rule(which=KEYS, who=WHO, amount=st.integers(0, 1001))
        def bond(self, which: int, who: int, amount: int) -> None:
            key = self.model.keys[which]
            who = self.who(key, who)
            if self.do(who == key.operator and not key.revoked and amount > 0, who, "bond", key.signer.key_id,
                       value=amount):  # fmt: skip
                key.bond += amount

        @rule(which=KEYS, who=WHO)
        def unbond(self, which: int, who: int) -> None:
            key = self.model.keys[which]
            who = self.who(key, who)
            if self.do(who == key.operator and key.bond > 0 and not key.withdrawable_at, who, "unbond",
                       key.signer.key_id):  # fmt: skip
                key.revoked, key.withdrawable_at = True, self.model.now + UNBONDING

        @rule(which=KEYS, who=WHO)
        def withdraw(self, which: int, who: int) -> None:
            key = self.model.keys[which]
            who = self.who(key, who)
            ripe = bool(key.withdrawable_at) and self.model.now > key.withdrawable_at
            if self.do(who == key.operator and key.bond > 0 and ripe, who, "withdraw", key.signer.key_id,
                       accounts[who].address):  # fmt: skip
                key.bond = key.withdrawable_at = 0

        @rule(which=KEYS, honest=st.sampled_from((False, True, True)))
        def fork(self, which: int, honest: bool) -> None:
            key = self.model.keys[which]
            name = ChainName(place.chain.chain_id, place.contract, place.operator.address, robot_id(key.robot))
            entries = [Entry(name, 0, 10, bytes([face]) * 32, NO_HEAD) for face in (1, 2)]
            signed = [Receipt(entry, key.signer.sign(entry.message()), bytes(32)) for entry in entries]
            if honest:  # one of the two was never signed by this key
                other = self.model.keys[which - 1].signer
                signed[1] = Receipt(entries[1], other.sign(entries[1].message()), bytes(32))
            allowed = key.operator >= 0 and not honest and (key.bond > 0 or not key.revoked)
            try:
                forks.report(rpc, place.stranger, place.registry, forks.of_checkpoints(key.signer.key_id, *signed))
            except SettlementError:
                assert not allowed
                return
            assert allowed
            self.model.burnt += key.bond - key.bond // 2
            key.bond = key.withdrawable_at = 0
            key.revoked = True

        @rule(
            which=st.sampled_from((0, 0, 1, 2, 2, 2)), who=WHO, grow=st.sampled_from((0, 1, 2, 3)),
            how=st.sampled_from(("signed", "signed", "unsigned")),
        )  # fmt: skip
        def settle(self, which: int, who: int, grow: int, how: str) -> None:
            model, key = self.model, self.model.keys[which]
            who = self.who(key, who)
            chain, valid = model.chain(who, key.robot), model.settler(key.robot)
            size, root = chain.size + grow, bytes([model.now % 250 + 1]) * 32
            allowed = valid is not None and valid.operator == who and grow > 0
            name = place.chain.name(accounts[who].address, key.robot)
            entry = Entry(name, chain.count, max(size, 1), root, chain.head)
            arguments = [name.robot_id, chain.count, size, root]
            if how == "signed":
                signature = key.signer.sign(entry.message())
                done = self.do(allowed and valid is key, who, "settle", *arguments, signature[:32], signature[32:])
            else:
                done = self.do(allowed and valid is not None and valid.unsigned, who, "settle_unsigned", *arguments)
            if done:
                model.chains[who, key.robot] = Chain(entry.head(), chain.count + 1, size)

        @rule(robot=st.sampled_from(("robot-7", "robot-8")))
        def go_on(self, robot: str) -> None:
            if (key := self.model.settler(robot)) is not None:
                self.settle(self.model.keys.index(key), OPERATOR, 1, "signed")
                self.settle(self.model.keys.index(key), OPERATOR, 1, "unsigned")

        @rule(which=KEYS)
        def leave(self, which: int) -> None:
            self.unbond(which, OPERATOR)
            self.withdraw(which, OPERATOR)
            self.wait(15 * 86_400)
            self.withdraw(which, OPERATOR)

        @rule(who=st.sampled_from((1, 2, 2)), grow=st.sampled_from((0, 1, 2, 3)), stale=st.booleans())
        def settle_fleet(self, who: int, grow: int, stale: bool) -> None:
            model = self.model
            robots = [robot for robot in ("robot-7", "robot-8") if model.settler(robot)] or ["robot-7"]
            chains = [model.chain(who, robot) for robot in robots]
            root = bytes([model.now % 250 + 1]) * 32
            allowed = who == 2 and grow > 0 and not stale and all(model.settler(robot) for robot in robots)
            sizes = [chain.size + grow for chain in chains]
            heads = [b"\7" * 32 if stale else chain.head for chain in chains]
            names = [place.chain.name(accounts[who].address, robot) for robot in robots]
            ids = [name.robot_id for name in names]
            if self.do(allowed, who, "settle_fleet", ids, sizes, [root] * len(ids), heads):
                for robot, name, chain, size in zip(robots, names, chains, sizes, strict=True):
                    head = Entry(name, chain.count, size, root, chain.head).head()
                    model.chains[who, robot] = Chain(head, chain.count + 1, size)

        @rule(hours=st.one_of(HOURS, HOURS, st.just(15 * 86_400)))
        def wait(self, hours: int) -> None:
            later(place, hours)
            self.model.now += hours

        @invariant()
        def money_is_where_it_belongs(self) -> None:
            if hasattr(self, "model"):
                assert balance(rpc, place.registry) == sum(key.bond for key in self.model.keys) + self.model.burnt
                assert registry.ask("burnt") == self.model.burnt

        @invariant()
        def keys_and_chains_are_as_the_model_has_them(self) -> None:
            if not hasattr(self, "model"):
                return
            for key in self.model.keys:
                assert registry.ask("is_valid", key.signer.key_id) == key.valid(self.model.now)
            for (who, robot), chain in self.model.chains.items():
                found = place.chain.head(place.chain.name(accounts[who].address, robot))
                assert (found.head, found.count, found.size) == (chain.head, chain.count, chain.size)

        def check_history(self) -> None:
            """What the contract's one slot proves is what a reader makes of its events."""
            taken = snapshots.take(rpc, {"NodeRegistry": place.registry}, 60, block="latest")
            assert decode(encode(taken)) == taken
            path = folder / "chain.json"
            path.write_bytes(encode(taken))
            certificates = open_snapshot(path, None, 0).keys
            approved = {key.signer.key_id: key for key in self.model.keys if key.approved_until}
            assert set(certificates) == set(approved)
            for key_id, key in approved.items():
                assert (certificates[key_id].revoked_at_ns is not None) == key.revoked
                assert certificates[key_id].robot == key.robot

    return Machine


def test_any_order_of_calls_does_what_the_model_does(bare: Place, tmp_path: Path) -> None:
    run_state_machine_as_test(
        machine(bare, tmp_path),
        settings=settings(
            max_examples=20, stateful_step_count=24, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        ),
    )  # fmt: skip
