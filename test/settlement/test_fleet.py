"""Two robots settle through an aggregator on a chain; their receipts' two steps are audited, and attacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aggregator_process import Running
from anvil import KEYS, wait_for
from fleet_robots import FLEET, FLEET_KEY, ORIGIN, Robot, certify
from settlement_place import Place
from settler_run import Run

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.settled import Settled, SettlementEvidence, check
from og_ros.cli.main import main
from og_ros.log import Ledger, MerkleTree, VerifierKey, format_proof, open_checkpoint, parse_proof, sign_checkpoint
from og_ros.log.checkpoint import Checkpoint
from og_ros.registry import Registry
from og_ros.settlement import deploy, receipt, receipt_kinds
from og_ros.settlement.http_backend import HttpBackend
from og_ros.settlement.http_client import HttpClient
from og_ros.settlement.log_receipt import LogReceipt

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
KEY = VerifierKey.of(ORIGIN, FLEET_KEY)


@dataclass
class Fleet:
    """What is left after two robots settled thrice: robot-0's ledger at 4, 6 and 9 leaves, robot-1's at 3 and 5."""

    place: Place
    folder: Path
    running: Running
    ledgers: list[Ledger]
    receipts: list[list[LogReceipt]]
    registry: Registry
    transactions: int

    def check(self, receipts: list[LogReceipt] | None = None, robot: int = 0, **changed: Any) -> Settled:
        given = self.receipts[robot] if receipts is None else receipts
        ledger = changed.pop("ledger", self.ledgers[robot])
        evidence = SettlementEvidence(f"robot-{robot}", given, self.place.chain)
        return check(replace(evidence, **{"finality": 1, **changed}), ledger, self.registry)


@pytest.fixture(scope="module")
def fleet(deployed: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    rpc, signer = deployed.node.rpc, SoftwareSigner(keys.generate())
    keys.save_private(signer._key, folder / "settlement.pem")
    deploy.propose(rpc, deployed.operator, deployed.registry, FLEET, signer, vendor="maker")
    deploy.approve(rpc, deployed.owner, deployed.registry, signer.key_id, deployed.now() + 3600)
    robots = [Robot(f"example.com/robot-{number}") for number in range(2)]
    registry = certify(folder / "registry", robots, signer)
    place = f"rpc: '{deployed.node.url}', contract: '{deployed.contract}'"
    backend = f"evm: {{type: evm, {place}, key: settlement.pem, finality: 1}}"
    before = rpc.number("eth_getTransactionCount", deployed.operator.address, "latest")
    running = Running(folder, "storage", backend, environment={"OG_ROS_SETTLEMENT_KEY": KEYS[1]})
    ledgers = [Ledger.create(folder / f"ledger-{n}", robot.origin, robot.key) for n, robot in enumerate(robots)]
    runs = [
        Run(ledger, folder / f"robot-{n}", [HttpBackend("fleet", HttpClient(running.url), KEY, poll_s=0.05)])
        for n, ledger in enumerate(ledgers)
    ]
    for robot, count, levels in (
        (0, 4, ["4 final"]), (1, 3, ["3 final"]), (0, 2, ["4 final", "6 final"]),
        (0, 3, ["4 final", "6 final", "9 final"]), (1, 2, ["3 final", "5 final"]),
    ):  # fmt: skip
        ledger = ledgers[robot]
        ledger.append([f"leaf {ledger.size + n}".encode() for n in range(count)])
        ledger.checkpoint()
        _until(runs[robot], levels)
    receipts: list[list[LogReceipt]] = []
    for run in runs:
        found = [receipt_kinds.from_json(row.receipt, "r") for row in run.outbox.rows("fleet")]
        receipts.append([one for one in found if isinstance(one, LogReceipt)])
    after = rpc.number("eth_getTransactionCount", deployed.operator.address, "latest")
    yield Fleet(deployed, folder, running, ledgers, receipts, registry, after - before)
    for run in runs:
        run.outbox.close()
    for ledger in ledgers:
        ledger.close()
    running.kill()


def _until(run: Run, levels: list[str]) -> None:
    def reached() -> bool:
        run.settler.step()
        return run.levels("fleet") == levels

    wait_for(reached, f"{levels}, not {run.levels('fleet')}; said {run.said}", 30)


def kinds(settled: Settled) -> set[str]:
    return {one.kind for one in settled.findings}


def test_both_steps_bear_the_level(fleet: Fleet) -> None:
    for robot, size in ((0, 9), (1, 5)):
        settled = fleet.check(robot=robot)
        assert (settled.findings, settled.level(0), settled.level(size - 1)) == ([], "final", "final"), settled.findings
    assert fleet.check(finality=10**6).level(8) == "included"
    assert fleet.transactions <= 6, "one an interval, and the proposal before"
    assert [one.endpoints().size for one in fleet.receipts[0]] == [1, 3, 4]


def test_verify_verb(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    file = fleet.folder / "receipts.json"
    receipt.write_file(file, "robot-0", fleet.receipts[0])
    given = ["settle", "verify", "--settlement", str(file), "--ledger", str(fleet.ledgers[0].directory)]
    given += ["--registry", str(fleet.registry.directory), "--chain", fleet.place.node.url, "--finality", "1"]
    assert main(given) == 0
    assert "leaf 0: final; leaf 8, the newest: final" in capsys.readouterr().out
    receipt.write_file(file, "robot-0", [fleet.receipts[0][0], fleet.receipts[0][2]])
    assert main(given) == 1
    assert "settlement_missing" in capsys.readouterr().out


def with_settlement(one: LogReceipt, **changed: Any) -> LogReceipt:
    assert one.settlement is not None
    return replace(one, settlement=replace(one.settlement, **changed))


def rewritten(fleet: Fleet, extra: bool) -> LogReceipt:
    """The newest receipt as an aggregator would make it that took another robot's checkpoint out of its log."""
    own = [one.checkpoint.encode() for one in fleet.receipts[0]]
    tree = MerkleTree([own[0], own[1], b"another", own[2]])
    note = sign_checkpoint(Checkpoint(ORIGIN, 4, tree.root()), FLEET_KEY)
    told = parse_proof(fleet.receipts[0][2].proof).extra if extra else None
    return LogReceipt(own[2].decode(), format_proof(3, tree.inclusion_proof(3), note, told))


