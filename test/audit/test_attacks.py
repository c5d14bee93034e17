"""Attacks on a recording: each named case must raise the finding that it names, and an honest run must raise none."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from scenario import MODELS, MS, Run, certify_all, honest_run, payload

from og_ros.attest import (
    ATTESTATION_TYPE,
    Algorithm,
    Clock,
    DataReference,
    Disclosure,
    Mode,
    ModelReference,
    Runtime,
    SoftwareSigner,
    cose,
    decode_attestation,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.attest.signer import P256_ORDER
from og_ros.audit.observer import Observer
from og_ros.audit.policy import parse_policy
from og_ros.audit.records import Inference, Record
from og_ros.audit.report import Report, Verdict
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

TICK = 20  # attacks strike in the middle of the run


def audit(
    run: Run,
    directory: Path,
    certify: Callable[[RegistryWriter, Run], None] | None = None,
    observers: Sequence[Observer] = (),
) -> Report:
    """Write a run with its registry and audit it from disk."""
    run.write_registry(directory / "registry", certify)
    run.write_bag(directory / "bag")
    return audit_bag(directory / "bag", Registry.open(directory / "registry"), observers=observers)


def place(run: Run, stage: str, tick: int = TICK) -> int:
    """Return where the attestation of a stage at a tick stands in the records."""
    return run.of_stage(stage)[tick][0]


def outputs(run: Run, topic: str) -> list[int]:
    """Return the places of the messages on a topic."""
    return [i for i, record in enumerate(run.records) if record.topic == topic]


# Each attack changes an honest run; its name is the test's name, its value (finding, function).


def forged_field(run: Run) -> None:
    run.forge(place(run, "control"), duration_ns=1)


def forged_output_digest(run: Run) -> None:
    index = place(run, "control")
    old = decode_attestation(run.records[index].payload).statement.outputs[0]
    run.forge(index, outputs=(dataclasses.replace(old, digest=os.urandom(32)),))


def zero_signature(run: Run) -> None:
    index = place(run, "planning")
    statement = decode_attestation(run.records[index].payload).statement
    run.records[index] = dataclasses.replace(
        run.records[index], payload=encode_attestation(cose.seal(statement, bytes(64)))
    )


def high_s_signature(run: Run) -> None:
    index = place(run, "planning")
    old = decode_attestation(run.records[index].payload)
    s = P256_ORDER - int.from_bytes(old.signature[32:], "big")
    twin = cose.seal(old.statement, old.signature[:32] + s.to_bytes(32, "big"))
    run.records[index] = dataclasses.replace(run.records[index], payload=encode_attestation(twin))


def algorithm_confusion(run: Run) -> None:
    run.forge(place(run, "planning"), algorithm=Algorithm.EDDSA)


def unregistered_key(run: Run) -> None:
    stranger = SoftwareSigner(keys.generate())
    run.signers["planning"] = stranger
    for index, _ in run.of_stage("planning")[TICK:]:
        run.resign(index, key_id=stranger.key_id, algorithm=stranger.algorithm)


def other_stage_key(run: Run) -> None:
    run.signers["planning"], other = run.signers["perception"], run.signers["planning"]
    index = place(run, "planning")
    run.resign(index, key_id=run.signers["planning"].key_id)
    run.signers["planning"] = other


def other_robot_name(run: Run) -> None:
    run.resign(place(run, "control"), robot="demo2")


def swapped_model(run: Run) -> None:
    for index, _ in run.of_stage("planning"):
        run.resign(index, model=ModelReference("planning_model", "1.0.0", os.urandom(32)))


def model_under_another_name(run: Run) -> None:
    for index, _ in run.of_stage("planning"):
        run.resign(index, model=ModelReference("planning_model", "2.0.0", MODELS["planning"]))


def model_of_another_stage(run: Run) -> None:
    for index, _ in run.of_stage("planning"):
        run.resign(index, model=ModelReference("control_model", "1.0.0", MODELS["control"]))


def model_changed_in_session(run: Run) -> None:
    run.resign(place(run, "planning"), model=ModelReference("planning_model", "1.0.0", MODELS["perception"]))


def runtime_changed_in_session(run: Run) -> None:
    run.resign(place(run, "planning"), runtime=Runtime("onnxruntime", "1.0.0"))


def claims_tee(run: Run) -> None:
    run.resign(place(run, "planning"), mode_requested=Mode.TEE, mode_used=Mode.TEE)


def downgraded_mode(run: Run) -> None:
    run.resign(place(run, "planning"), mode_requested=Mode.TEE)


def forked_session(run: Run) -> None:
    index = place(run, "control")
    run.records.insert(index + 1, run.records[index])
    run.resign(index + 1, duration_ns=7)


def wrong_previous(run: Run) -> None:
    run.resign(place(run, "control"), previous=os.urandom(32))


def replayed_attestation(run: Run) -> None:
    index = place(run, "control")
    late = run.records[-1].received_ns + MS
    run.records.append(dataclasses.replace(run.records[index], received_ns=late))


def reordered_attestations(run: Run) -> None:
    a, b = place(run, "control"), place(run, "control", TICK + 1)
    first, second = run.records[a], run.records[b]
    run.records[a] = dataclasses.replace(second, received_ns=first.received_ns)
    run.records[b] = dataclasses.replace(first, received_ns=second.received_ns)


def altered_output_stamped(run: Run) -> None:
    index = outputs(run, "/planning/reference")[TICK]
    old = run.records[index]
    run.records[index] = dataclasses.replace(old, payload=bytes(old.payload)[:-1] + b"\x01")


def altered_output_unstamped(run: Run) -> None:
    index = outputs(run, "/wheel_command")[TICK]
    run.records[index] = dataclasses.replace(run.records[index], payload=payload("/wheel_command", 0, 10**9))


def altered_input(run: Run) -> None:
    index = outputs(run, "/camera/image")[TICK]
    old = run.records[index]
    run.records[index] = dataclasses.replace(old, payload=bytes(old.payload)[:-1] + b"\x01")


def withheld_attestation(run: Run) -> None:
    """A stage publishes an output and never signs it: its sequence stays without a gap."""
    late = run.records[outputs(run, "/wheel_command")[TICK]]
    run.records.insert(
        outputs(run, "/wheel_command")[TICK] + 1,
        dataclasses.replace(late, payload=payload("/wheel_command", 0, -1), received_ns=late.received_ns + 15 * MS),
    )


def second_publisher(run: Run) -> None:
    index = outputs(run, "/planning/reference")[TICK]
    rogue = payload("/planning/reference", TICK * 50 * MS + 31 * MS, 666)
    run.records.insert(index + 3, dataclasses.replace(run.records[index], payload=rogue))


def replayed_output(run: Run) -> None:
    old = run.records[outputs(run, "/wheel_command")[3]]
    index = outputs(run, "/wheel_command")[TICK + 2]
    at = run.records[index].received_ns + 20 * MS
    run.records.insert(index + 1, dataclasses.replace(old, received_ns=at))


def truncated_attestations(run: Run) -> None:
    cut = run.records[place(run, "control", 5)].received_ns
    run.records = [
        r for r in run.records if not (r.topic == "/wheel_command/attestation" and r.received_ns > cut)
    ]


def stripped_attestations(run: Run) -> None:
    run.records = [r for r in run.records if r.type != ATTESTATION_TYPE]


def back_dated(run: Run) -> None:
    index = place(run, "control")
    signed_at = decode_attestation(run.records[index].payload).statement.signed_at_ns
    run.resign(index, signed_at_ns=signed_at - 3600 * 10**9)


def monotonic_clock_back(run: Run) -> None:
    run.resign(place(run, "control"), start_monotonic_ns=0)


def input_from_the_future(run: Run) -> None:
    run.resign(place(run, "perception"), start_ns=100 * 10**9)


def link_to_other_output(run: Run) -> None:
    perception = run.of_stage("perception")[TICK - 5][1]
    index = place(run, "planning")
    line, scan = decode_attestation(run.records[index].payload).statement.inputs
    run.resign(index, inputs=(dataclasses.replace(line, attestation=perception.digest), scan))


def input_made_by_another_robot(run: Run) -> None:
    run.resign(place(run, "perception"), robot="demo2")


def malformed_attestation(run: Run) -> None:
    index = place(run, "control")
    run.records[index] = dataclasses.replace(run.records[index], payload=bytes(run.records[index].payload)[:-100])


def oversized_attestation(run: Run) -> None:
    index = place(run, "control")
    run.records[index] = dataclasses.replace(
        run.records[index], payload=bytes(run.records[index].payload) + bytes(100_000)
    )


def digest_of_another_algorithm(run: Run) -> None:
    """Naming another algorithm for one message must not take it out of the audit unseen."""
    index = place(run, "control")
    old = decode_attestation(run.records[index].payload).statement.outputs[0]
    run.resign(index, outputs=(dataclasses.replace(old, digest_algorithm="md5"),))


def hidden_output(run: Run) -> None:
    index = place(run, "control")
    old = decode_attestation(run.records[index].payload).statement.outputs[0]
    absent = dataclasses.replace(old, digest=bytes(32), disclosure=Disclosure.ABSENT)
    run.resign(index, outputs=(absent,))


def sequence_jump_hides_withheld(run: Run) -> None:
    """A huge gap in the sequence must not excuse everything that has no attestation."""
    for step, (index, _) in enumerate(run.of_stage("control")[TICK:]):
        previous = os.urandom(32) if step == 0 else run.of_stage("control")[TICK + step - 1][1].digest
        run.resign(index, sequence=2**60 + step, previous=previous)


ATTACKS: list[tuple[Callable[[Run], None], str]] = [
    (forged_field, "signature_invalid"),
    (forged_output_digest, "signature_invalid"),
    (zero_signature, "signature_invalid"),
    (high_s_signature, "signature_invalid"),
    (algorithm_confusion, "signature_invalid"),
    (unregistered_key, "unregistered_key"),
    (other_stage_key, "key_wrong_stage"),
    (other_robot_name, "key_wrong_robot"),
    (swapped_model, "model_not_certified"),
    (model_under_another_name, "model_misnamed"),
    (model_of_another_stage, "model_wrong_stage"),
    (model_changed_in_session, "session_changed"),
    (runtime_changed_in_session, "session_changed"),
    (claims_tee, "overclaimed"),
    (downgraded_mode, "mode_downgraded"),
    (forked_session, "session_forked"),
    (wrong_previous, "chain_broken"),
    (replayed_attestation, "attestation_replayed"),
    (reordered_attestations, "attestation_reordered"),
    (altered_output_stamped, "output_altered"),
    (altered_output_unstamped, "output_altered"),
    (altered_input, "input_altered"),
    (withheld_attestation, "output_not_attested"),
    (second_publisher, "output_not_attested"),
    (replayed_output, "output_replayed"),
    (truncated_attestations, "output_not_attested"),
    (stripped_attestations, "no_attestations"),
    (back_dated, "clock_disagrees"),
    (monotonic_clock_back, "clock_went_back"),
    (input_from_the_future, "cause_after_effect"),
    (link_to_other_output, "input_attestation_wrong"),
    (input_made_by_another_robot, "robot_mixed"),
    (malformed_attestation, "malformed_attestation"),
    (oversized_attestation, "malformed_attestation"),
    (digest_of_another_algorithm, "digest_not_checked"),
    (hidden_output, "digest_not_checked"),
    (sequence_jump_hides_withheld, "loss_exceeds_policy"),
]


@pytest.mark.parametrize(("attack", "finding"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])
def test_attack_is_named(attack: Callable[[Run], None], finding: str, tmp_path: Path) -> None:
    run = honest_run()
    attack(run)
    report = audit(run, tmp_path)
    assert finding in report.auditor.findings.counts, report.auditor.findings.counts
    if finding != "mode_downgraded":
        assert report.verdict is Verdict.VIOLATED


def expired_key(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, key={"not_after_ns": 2 * 10**9})


def early_key(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, key={"not_before_ns": 4 * 10**18})


def revoked_key(writer: RegistryWriter, run: Run) -> None:
    certify_all(writer, run)
    writer.revoke_key(run.signers["planning"].key_id, "stolen", at_ns=2 * 10**9)


def expired_model(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, model={"not_after_ns": 2 * 10**9})


def early_model(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, model={"not_before_ns": 4 * 10**18})


def revoked_model(writer: RegistryWriter, run: Run) -> None:
    certify_all(writer, run)
    writer.revoke_model(MODELS["planning"], "recalled", at_ns=2 * 10**9)


def altered_processing(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, model={"processing_digest": bytes(31) + b"\2"})


def key_of_another_robot(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, key={"robot": "other"})


def key_of_another_role(writer: RegistryWriter, run: Run) -> None:
    _certify(writer, run, key={"role": "auditor", "stage": ""})


def _certify(writer: RegistryWriter, run: Run, **changes: dict[str, object]) -> None:
    for stage, model in MODELS.items():
        writer.certify_model(
            f"{stage}_model",
            "1.0.0",
            model,
            **{"stages": (stage,), "not_before_ns": 10**9, **changes.get("model", {})},  # type: ignore[arg-type]
        )
        writer.certify_key(
            run.signers[stage].public_key,
            **{  # type: ignore[arg-type]
                "robot": run.robot,
                "stage": stage,
                "vendor": "test",
                "not_before_ns": 10**9,
                **changes.get("key", {}),
            },
        )


CERTIFICATES = [
    (expired_key, "key_expired"),
    (early_key, "key_not_yet_valid"),
    (revoked_key, "key_revoked"),
    (key_of_another_robot, "key_wrong_robot"),
    (key_of_another_role, "key_wrong_stage"),
    (expired_model, "model_expired"),
    (early_model, "model_not_yet_valid"),
    (revoked_model, "model_revoked"),
    (altered_processing, "processing_not_certified"),
]


@pytest.mark.parametrize(("certify", "finding"), CERTIFICATES, ids=[c.__name__ for c, _ in CERTIFICATES])
def test_bad_certificate_is_named(
    certify: Callable[[RegistryWriter, Run], None], finding: str, tmp_path: Path
) -> None:
    report = audit(honest_run(8), tmp_path, certify)
    assert finding in report.auditor.findings.counts
    assert report.verdict is Verdict.VIOLATED


def test_honest_run_holds_without_findings(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger")
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert report.findings == []
    assert report.verdict is Verdict.HOLDS
    assert report.auditor.tally.decisions == report.auditor.tally.linked == 40
    levels = report.as_json()["levels"]
    assert levels["model_integrity"]["lowest"] == "certified"
    assert levels["settlement"]["lowest"] == "logged"


@pytest.mark.parametrize("seed", range(10))
def test_loss_and_jitter_raise_no_violation(seed: int, tmp_path: Path) -> None:
    """Lost messages and attestations are told from withheld ones; the warnings say what is missing."""
    rng = random.Random(seed)
    data = ["/camera/image", "/scan", "/perception/line"]
    topics = [*data, "/planning/reference/attestation", "/wheel_command/attestation"]
    skip = frozenset((rng.choice(topics), rng.randrange(5, 195)) for _ in range(2))
    run = honest_run(200, skip=skip)
    run.records = [dataclasses.replace(r, received_ns=r.received_ns + rng.randrange(MS)) for r in run.records]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert report.verdict is Verdict.HOLDS
    assert report.auditor.findings.warnings > 0


def test_recording_that_begins_and_ends_in_the_middle(tmp_path: Path) -> None:
    run = honest_run(80)
    run.records = run.records[40:-41]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert "session_joined_late" in report.auditor.findings.counts


def test_attestation_lost_is_taken_from_the_log(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger")
    del run.records[place(run, "planning")]
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    registry = Registry.open(tmp_path / "registry")
    without = audit_bag(tmp_path / "bag", registry, policy=parse_policy(b"version: 1\nmax_loss: 0.5\n"))
    assert set(without.auditor.findings.counts) == {"attestation_lost", "decision_unlinked"}
    report = audit_bag(tmp_path / "bag", registry, tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"only_in_log"}
    assert report.auditor.tally.linked == 40


def test_log_that_covers_more_than_the_recording_is_no_loss(tmp_path: Path) -> None:
    """A ledger of the whole day, a recording of some minutes of it."""
    run = honest_run(60)
    run.write_ledger(tmp_path / "ledger")
    begin, end = place(run, "control", 9) + 1, place(run, "control", 49) + 1
    run.records = run.records[begin:end]
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"session_joined_late"}
    assert report.auditor.tally.linked == 40
    assert any("60 attestations of these sessions" in note for note in report.not_checked)


def test_leaf_missing_from_the_log_is_named(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger", leave_out=frozenset({50}))
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"missing_from_log"}


def test_log_that_began_late_or_ended_early_is_told_from_a_hole(tmp_path: Path) -> None:
    run = honest_run()
    run.write_ledger(tmp_path / "ledger", leave_out=frozenset({0, 1, 2, 119}))
    run.write_registry(tmp_path / "registry")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert report.auditor.findings.counts == {"logged_late": 3, "not_logged_yet": 1}


def test_log_signed_by_a_stranger_is_named(tmp_path: Path) -> None:
    run = honest_run(5)
    run.write_registry(tmp_path / "registry")
    run.log_key = keys.generate(Algorithm.EDDSA)
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"log_key_unregistered"}
    assert report.as_json()["levels"]["settlement"]["counts"] == {"none": 15}


def test_log_key_of_another_log_is_named(tmp_path: Path) -> None:
    def certify(writer: RegistryWriter, run: Run) -> None:
        _certify(writer, run)
        writer.certify_key(run.log_key.public_key(), role="log", origin="other/log", not_before_ns=10**9)

    run = honest_run(5)
    run.write_registry(tmp_path / "registry", certify)
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"log_key_unregistered"}


def test_log_without_a_registry_counts_for_nothing(tmp_path: Path) -> None:
    run = honest_run(5)
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    report = audit_bag(tmp_path / "bag", None, tmp_path / "ledger")
    assert report.verdict is Verdict.NOT_CHECKED
    assert report.as_json()["levels"]["settlement"]["lowest"] == "none"
    assert any("nothing counts as logged" in note for note in report.not_checked)


def test_tampered_log_is_named(tmp_path: Path) -> None:
    run = honest_run(5)
    run.write_registry(tmp_path / "registry")
    run.write_ledger(tmp_path / "ledger")
    run.write_bag(tmp_path / "bag")
    bundle = next((tmp_path / "ledger" / "tile" / "entries").rglob("*.p/*"))
    data = bytearray(bundle.read_bytes())
    data[200] ^= 1
    bundle.write_bytes(data)
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), tmp_path / "ledger")
    assert set(report.auditor.findings.counts) == {"log_invalid"}


def test_replay_of_an_earlier_session_is_named(tmp_path: Path) -> None:
    """Commands of an hour-old session, cut into a new one with their attestations and true keys, do not pass."""
    old = honest_run(10, age_s=3600.0)
    new = honest_run(40, signers=old.signers)
    at = new.records[-1].received_ns
    commands = [r for r in old.records if r.topic.startswith("/wheel_command")]
    new.records += [dataclasses.replace(r, received_ns=at + n * MS) for n, r in enumerate(commands)]
    report = audit(new, tmp_path)
    counts = report.auditor.findings.counts
    assert counts["clock_disagrees"] == 10
    assert counts["decision_unlinked"] == 10
    assert report.auditor.tally.linked == 40


def test_stage_that_reads_its_own_output_is_linked(tmp_path: Path) -> None:
    """A chain as long as the run (a stage with feedback) is followed without recursion."""
    run = honest_run(5)
    signer, session = run.signers["control"], run.sessions["control"]
    start = run.records[-1].received_ns
    previous: DataReference | None = None
    image = run.records[0].payload
    root = DataReference("/camera/image", "sensor_msgs/msg/Image", digest(image), covered_size(image))
    last = run.of_stage("control")[-1][1]
    session._previous, session._sequence = last.digest, last.statement.sequence + 1
    for n in range(3000):
        data = payload("/wheel_command", 0, 10**6 + n)
        output = DataReference("/wheel_command", "std_msgs/msg/Float32MultiArray", digest(data), covered_size(data))
        at = start + n * MS
        run.records.append(Record("/wheel_command", output.type, data, at))
        statement = dataclasses.replace(
            last.statement,
            sequence=session._sequence,
            previous=session._previous,
            inputs=(root,) if previous is None else (root, previous),
            outputs=(output,),
            start_ns=10**9 + n * MS,
            start_monotonic_ns=10**9 + n * MS,
            signed_at_ns=at,
            clock=Clock.SIM,
        )
        attestation = cose.sign(statement, signer)
        session._previous, session._sequence = attestation.digest, session._sequence + 1
        run.records.append(Record("/wheel_command/attestation", ATTESTATION_TYPE, encode_attestation(attestation), at))
        previous = output
    report = audit(run, tmp_path)
    assert report.findings == []
    assert report.auditor.tally.linked == 3005


def test_outputs_that_repeat_to_the_byte_are_linked_to_the_newest(tmp_path: Path) -> None:
    """A robot that stands still: perception gives the same bytes again and again, without a stamp."""
    run = honest_run(30)
    first = outputs(run, "/perception/line")[0]
    same = run.records[first].payload
    digest_of_same = digest(same)
    for index in outputs(run, "/perception/line"):
        run.records[index] = dataclasses.replace(run.records[index], payload=same)
    previous = dict.fromkeys(("perception", "planning", "control"), bytes(32))
    for index, attestation in run.attestations():
        s = attestation.statement
        changed = {
            side: tuple(
                dataclasses.replace(r, digest=digest_of_same) if r.topic == "/perception/line" else r
                for r in getattr(s, side)
            )
            for side in ("inputs", "outputs")
        }
        run.resign(index, previous=previous[s.stage], **changed)
        previous[s.stage] = decode_attestation(run.records[index].payload).digest
    sources: list[tuple[int, int]] = []

    class Sources(Observer):
        def decision(self, inference: Inference) -> None:
            sources.append((inference.sequence, inference.sources[0].sources[0].sequence))  # type: ignore[union-attr]

    report = audit(run, tmp_path, observers=[Sources()])
    assert report.findings == []
    assert report.auditor.tally.linked == 30
    assert sources == [(n, n) for n in range(30)]


def constant_output(run: Run) -> None:
    """Make every wheel command the same bytes, honestly attested: a robot that stands still."""
    places = outputs(run, "/wheel_command")
    same = run.records[places[0]].payload
    for index in places:
        run.records[index] = dataclasses.replace(run.records[index], payload=same)
    previous = bytes(32)
    for index, attestation in run.of_stage("control"):
        output = dataclasses.replace(attestation.statement.outputs[0], digest=digest(same))
        run.resign(index, outputs=(output,), previous=previous)
        previous = decode_attestation(run.records[index].payload).digest


def test_lost_attestation_of_a_repeated_output_is_no_replay(tmp_path: Path) -> None:
    run = honest_run(200)
    constant_output(run)
    del run.records[place(run, "control", 100)]
    report = audit(run, tmp_path)
    assert set(report.auditor.findings.counts) == {"attestation_lost"}


def test_repeated_output_before_a_late_start_is_no_replay(tmp_path: Path) -> None:
    run = honest_run(100)
    constant_output(run)
    late = {place(run, "control", tick) for tick in range(10)}
    run.records = [r for i, r in enumerate(run.records) if i not in late]
    report = audit(run, tmp_path)
    assert report.auditor.findings.violations == 0, report.findings
    assert "session_joined_late" in report.auditor.findings.counts


def test_stamps_of_another_clock_give_no_latency(tmp_path: Path) -> None:
    run = honest_run(20)
    previous = dict.fromkeys(MODELS, bytes(32))
    for index, attestation in run.attestations():
        s = attestation.statement
        run.resign(index, previous=previous[s.stage], start_ns=s.signed_at_ns, clock=Clock.SYSTEM)
        previous[s.stage] = decode_attestation(run.records[index].payload).digest
    report = audit(run, tmp_path)
    assert report.as_json()["chain_latency_ms"] is None
    assert any("another clock" in note for note in report.not_checked)
