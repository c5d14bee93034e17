"""The gatekeeper: what passes, what does not and why, when it latches, and when it opens again."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from gated import Gated, settings
from scenario import MODELS, MS, Run, certify_all, honest_run

from og_ros.attest import DataReference, decode_attestation, digest, encode_attestation
from og_ros.audit.policy import Policy, parse_policy
from og_ros.audit.records import Record
from og_ros.errors import ConfigError, PolicyError
from og_ros.gate.settings import at_run_time
from og_ros.gate.verdict import Reason, State
from og_ros.registry import Registry, RegistryWriter

TICKS = 20


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(TICKS)


@pytest.fixture(scope="module")
def registry(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    directory = tmp_path_factory.mktemp("gate") / "registry"
    run.write_registry(directory)
    return Registry.open(directory)


def commands(run: Run) -> list[Record]:
    return [r for r in run.records if r.topic == "/wheel_command"]


def changed(run: Run) -> Run:
    """A copy whose records can be changed."""
    return dataclasses.replace(run, records=list(run.records))


def test_every_command_of_an_honest_run_passes(run: Run, registry: Registry) -> None:
    gated = Gated.by(registry).stream(run.records)
    assert gated.passed == [r.payload for r in commands(run)]
    assert all(v.accepted and not v.reasons and v.state is State.OPEN for v in gated.verdicts)
    assert {v.stages for v in gated.verdicts} == {("perception", "planning", "control")}
    # The attestation comes 2 ms after the command in these runs; nothing else is waited for.
    assert {v.latency_ns for v in gated.verdicts} == {2 * MS}
    # The first tick is at simulated time 0, which is no stamp.
    assert all(v.chain_ns is not None and v.chain_ns > 0 for v in gated.verdicts[1:])


def test_a_snapshot_of_a_chains_registries_opens_the_gate_until_it_is_stale(run: Run, registry: Registry) -> None:
    """As long as its owner said, an offline robot drives; then it stops, for a revocation may be unseen."""
    until = run.of_stage("control")[TICKS // 2][1].statement.signed_at_ns
    gated = Gated.by(dataclasses.replace(registry, fresh_until_ns=until)).stream(run.records)
    assert gated.passed == [r.payload for r in commands(run)[: TICKS // 2 + 1]]
    refused = next(v for v in gated.verdicts if not v.accepted)
    assert {reason.kind for reason in refused.reasons} == {"registry_stale"}


def test_nothing_passes_before_a_chain_verified_and_that_does_not_latch(run: Run, registry: Registry) -> None:
    """A gate that starts in the middle of a run: the first commands rest on what it did not see."""
    late = [r for r in run.records if r.received_ns > commands(run)[4].received_ns - MS]
    gated = Gated.by(registry).stream(late)
    assert not gated.verdicts[0].forward
    assert gated.verdicts[0].state is State.CLOSED
    assert gated.passed == [r.payload for r in commands(run)[5:]]


def inject(record: Record, later_ms: float, **changes: object) -> Callable[[Run], None]:
    def act(run: Run) -> None:
        copy = dataclasses.replace(record, received_ns=record.received_ns + int(later_ms * MS), **changes)  # type: ignore[arg-type]
        run.records.append(copy)
        run.records.sort(key=lambda r: r.received_ns)

    return act


def middle(run: Run, stage: str = "control") -> int:
    return run.of_stage(stage)[TICKS // 2][0]


def forged_signature(run: Run) -> None:
    run.forge(middle(run), duration_ns=3 * MS)


def forged_upstream(run: Run) -> None:
    run.forge(middle(run, "planning"), duration_ns=3 * MS)


def altered(run: Run) -> None:
    place = run.records.index(commands(run)[TICKS // 2])
    payload = bytearray(run.records[place].payload)
    payload[5] ^= 1
    run.records[place] = dataclasses.replace(run.records[place], payload=bytes(payload))


def injected(run: Run) -> None:
    inject(commands(run)[5], 180, payload=b"\0\1\0\0" + b"\7" * 24)(run)


def withheld(run: Run) -> None:
    del run.records[middle(run)]


def replayed_command(run: Run) -> None:
    inject(commands(run)[5], 180)(run)


def replayed_pair(run: Run) -> None:
    inject(commands(run)[5], 180)(run)
    attestation = run.records[run.of_stage("control")[5][0]]
    inject(attestation, 180)(run)


def unseen_sensor(run: Run) -> None:
    del run.records[[i for i, r in enumerate(run.records) if r.topic == "/camera/image"][TICKS // 2]]


def altered_sensor(run: Run) -> None:
    place = [i for i, r in enumerate(run.records) if r.topic == "/scan"][TICKS // 2]
    run.records[place] = dataclasses.replace(run.records[place], payload=run.records[place].payload + b"\0\0\0\1")


def withheld_plan(run: Run) -> None:
    del run.records[middle(run, "planning")]


def bypassed_planner(run: Run) -> None:
    """The controller signs honestly that it read a plan that no stage attested."""
    place = middle(run)
    statement = decode_attestation(run.records[place].payload).statement
    plan = b"\0\1\0\0" + b"\5" * 32
    inputs = tuple(
        dataclasses.replace(r, digest=digest(plan)) if r.topic == "/planning/reference" else r for r in statement.inputs
    )
    at = run.records[place].received_ns - 5 * MS
    run.resign(place, inputs=inputs)
    run.records.append(Record("/planning/reference", "geometry_msgs/msg/TwistStamped", plan, at))
    run.records.sort(key=lambda r: r.received_ns)


def other_model(run: Run) -> None:
    place = middle(run, "planning")
    model = decode_attestation(run.records[place].payload).statement.model
    run.resign(place, model=dataclasses.replace(model, digest=bytes(31) + b"\7"))


def forked(run: Run) -> None:
    place = middle(run)
    run.resign(place, sequence=decode_attestation(run.records[place].payload).statement.sequence - 1)


def reordered(run: Run) -> None:
    """Two attestations change places."""
    (one, _), (two, _) = run.of_stage("control")[8:10]
    first, second = run.records[one], run.records[two]
    run.records[one] = dataclasses.replace(second, received_ns=first.received_ns)
    run.records[two] = dataclasses.replace(first, received_ns=second.received_ns)


def overclaimed(run: Run) -> None:
    from og_ros.attest.statement import Mode

    run.resign(middle(run), mode_used=Mode.TEE, mode_requested=Mode.TEE)


def future_input(run: Run) -> None:
    place = middle(run, "planning")
    run.resign(place, start_ns=decode_attestation(run.records[place].payload).statement.start_ns - 300 * MS)


def signed_long_ago(run: Run) -> None:
    place = middle(run)
    run.resign(place, signed_at_ns=decode_attestation(run.records[place].payload).statement.signed_at_ns - 5 * 10**9)


def held_back(run: Run) -> None:
    """Commands and attestations arrive half a second late from one moment on, as one who holds them back can do."""
    since = commands(run)[10].received_ns - 30 * MS
    late = [
        dataclasses.replace(r, received_ns=r.received_ns + 500 * MS)
        if r.received_ns >= since and (r.topic.startswith("/wheel_command"))
        else r
        for r in run.records
    ]
    run.records[:] = sorted(late, key=lambda r: r.received_ns)


def ghost(run: Run) -> None:
    """The planner's key signs the wheel commands."""
    place = middle(run)
    old = decode_attestation(run.records[place].payload).statement
    from og_ros.attest import cose

    plan = decode_attestation(run.records[middle(run, "planning")].payload).statement
    statement = dataclasses.replace(plan, sequence=plan.sequence, outputs=(*plan.outputs, old.outputs[0]))
    run.records[middle(run, "planning")] = dataclasses.replace(
        run.records[middle(run, "planning")],
        payload=encode_attestation(cose.sign(statement, run.signers["planning"])),
    )
    del run.records[middle(run)]