def resigned(fleet: Fleet, one: LogReceipt) -> LogReceipt:
    """A receipt whose fleet checkpoint is signed by somebody else, in the fleet's name."""
    proof = parse_proof(one.proof)
    note = sign_checkpoint(open_checkpoint(proof.checkpoint, KEY), Robot("example.com/stranger").key, ORIGIN)
    return replace(one, proof=format_proof(proof.index, proof.hashes, note, proof.extra))


def equivocating(fleet: Fleet, one: LogReceipt) -> LogReceipt:
    """Another checkpoint that the robot signed, of the size and with the proof of the one that settled."""
    robot = Robot(fleet.ledgers[0].origin)
    note = sign_checkpoint(Checkpoint(robot.origin, one.robots().size, bytes(32)), robot.key)
    return replace(one, checkpoint=note)


ATTACKS: dict[str, tuple[Callable[[Fleet, list[LogReceipt]], list[LogReceipt]], str]] = {
    "receipt-of-another-robot": (lambda f, r: [r[0], f.receipts[1][0]], "settlement_forged"),
    "proof-of-another-checkpoint": (lambda f, r: [r[0], replace(r[1], proof=r[0].proof), r[2]], "settlement_forged"),
    "proof-to-another-root": (lambda f, r: [*r[:2], replace(r[2], settlement=r[1].settlement)], "settlement_forged"),
    "aggregator-rewrites-its-tree": (lambda f, r: [*r[:2], rewritten(f, extra=True)], "settlement_forged"),
    "robot-equivocates": (lambda f, r: [*r[:2], equivocating(f, r[2])], "settlement_differs"),
    "fleets-checkpoint-by-another-key": (lambda f, r: [*r[:2], resigned(f, r[2])], "settlement_forged"),
    "in-another-fleets-name": (lambda f, r: [*r[:2], replace(r[2], name="fleet-b")], "settlement_forged"),
    "settled-by-another-key": (
        lambda f, r: [*r[:2], with_settlement(r[2], signature=f.place.signer.sign(r[2].settlement.entry.message()))],
        "settlement_forged",
    ),
    "included-elsewhere": (
        lambda f, r: [*r[:2], with_settlement(r[2], inclusion=r[1].settlement.inclusion)], "settlement_forged",
    ),
    "one-left-out": (lambda f, r: [r[0], r[2]], "settlement_missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_on_a_two_step_receipt(fleet: Fleet, name: str) -> None:
    attack, finding = ATTACKS[name]
    settled = fleet.check(attack(fleet, fleet.receipts[0]))
    assert finding in kinds(settled), settled.findings


def test_a_log_that_is_not_shown_to_grow_is_not_called_so(fleet: Fleet) -> None:
    """Without the proof between receipts nothing is found, and that is said."""
    settled = fleet.check([*fleet.receipts[0][:2], rewritten(fleet, extra=False)])
    assert any("only grew" in note for note in settled.notes)
    assert not any("only grew" in note for note in fleet.check().notes)


def test_an_edited_leaf_is_found_though_the_robot_signs_the_log_anew(fleet: Fleet) -> None:
    leaves = [leaf.data for leaf in fleet.ledgers[0].leaves()]
    leaves[2] = b"nothing happened"
    with Ledger.create(fleet.folder / "edited", fleet.ledgers[0].origin, fleet.ledgers[0]._signer.classical) as edited:  # type: ignore[arg-type]
        edited.append(leaves)
        edited.checkpoint()
        settled = fleet.check(ledger=edited)
    assert kinds(settled) == {"settlement_differs"}
    assert [settled.level(index) for index in range(9)] == [""] * 9


def test_a_second_history_that_the_aggregator_took_is_found_by_asking_it(fleet: Fleet) -> None:
    """Sizes do not show that a longer log forked; but then it is in the fleet's log, signed by the robot's key."""
    robot = Robot(fleet.ledgers[1].origin).grow(7, "other")
    httpx = pytest.importorskip("httpx")
    assert httpx.post(f"{fleet.running.url}/v1/checkpoints", content=robot.note()).status_code == 202
    assert fleet.check(robot=1).findings == []
    settled = fleet.check(robot=1, endpoint=HttpClient(fleet.running.url))
    assert kinds(settled) == {"settlement_differs"}
