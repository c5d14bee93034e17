"""A snapshot's file: read strictly, turned into certificates, and what a stage and a gate make of it. No chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attest_examples import signer_of, statement_of
from hypothesis import given
from hypothesis import strategies as st
from made_snapshot import T0, events_of, snapshot_of
from tiny_onnx import weighted_sum

from og_ros.attest import Algorithm, Mode, ModelReference, Runtime, keys
from og_ros.cli.main import main
from og_ros.errors import OgError, RegistryError
from og_ros.registry import Registry, Status
from og_ros.registry.rules import Uses
from og_ros.registry.snapshot import Contract, Event, as_registry, contracts_pin, decode, encode
from og_ros.settlement import snapshots
from og_ros.stages.certified import require_certified
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import load_pipeline
from og_ros.stages.preflight import check_stages

PIPELINE = """\
robot: r
registry: chain.json
stages:
  adder:
    model: {path: adder.onnx, name: adder, version: 1.0.0}
    key: adder.pem
    inputs:
      a: {topic: /a, type: geometry_msgs/msg/TwistStamped, trigger: true}
      b: {topic: /b, type: geometry_msgs/msg/Twist}
    outputs:
      y: {topic: /y, type: geometry_msgs/msg/TwistStamped}
"""
SIGNER = signer_of(Algorithm.ES256)
GOOD = encode(snapshot_of(events_of(SIGNER)))
NS = 10**9
NO_MODEL = ModelReference("unknown", "", bytes(32))
Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    tree = json.loads(GOOD)
    change(tree)
    return json.dumps(tree).encode()


def test_a_made_up_state_proves_its_events_and_only_them() -> None:
    made = snapshot_of(events_of(SIGNER))
    assert snapshots.check(made, final_blocks={made.block_hash}, pinned_contracts=contracts_pin(made)) == []
    shorter = replace(made.contracts[0], events=made.contracts[0].events[:-1])
    cut = replace(made, contracts=(shorter,))
    assert [kind for kind, _ in snapshots.check(cut)] == ["registry_proof_invalid"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t: t.update(format=2), "of format 2"),
        (lambda t: t.update(more=1), "unknown field"),
        (lambda t: t.update(chain_id=0), "out of range"),
        (lambda t: t.update(max_age_s=0), "out of range"),
        (lambda t: t.update(max_age_s=True), "no int"),
        (lambda t: t.update(max_age_s=10**12), "out of range"),
        (lambda t: t["block"].update(hash="00"), "not hex of 32"),
        (lambda t: t["block"].update(timestamp=2**40), "out of range"),
        (lambda t: t.update(contracts=[]), "no contract"),
        (lambda t: t.update(contracts=t["contracts"] * 2), "two of one kind"),
        (lambda t: t["contracts"][0].update(contract="Other"), "no registry that"),
        (lambda t: t["contracts"][0].update(address="0xAA"), "no address"),
        (lambda t: t["contracts"][0]["events"].append(7), "none of NodeRegistry"),
        (lambda t: t["contracts"][0]["events"].append({"event": "Certified"}), "none of NodeRegistry"),
        (lambda t: t["contracts"][0]["events"][2].pop("stage"), "lacks the field"),
        (lambda t: t["contracts"][0]["events"][2].update(at=-1), "out of range"),
        (lambda t: t["contracts"][0]["events"][2].update(at=2**256), "out of range"),
        (lambda t: t["contracts"][0]["events"][2].update(stage="\ud800"), "no text"),
        (lambda t: t["contracts"][0].update(account_proof=["xyz"]), "not hex"),
        (lambda t: t["contracts"][0].update(storage_proof=["00"] * 129), "no list of nodes"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_malformed_snapshot_is_refused(change: Change, why: str) -> None:
    with pytest.raises(RegistryError, match=why):
        decode(changed(change))


def test_a_key_whose_events_do_not_fit_together_is_left_out() -> None:
    events = events_of(SIGNER)
    for name, value in (("x", bytes(32)), ("x", events[2].arguments["y"]), ("key_id", bytes(32)), ("stage", "")):
        proposal = Event("Proposed", {**events[2].arguments, name: value})
        made = snapshot_of((*events[:2], proposal, events[3]))
        registry = as_registry(encode(made), Path("snapshot"))
        assert not registry.keys
        assert [kind for kind, _ in registry.remarks] == ["registry_entry_ignored"]


def test_only_the_first_approval_and_the_first_revocation_count() -> None:
    events = events_of(SIGNER)
    approval = events[3].arguments
    revoked = [
        Event("Revoked", {"key_id": SIGNER.key_id, "robot": approval["robot"], "by": approval["approver"], "at": at})
        for at in (T0 + 50, T0 + 90)
    ]
    again = Event("Approved", {**approval, "expires_at": T0 + 10**7})
    registry = as_registry(encode(snapshot_of((*events, revoked[0], again, revoked[1]))), Path("snapshot"))
    key = registry.keys[SIGNER.key_id]
    assert (key.role, key.robot, key.stage, key.vendor) == ("stage", "robot-7", "control", "maker")
    assert key.not_after_ns == (T0 + 86_400) * NS
    assert [key.status((T0 + at) * NS) for at in (-1, 49, 50)] == [
        Status.NOT_YET_VALID, Status.VALID, Status.REVOKED
    ]  # fmt: skip


def test_a_far_expiry_counts_as_the_last_moment_that_can_be_written() -> None:
    registry = as_registry(encode(snapshot_of(events_of(SIGNER, expires_at=2**256 - 1))), Path("snapshot"))
    assert registry.keys[SIGNER.key_id].status(T0 * NS) is Status.VALID


def test_a_stage_starts_with_a_fresh_snapshot_and_not_with_a_stale_one(tmp_path: Path) -> None:
    """An offline robot goes on for as long as its owner said, and not a nanosecond longer."""
    path = tmp_path / "chain.json"
    path.write_bytes(GOOD)
    registry = Registry.open(path)
    assert registry.fresh_until_ns == (T0 + 60 + 3600) * NS
    runtime = Runtime("onnxruntime", "1.31.1")
    given = {"key_id": SIGNER.key_id, "robot": "robot-7", "stage": "control", "model": None, "runtime": runtime}
    require_certified(registry, **given, now_ns=registry.fresh_until_ns)  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match="take a new one"):
        require_certified(registry, **given, now_ns=registry.fresh_until_ns + 1)  # type: ignore[arg-type]
    model = ModelReference("line", "1", bytes(32))
    with pytest.raises(RegistryError, match="never certified"):
        require_certified(registry, **{**given, "model": model}, now_ns=T0 * NS)  # type: ignore[arg-type]


def test_a_pipeline_may_name_a_snapshot_as_its_registry(tmp_path: Path) -> None:
    (tmp_path / "adder.onnx").write_bytes(weighted_sum(2))
    keys.save_private(SIGNER._key, tmp_path / "adder.pem")
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    digest = Inference.configure(load_pipeline(pipeline).stages["adder"]).model.digest
    made = snapshot_of(events_of(SIGNER, "r", "adder"))
    certified = {
        "model": bytes(32), "digest": digest, "certifier": "0x" + "33" * 20, "at": T0, "expires_at": 0,
        "processing": bytes(32), "parameters": bytes(32), "name": "adder", "version": "1.0.0", "stages": "adder",
    }  # fmt: skip
    models = Contract("ModelRegistry", "0x" + "44" * 20, (Event("Certified", certified),))
    (tmp_path / "chain.json").write_bytes(encode(replace(made, contracts=(*made.contracts, models))))
    check_stages(load_pipeline(pipeline), (T0 + 100) * NS)
    with pytest.raises(OgError, match=r"stage adder: .* take a new one"):
        check_stages(load_pipeline(pipeline), (T0 + 10_000) * NS)
    pinned = Registry.open(tmp_path / "chain.json").fingerprint
    pipeline.write_text(PIPELINE.replace("chain.json\n", f"chain.json\nregistry_root: {pinned}\n"))
    check_stages(load_pipeline(pipeline), (T0 + 100) * NS)
    (tmp_path / "chain.json").write_bytes(encode(made))
    with pytest.raises(OgError, match="not the snapshot that was pinned"):
        check_stages(load_pipeline(pipeline), (T0 + 100) * NS)


def test_what_was_answered_once_is_not_answered_so_beyond_the_bound(tmp_path: Path) -> None:
    """Audits and gates remember that nothing speaks against a use: only for as long as the snapshot may be used."""
    registry = as_registry(GOOD, tmp_path)
    fresh = registry.fresh_until_ns
    assert fresh is not None
    uses = Uses(registry)
    base = statement_of(stage="control", mode_requested=Mode.OBSERVED, mode_used=Mode.OBSERVED, model=NO_MODEL)
    for at_ns, stale in ((fresh - 1, False), (fresh, False), (fresh + 1, True), (fresh, False)):
        kinds = {problem.kind for problem in uses.problems(replace(base, signed_at_ns=at_ns))[0]}
        assert ("registry_stale" in kinds) is stale


def test_the_registry_commands_show_a_snapshot_and_do_not_vouch_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain.json"
    path.write_bytes(GOOD)
    assert main(["registry", "list", str(path)]) == 0
    assert "control" in capsys.readouterr().out
    assert main(["registry", "show", str(path), SIGNER.key_id.hex()]) == 0
    assert main(["registry", "verify", str(path)]) == 2
    assert "og-ros chain verify" in capsys.readouterr().err


@given(st.integers(0, len(GOOD) - 1), st.binary(max_size=6), st.integers(0, 40))
def test_a_mutated_snapshot_is_read_or_refused_with_a_reason(at: int, put: bytes, cut: int) -> None:
    data = GOOD[:at] + put + GOOD[at + cut :]
    try:
        found = decode(data)
        as_registry(data, Path("snapshot"))
        known = snapshots.check(found, final_blocks={found.block_hash}, pinned_contracts=contracts_pin(found))
    except OgError:
        return
    assert known or found.contracts[0].events == decode(GOOD).contracts[0].events
