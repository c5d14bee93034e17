"""Registries on a chain, read by robot and auditor from a snapshot: history, staleness, proofs; an attack a case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from evm_contracts import Contract, later, registry_of
from scenario import MODELS, STAGES, Run, certify_all, honest_run
from settlement_place import Place

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.policy import Policy
from og_ros.audit.run import audit_bag
from og_ros.audit.trust import open_registry
from og_ros.cli.main import main
from og_ros.errors import BackendUnreachable, RegistryError
from og_ros.registry import Registry, RegistryWriter
from og_ros.registry.rules import key_problems
from og_ros.registry.snapshot import Event, Snapshot, contracts_pin, decode, encode
from og_ros.settlement import contracts, deploy, snapshots

ROBOT = "demo"
DAY = 86_400


@dataclass
class Owned:
    """A robot whose keys and models are certified on a chain, and a recording of it that began a minute later."""

    place: Place
    models: Contract
    run: Run
    bag: Path
    folder: Path

    def take(self, max_age_s: int = DAY, **options: Any) -> Path:
        addresses = {"NodeRegistry": self.place.registry, "ModelRegistry": self.models.address}
        taken = snapshots.take(self.place.node.rpc, addresses, max_age_s, **{"block": "latest", **options})
        return self.write(taken)

    def write(self, snapshot: Snapshot) -> Path:
        path = self.folder / "chain.json"
        path.write_bytes(encode(snapshot))
        return path

    def audit(self, path: Path, vouched: bool = True, beside: Path | None = None) -> dict[str, int]:
        snapshot = decode((beside or path).read_bytes())
        final, pin = ({snapshot.block_hash}, contracts_pin(snapshot)) if vouched else (set(), None)
        registry = open_registry(path, Policy(), snapshot=beside, final_blocks=final, contracts=pin)
        report = audit_bag(self.bag, registry, None, Policy())
        counts = report.auditor.findings.counts
        return {kind: count for kind, count in counts.items() if count and kind != "decision_unlinked"}


@pytest.fixture(scope="module")
def robot(deployed: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    """What all tests begin with; it is undone behind the last."""
    rpc = deployed.node.rpc
    before = rpc.call("evm_snapshot")
    models = Contract(rpc, contracts.MODEL_REGISTRY, deploy.deploy_models(rpc, deployed.owner))
    signers = {stage: SoftwareSigner(keys.generate()) for stage in STAGES}
    for stage, signer in signers.items():
        deploy.propose(rpc, deployed.operator, deployed.registry, ROBOT, signer, stage=stage, vendor="maker")
        deploy.approve(rpc, deployed.owner, deployed.registry, signer.key_id, deployed.now() + DAY)
        certificate = (f"{stage}_model", "1.0.0", MODELS[stage], bytes(32), bytes(32), stage, 0)
        models.send(deployed.owner, "certify", *certificate)
    run = honest_run(10, ROBOT, age_s=time.time() - deployed.now() - 60, signers=signers)
    folder = tmp_path_factory.mktemp("robot")
    yield Owned(deployed, models, run, run.write_bag(folder / "bag"), folder)
    assert rpc.call("evm_revert", before) is True


@pytest.fixture
def owned(robot: Owned, tmp_path: Path) -> Iterator[Owned]:
    before = robot.place.node.rpc.call("evm_snapshot")
    yield replace(robot, folder=tmp_path)
    assert robot.place.node.rpc.call("evm_revert", before) is True


def test_a_recording_is_audited_with_nothing_but_the_chains_registries(owned: Owned) -> None:
    assert owned.audit(owned.take()) == {}
    assert owned.audit(owned.take(), vouched=False) == {"registry_unproven": 2}, "neither block nor contracts"
    assert owned.audit(owned.take(proofs=False)) == {"registry_unproven": 2}


def test_what_is_revoked_later_was_valid_before(owned: Owned) -> None:
    place, control = owned.place, owned.run.signers["control"]
    later(place, 3600)
    deploy.revoke(place.node.rpc, place.operator, place.registry, control.key_id)
    owned.models.send(place.owner, "revoke", MODELS["planning"], 0, "unsafe")
    path = owned.take()
    assert owned.audit(path) == {}
    registry = Registry.open(path)
    certificate = registry.key(control.key_id)
    assert certificate is not None
    assert certificate.revoked_at_ns is not None
    problems = key_problems(
        registry, control.key_id, robot=ROBOT, stage="control", at_ns=certificate.revoked_at_ns + 1
    )
    assert [problem.kind for problem in problems] == ["key_revoked"]


def test_what_was_revoked_before_is_a_violation_also_when_the_model_is_revoked_for_the_past(owned: Owned) -> None:
    place = owned.place
    deploy.revoke(place.node.rpc, place.owner, place.registry, owned.run.signers["control"].key_id)
    later(place, 3600)
    owned.models.send(place.owner, "revoke", MODELS["planning"], place.now() - 3600, "unsafe all along")
    assert owned.audit(owned.take()) == {"key_revoked": 10, "model_revoked": 10}


def test_a_snapshot_may_be_used_for_as_long_as_it_says(owned: Owned) -> None:
    path = owned.take(max_age_s=30)  # the recording began a minute later
    assert owned.audit(path) == {"registry_stale": 30}
    registry = Registry.open(path)
    fresh = registry.fresh_until_ns
    assert fresh == decode(path.read_bytes()).timestamp * 10**9 + 30 * 10**9
    signer = owned.run.signers["control"]
    for at_ns, kinds in ((fresh, []), (fresh + 1, ["registry_stale"])):
        problems = key_problems(registry, signer.key_id, robot=ROBOT, stage="control", at_ns=at_ns)
        assert [problem.kind for problem in problems] == kinds


def _without(snapshot: Snapshot, name: str) -> Snapshot:
    kept = [replace(c, events=tuple(e for e in c.events if e.name != name)) for c in snapshot.contracts]
    return replace(snapshot, contracts=tuple(kept))


def _with(snapshot: Snapshot, name: str, **changed: Any) -> Snapshot:
    found = [
        replace(c, events=tuple(Event(e.name, {**e.arguments, **changed}) if e.name == name else e for e in c.events))
        for c in snapshot.contracts
    ]
    return replace(snapshot, contracts=tuple(found))


def _other_order(snapshot: Snapshot) -> Snapshot:
    first = snapshot.contracts[0]
    events = (*first.events[:2], *reversed(first.events[2:]))
    return replace(snapshot, contracts=(replace(first, events=events), *snapshot.contracts[1:]))


def _forged_header(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, header=snapshot.header[:100] + b"\0" + snapshot.header[101:])


def _other_proof(snapshot: Snapshot) -> Snapshot:
    one, other = snapshot.contracts
    return replace(snapshot, contracts=(replace(one, storage_proof=other.storage_proof), other))


def _other_address(snapshot: Snapshot) -> Snapshot:
    one, other = snapshot.contracts
    proven = replace(one, address=other.address, account_proof=other.account_proof, storage_proof=other.storage_proof)
    return replace(snapshot, contracts=(proven, other))


ATTACKS: dict[str, Callable[[Snapshot], Snapshot]] = {
    "a_revocation_is_left_out": lambda s: _without(s, "Revoked"),
    "an_expiry_is_put_off": lambda s: _with(s, "Approved", expires_at=2**39),
    "a_digest_is_exchanged": lambda s: _with(s, "Certified", digest=bytes(32)),
    "events_change_places": _other_order,
    "the_header_is_another": _forged_header,
    "the_block_is_younger_than_it_is": lambda s: replace(s, timestamp=s.timestamp + 9),
    "the_block_has_another_number": lambda s: replace(s, number=s.number + 1),
    "the_proof_is_of_another_contract": _other_proof,
    "the_contract_is_of_other_code": _other_address,
    "the_proof_is_cut": lambda s: replace(
        s, contracts=tuple(replace(c, account_proof=c.account_proof[:-1] or (b"\xc0",)) for c in s.contracts)
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_snapshot_that_was_changed_is_found(owned: Owned, attack: str) -> None:
    place = owned.place
    deploy.revoke(place.node.rpc, place.owner, place.registry, owned.run.signers["control"].key_id)
    taken = decode(owned.take().read_bytes())
    pin = contracts_pin(taken)
    assert snapshots.check(taken, place.node.rpc, pinned_contracts=pin) == []
    changed = decode(encode(ATTACKS[attack](taken)))
    assert changed != taken
    found = snapshots.check(changed, place.node.rpc, pinned_contracts=contracts_pin(changed))
    assert [kind for kind, _ in found] == ["registry_proof_invalid"]
    assert owned.audit(owned.write(changed)).get("registry_proof_invalid") == 1


def test_a_block_that_is_not_the_chains_is_found(owned: Owned) -> None:
    place = owned.place
    before = place.node.rpc.call("evm_snapshot")
    later(place, 7)
    taken = decode(owned.take().read_bytes())
    place.node.rpc.call("evm_revert", before)
    place.node.mine()
    found = snapshots.check(taken, place.node.rpc, pinned_contracts=contracts_pin(taken))
    assert [kind for kind, _ in found] == ["registry_proof_invalid"]
    assert "another block" in found[0][1]


def test_contracts_that_somebody_else_deployed_are_not_the_pinned_ones(owned: Owned, tmp_path: Path) -> None:
    """The attacker's registry has the same code on the same chain, and certifies his keys: all proofs hold."""
    rpc, place = owned.place.node.rpc, owned.place
    pin = contracts_pin(decode(owned.take().read_bytes()))
    theirs, _ = deploy.deploy(rpc, place.stranger)
    key = SoftwareSigner(keys.generate())
    deploy.propose(rpc, place.stranger, theirs, ROBOT, key, stage="control")
    deploy.approve(rpc, place.stranger, theirs, key.key_id, place.now() + DAY)
    addresses = {"NodeRegistry": theirs, "ModelRegistry": owned.models.address}
    path = owned.write(snapshots.take(rpc, addresses, DAY, block="latest"))
    for policy, contracts_named, kinds in (
        (Policy(), pin, ["registry_proof_invalid"]),
        (Policy(), None, ["registry_unproven"]),
        (Policy(registry_root=pin), None, ["registry_unproven"]),
    ):
        registry = open_registry(path, policy, chain=place.node.url, contracts=contracts_named)
        assert [kind for kind, _ in registry.remarks] == kinds
        assert not registry.pinned
    report = audit_bag(owned.bag, open_registry(path, Policy(registry_root=pin)), None, Policy(registry_root=pin))
    assert report.auditor.findings.counts["root_not_trusted"] == 1