ATTACKS = {
    "signature_invalid": forged_signature,
    "decision_unlinked": forged_upstream,
    "attestation_missing": injected,
    "withheld": withheld,
    "output_altered": altered,
    "output_replayed": replayed_command,
    "attestation_replayed": replayed_pair,
    "unseen sensor": unseen_sensor,
    "altered sensor": altered_sensor,
    "withheld plan": withheld_plan,
    "bypassed planner": bypassed_planner,
    "model_not_certified": other_model,
    "session_forked": forked,
    "attestation_reordered": reordered,
    "overclaimed": overclaimed,
    "cause_after_effect": future_input,
    "clock_disagrees": signed_long_ago,
    "command_wrong_stage": ghost,
}
ALSO = {
    "attestation_missing": {"attestation_missing", "command_superseded"},
    "attestation_reordered": {"attestation_reordered", "attestation_missing", "command_superseded"},
    "withheld": {"attestation_missing", "command_superseded", "output_altered"},
    "unseen sensor": {"decision_unlinked"},
    "altered sensor": {"decision_unlinked"},
    "withheld plan": {"decision_unlinked", "command_superseded"},
    "bypassed planner": {"decision_unlinked"},
    "session_forked": {"session_forked", "attestation_replayed", "attestation_reordered", "chain_broken"},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_latches_the_gate_and_nothing_unproven_passes(name: str, run: Run, registry: Registry) -> None:
    attacked = changed(run)
    ATTACKS[name](attacked)
    gated = Gated.by(registry).stream(attacked.records)
    expected = ALSO.get(name, {name})
    refusal = next(v for v in gated.verdicts if not v.accepted)
    assert expected & set(refusal.kinds), refusal.reasons
    assert refusal.state is State.LATCHED
    assert not refusal.forward
    after = gated.verdicts[gated.verdicts.index(refusal) :]
    assert not any(v.forward for v in after)
    assert all("gate_latched" in v.kinds for v in after if v.accepted)
    honest = [r.payload for r in commands(run)]
    assert gated.passed == honest[: len(gated.passed)], "what passed is what the controller said, in its order"
    assert 5 <= len(gated.passed) < TICKS


@pytest.mark.parametrize("name", ATTACKS)
def test_monitor_passes_everything_and_says_the_same(name: str, run: Run, registry: Registry) -> None:
    attacked = changed(run)
    ATTACKS[name](attacked)
    gated = Gated.by(registry, mode="monitor").stream(attacked.records).wait(0.1)
    refused = [v for v in gated.verdicts if not v.accepted and v.command is not None]
    assert refused
    assert ALSO.get(name, {name}) & set(refused[0].kinds)
    assert all(v.forward and v.mode == "monitor" for v in gated.verdicts if v.command is not None)
    assert sorted(gated.passed) == sorted(r.payload for r in commands(attacked))


def test_command_that_was_held_back_is_stale(run: Run, registry: Registry) -> None:
    """command_stale: nothing but the session's monotonic clock shows it where the wall clocks may be a second apart."""
    attacked = changed(run)
    held_back(attacked)
    gated = Gated.by(registry, stall_ns=0).stream(attacked.records)
    refusal = next(v for v in gated.verdicts if not v.accepted)
    assert refusal.kinds == ("command_stale",)
    assert len(gated.passed) == 10


def test_stalled_chain_latches(run: Run, registry: Registry) -> None:
    gated = Gated.by(registry).stream(run.records).wait(0.49)
    assert gated.keeper.state is State.OPEN
    gated.wait(0.1)
    assert gated.verdicts[-1].kinds == ("chain_stalled",)
    assert gated.verdicts[-1].command is None
    assert gated.keeper.state is State.LATCHED


def test_reset_waits_until_commands_verify_again(registry: Registry, run: Run) -> None:
    attacked = changed(run)
    injected(attacked)
    stop = next(i for i, r in enumerate(attacked.records) if r.payload.endswith(b"\7" * 24))
    gated = Gated.by(registry).stream(attacked.records[: stop + 1]).wait(0.06)
    assert gated.verdicts[-1].kinds == ("attestation_missing",)
    assert gated.keeper.state is State.LATCHED
    refused = gated.keeper.reset(gated.now_ns)
    assert not refused.granted
    assert "0.3 s" in refused.message
    gated.wait(0.4)
    assert "no command verifies" in gated.keeper.reset(gated.now_ns).message
    gated = Gated.by(registry).stream(attacked.records)
    assert gated.keeper.state is State.LATCHED
    assert gated.keeper.reset(gated.now_ns).granted
    assert gated.keeper.state is State.OPEN
    assert gated.keeper.last_verified is None, "what was verified before the stop is not to be repeated after it"


def test_condition_latches_and_keeps_it_latched(run: Run, registry: Registry) -> None:
    """gate_bypassed: said by the node, which sees the graph."""
    gated = Gated.by(registry)
    half = len(run.records) // 2
    gated.stream(run.records[:half])
    verdict = gated.keeper.set_condition(Reason("gate_bypassed", "another node publishes on /out"), gated.now_ns)
    assert verdict is not None
    assert verdict.kinds == ("gate_bypassed",)
    assert gated.keeper.set_condition(Reason("gate_bypassed", "still"), gated.now_ns) is None
    count = len(gated.passed)
    gated.stream(run.records[half:])
    assert len(gated.passed) == count
    assert gated.keeper.reset(gated.now_ns).message == "still"
    gated.keeper.clear_condition("gate_bypassed")
    assert gated.keeper.reset(gated.now_ns).granted


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_an_emergency_stop_latches_in_every_mode_and_state(mode: str, run: Run, registry: Registry) -> None:
    gated = Gated.by(registry, mode=mode)
    half = len(run.records) // 2
    assert gated.keeper.state is State.CLOSED
    verdict = gated.keeper.set_condition(Reason("emergency_stop", "smoke"), gated.now_ns, always=True)
    assert verdict is not None
    assert (verdict.state, verdict.kinds, gated.keeper.passes_all) == (State.LATCHED, ("emergency_stop",), False)
    assert gated.keeper.set_condition(Reason("emergency_stop", "smoke"), gated.now_ns, always=True) is None
    assert gated.keeper.set_condition(Reason("emergency_stop", "fire"), gated.now_ns, always=True) is not None
    gated.stream(run.records[:half])
    assert gated.keeper.reset(gated.now_ns).message == "fire"
    gated.keeper.clear_condition("emergency_stop")
    gated.stream(run.records[half:])
    assert gated.passed == []
    assert gated.keeper.reset(gated.now_ns).granted
    assert gated.keeper.passes_all is (mode == "monitor")


def test_with_checks_a_command_is_decided_after_the_last_one_was_passed(run: Run, registry: Registry) -> None:
    """A check may depend on what was passed last, so one call gives no two commands to pass."""
    gated = Gated.by(registry, checks=[lambda topic, kind, payload, now_ns: None], deadline_ns=200 * MS)
    held = [r for r in run.records if r.topic == "/wheel_command/attestation"][-2:]
    gated.stream([r for r in run.records if not any(r is h for h in held)])
    keeper = gated.keeper
    for record in held:  # both chains become whole at once
        keeper._evidence.take_attestation(record.topic, record.payload, gated.now_ns, gated.now_ns)
    for command in commands(run)[-2:]:
        (verdict,) = keeper.decide(gated.now_ns)
        assert verdict.forward
        assert verdict.command is not None
        assert verdict.command.payload == command.payload
    assert keeper.decide(gated.now_ns) == []


def test_more_waiting_commands_than_allowed_are_overload(run: Run, registry: Registry) -> None:
    """gate_overloaded"""
    gated = Gated.by(registry, max_waiting=4).stream(run.records)
    for number in range(6):
        gated.feed(Record("/wheel_command", "x/msg/Y", b"\0\1\0\0" + bytes([number] * 4), gated.now_ns))
    assert [v.kinds for v in gated.verdicts[-2:]] == [("gate_overloaded",)] * 2
    assert gated.keeper.state is State.LATCHED
    assert gated.verdicts[-1].latency_ns == 0


def test_checks_decide_after_the_chain(run: Run, registry: Registry) -> None:
    """gate_check_failed: a check that raises refuses."""
    seen: list[tuple[str, str, bytes]] = []

    def check(topic: str, kind: str, payload: bytes, now_ns: int) -> Reason | None:
        seen.append((topic, kind, payload))
        if len(seen) == 8:
            return Reason("below_policy", "too fast")
        if len(seen) == 12:
            raise ValueError("bad field")
        return None

    gated = Gated.by(registry, checks=[check]).stream(run.records)
    assert [s[2] for s in seen] == [r.payload for r in commands(run)]
    refused = [v for v in gated.verdicts if not v.accepted]
    assert [v.kinds for v in refused] == [("below_policy",), ("gate_check_failed",)]
    assert refused[0].state is State.LATCHED
    assert len(gated.passed) == 7


@pytest.mark.parametrize(
    ("policy", "kind"),
    [
        (b"version: 1\nstages: {planning: {max_input_age_ms: 0.001}}", "input_stale"),
        (b"version: 1\nmax_chain_latency_ms: 0.001", "latency_exceeds_policy"),
        (b"version: 1\nstages: {control: {execution_environment: tee}}", "below_policy"),
        (b"version: 1\nstages: {perception: {vendors: [acme]}}", "vendor_not_allowed"),
        (b"version: 1\ndecision_levels: {data_provenance: signed_at_source}", "below_policy"),
    ],
)
def test_policy_is_held_against_every_link(policy: bytes, kind: str, run: Run, registry: Registry) -> None:
    # Without the first tick: at simulated time 0 there is no stamp to measure by.
    gated = Gated.by(registry, parse_policy(policy)).stream(run.records[9:])
    assert gated.passed == []
    assert all(kind in v.kinds for v in gated.verdicts)
    assert gated.keeper.state is State.CLOSED


def test_policy_that_only_an_audit_can_apply() -> None:
    policy = parse_policy(b"version: 1\nstages: {'*': {settlement: logged, inference_authenticity: signed}}")
    own, left = at_run_time(policy)
    assert left == ["stages.*.settlement: logged"]
    assert own.minimum("any") == {"inference_authenticity": "signed"}
    with pytest.raises(PolicyError, match="re-executed"):
        at_run_time(parse_policy(b"version: 1\nstages: {control: {model_integrity: re-executed}}"))


def test_revoked_key_stops_commands(run: Run, tmp_path: Path) -> None:
    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        writer.revoke_key(run.signers["perception"].key_id, "lost", at_ns=run.records[0].received_ns + 300 * MS)

    run.write_registry(tmp_path / "r", certify)
    gated = Gated.by(Registry.open(tmp_path / "r")).stream(run.records)
    assert 4 <= len(gated.passed) <= 7
    refusal = next(v for v in gated.verdicts if not v.accepted)
    assert "revoked" in refusal.reasons[0].message


def test_stage_restarts(run: Run, registry: Registry) -> None:
    """New sessions with the old keys pass; an attestation of the session before them does not any more."""
    later = honest_run(10, signers=run.signers)
    shift = run.records[-1].received_ns + 50 * MS - later.records[0].received_ns
    for place, attestation in later.attestations():
        later.resign(place, signed_at_ns=attestation.statement.signed_at_ns + shift)
    # Signing anew changes digests; make the chain whole again.
    previous: dict[str, bytes] = {}
    for place, attestation in later.attestations():
        stage = attestation.statement.stage
        if stage in previous:
            later.resign(place, previous=previous[stage])
        previous[stage] = decode_attestation(later.records[place].payload).digest
    records = [dataclasses.replace(r, received_ns=r.received_ns + shift) for r in later.records]
    gated = Gated.by(registry).stream([*run.records, *records])
    assert len(gated.passed) == TICKS + 10
    old = commands(run)[-1]
    attestation = run.records[run.of_stage("control")[-1][0]]
    gated.feed(old)
    gated.feed(dataclasses.replace(attestation, received_ns=gated.now_ns))
    gated.wait(0.1)
    assert {"sessions_overlap", "output_replayed", "attestation_missing"} & gated.kinds
    assert len(gated.passed) == TICKS + 10


@pytest.mark.parametrize("seed", range(12))
def test_no_network_makes_an_unproven_command_pass(seed: int, run: Run, registry: Registry) -> None:
    """Loss, delay, reorder and repetition of anything: what passes is proven, each once, in order."""
    random_ = random.Random(seed)
    loss, jitter, repeat = random_.choice([(0.0, 30, 0.1), (0.05, 0, 0.0), (0.2, 60, 0.1), (0.02, 5, 0.02)])
    records = []
    for record in run.records:
        for _ in range(2 if random_.random() < repeat else 1):
            if random_.random() >= loss:
                delay = int(random_.random() * jitter * MS)
                records.append(dataclasses.replace(record, received_ns=record.received_ns + delay))
    records.sort(key=lambda r: r.received_ns)
    gated = Gated.by(registry)
    for record in records:
        gated.stream([record])
        if gated.keeper.state is State.LATCHED:
            gated.keeper.reset(gated.now_ns)  # an eager operator
    order = [r.payload for r in commands(run)]
    assert len(set(gated.passed)) == len(gated.passed)
    assert [order.index(p) for p in gated.passed] == sorted(order.index(p) for p in gated.passed)
    attested = {
        output.digest
        for r in records
        if r.topic == "/wheel_command/attestation"
        for output in decode_attestation(r.payload).statement.outputs
    }
    assert all(digest(payload) in attested for payload in gated.passed)
    gone = {r.topic + str(r.payload) for r in run.records} - {r.topic + str(r.payload) for r in records}
    if not gone and not jitter:
        assert len(gated.passed) == TICKS


def test_memory_is_bounded(registry: Registry, run: Run) -> None:
    """A stranger's attestations and a flood of messages fill nothing beyond the bounds."""
    gated = Gated.by(registry, max_records=256)
    for number in range(2000):
        gated.now_ns = run.records[0].received_ns + number
        gated.keeper.take_message("/scan", number.to_bytes(32, "big"), gated.now_ns)
        gated.keeper.take_message("/not/a/sensor", number.to_bytes(32, "big"), gated.now_ns)
    assert gated.keeper.size <= 256
    stranger = honest_run(TICKS)
    gated.stream(stranger.records)
    assert gated.passed == []
    assert gated.keeper.findings["unregistered_key"] == 3 * TICKS
    assert gated.keeper.size <= 256 * 4


def test_blake3_where_the_stages_use_it(run: Run, registry: Registry) -> None:
    pytest.importorskip("blake3")
    other = honest_run(10, signers=run.signers)
    payloads = {digest(r.payload): r.payload for r in other.records}

    def hashed(reference: DataReference) -> DataReference:
        payload = payloads[reference.digest]
        return dataclasses.replace(reference, digest=digest(payload, "blake3"), digest_algorithm="blake3")

    previous: dict[str, bytes] = {}
    for place, attestation in other.attestations():
        statement = attestation.statement
        changes: dict[str, object] = {
            "inputs": tuple(hashed(r) for r in statement.inputs),
            "outputs": tuple(hashed(r) for r in statement.outputs),
        }
        if statement.stage in previous:
            changes["previous"] = previous[statement.stage]
        other.resign(place, **changes)
        previous[statement.stage] = decode_attestation(other.records[place].payload).digest
    gated = Gated.by(registry).stream(other.records)
    # The gate learns of the algorithm by the first attestations; until then it stays closed.
    assert 8 <= len(gated.passed) < 10
    assert gated.keeper.state is State.OPEN


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": ""}, "input is missing"),
        ({"sensors": ()}, "sensors is missing"),
        ({"sensors": ("/wheel_command",)}, "which is where commands come from"),
        ({"deadline_ns": 0}, "deadline must be above 0"),
        ({"max_records": 10}, "four times"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings(**changes)


def test_settings_are_told_apart_by_their_digest() -> None:
    assert settings().digest != settings(mode="monitor").digest
    assert settings().digest == settings().digest
    assert Policy() == at_run_time(Policy())[0]
    assert set(MODELS) == {"perception", "planning", "control"}