@pytest.mark.parametrize("what", ["file", "contracts"])
def test_a_policy_pins_a_snapshots_file_or_its_contracts(owned: Owned, what: str) -> None:
    path = owned.take()
    pin = contracts_pin(decode(path.read_bytes())) if what == "contracts" else Registry.open(path).fingerprint
    registry = open_registry(path, Policy(registry_root=pin), chain=owned.place.node.url)
    assert registry.pinned
    assert registry.remarks == ()


def test_a_node_that_leaves_an_event_out_is_caught(owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = owned.place.node.rpc.call

    def lying(method: str, *parameters: Any) -> Any:
        found = honest(method, *parameters)
        return found[:-1] if method == "eth_getLogs" else found

    monkeypatch.setattr(owned.place.node.rpc, "call", lying)
    with pytest.raises(BackendUnreachable, match="do not fit together"):
        owned.take()


@pytest.fixture
def beside(owned: Owned) -> Owned:
    """A registry directory that certifies the same, in the folder."""
    owned.run.write_registry(owned.folder / "registry")
    return owned


def test_a_snapshot_counts_beside_a_registry(beside: Owned) -> None:
    assert beside.audit(beside.folder / "registry", beside=beside.take()) == {}
    place = beside.place
    before = place.node.rpc.call("evm_snapshot")
    deploy.revoke(place.node.rpc, place.owner, place.registry, beside.run.signers["control"].key_id)
    found = beside.audit(beside.folder / "registry", beside=beside.take())
    assert found == {"key_revoked": 10, "registry_behind": 1}
    assert place.node.rpc.call("evm_revert", before)
    later(place, 3600)
    deploy.revoke(place.node.rpc, place.owner, place.registry, beside.run.signers["control"].key_id)
    found = beside.audit(beside.folder / "registry", beside=beside.take())
    assert found == {"registry_behind": 1}, "what was before the revocation stays valid"


def test_what_only_one_of_two_registries_knows_counts(owned: Owned) -> None:
    def without_control(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, replace(run, signers={**run.signers, "control": SoftwareSigner(keys.generate())}))

    owned.run.write_registry(owned.folder / "registry", without_control)
    assert owned.audit(owned.folder / "registry", beside=owned.take()) == {}


def test_two_registries_that_certify_a_thing_differently_disagree(owned: Owned) -> None:
    def otherwise(writer: RegistryWriter, run: Run) -> None:
        signers = {**run.signers, "control": run.signers["planning"], "planning": run.signers["control"]}
        certify_all(writer, replace(run, signers=signers))

    owned.run.write_registry(owned.folder / "registry", otherwise)
    found = owned.audit(owned.folder / "registry", beside=owned.take())
    assert found == {"registry_disagrees": 2, "key_wrong_stage": 20}


def test_worker_processes_believe_the_same_registries(beside: Owned) -> None:
    place = beside.place
    deploy.revoke(place.node.rpc, place.owner, place.registry, beside.run.signers["control"].key_id)
    path = beside.take()
    registry = Registry.open(beside.folder / "registry", snapshot=path)
    report = audit_bag(beside.bag, registry, None, Policy(), jobs=2)
    assert report.auditor.findings.counts["key_revoked"] == 10


def test_a_snapshot_can_be_pinned_and_an_old_one_refused(owned: Owned) -> None:
    path = owned.take()
    registry = Registry.open(path)
    assert Registry.open(path, pinned_root=registry.fingerprint, minimum_number=registry.number).pinned
    with pytest.raises(RegistryError, match="was seen before"):
        Registry.open(path, minimum_number=registry.number + 1)
    with pytest.raises(RegistryError, match="not the snapshot that was pinned"):
        Registry.open(path, pinned_root="sha256:" + "00" * 32)


def test_a_name_that_no_registry_may_have_is_left_out_and_said(owned: Owned) -> None:
    place, signer = owned.place, SoftwareSigner(keys.generate())
    deploy.propose(place.node.rpc, place.operator, place.registry, "d\u0435mo", signer, stage="control")
    deploy.approve(place.node.rpc, place.owner, place.registry, signer.key_id, place.now() + DAY)
    path = owned.take()
    assert Registry.open(path).key(signer.key_id) is None
    assert owned.audit(path) == {"registry_entry_ignored": 1}


def test_a_pending_key_and_a_heartbeat_certify_nothing(owned: Owned) -> None:
    place, signer = owned.place, SoftwareSigner(keys.generate())
    deploy.propose(place.node.rpc, place.operator, place.registry, ROBOT, signer, stage="control")
    before = registry_of(place).ask("history")
    registry_of(place).send(place.operator, "bond", signer.key_id, value=5)
    assert registry_of(place).ask("history") == before
    assert Registry.open(owned.take()).key(signer.key_id) is None


def test_the_audit_command_takes_a_snapshot(owned: Owned, capsys: pytest.CaptureFixture[str]) -> None:
    path, bag = str(owned.take()), str(owned.bag)
    taken = decode(Path(path).read_bytes())
    pin = ["--contracts", contracts_pin(taken)]
    assert main(["audit", bag, "--registry", path, "--final-block", f"0x{taken.block_hash.hex()}", *pin]) == 0
    assert main(["audit", bag, "--registry", path, "--chain", owned.place.node.url, *pin]) == 0
    assert "registry_unproven" not in capsys.readouterr().out
    other = ["--contracts", "sha256:" + "11" * 32]
    assert main(["audit", bag, "--registry", path, "--chain", owned.place.node.url, *other, "--quiet"]) == 1
    owned.run.write_registry(owned.folder / "registry")
    capsys.readouterr()
    for arguments, why in (
        (["--snapshot", path], "counts beside --registry"),
        (["--registry", path, "--snapshot", f"{path}.2"], "is a snapshot itself"),
        (["--registry", str(owned.folder / "registry"), "--snapshot", str(owned.folder)], "cannot read"),
        (["--registry", path, "--html", str(owned.folder / "x.html")], "snapshot of a chain"),
        (["--chain", "http://127.0.0.1:1"], "for receipts"),
    ):
        assert main(["audit", bag, *arguments, "--quiet"]) == 2, arguments
        assert why in capsys.readouterr().err
    assert main(["registry", "list", path]) == 0
    assert "control_model" in capsys.readouterr().out
