"""Re-execution: what honest stages did is had again bit for bit, and a stage that signs a lie is found."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="re-execution needs onnxruntime (extra `robot`)")
import wire_messages as wire
from model_run import MODELS, ROOT, ModelRun, RunningStage, demo_pipeline, drive
from rosbags.rosbag2 import Reader, StoragePlugin
from scenario import Run

from og_ros.attest import (
    ATTESTATION_TYPE,
    Attestation,
    Clock,
    DataReference,
    Disclosure,
    ModelReference,
    SoftwareSigner,
    cose,
    decode_attestation,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.findings import KINDS, Finding, Severity
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Record
from og_ros.audit.reexecution.comparison import Tolerance
from og_ros.audit.reexecution.rerun import ReexecutionPlan, conclude, reexecute, select
from og_ros.audit.reexecution.sampling import ALL, Beacon, parse_beacon, parse_sample
from og_ros.audit.reexecution.tally import ReexecutionTally
from og_ros.audit.run import audit_bag
from og_ros.errors import ConfigError, ModelError
from og_ros.registry import Registry
from og_ros.stages.pipeline import load_pipeline

SPOT = ROOT.parent / "shared" / "data"
BEACON = Beacon(b"test")
TICKS = 24
TWIST, ARRAY = "geometry_msgs/msg/TwistStamped", "std_msgs/msg/Float32MultiArray"


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> ModelRun:
    """An honest run; nobody may change it."""
    run = drive(tmp_path_factory.mktemp("driven") / "run", TICKS)
    run.write_bag()
    run.registry()
    return run


@pytest.fixture
def run(driven: ModelRun, tmp_path: Path) -> ModelRun:
    """A copy of the honest run, for an attacker to change."""
    shutil.copytree(driven.directory, tmp_path / "run", ignore=shutil.ignore_patterns("bag"))
    return dataclasses.replace(
        driven, directory=tmp_path / "run", run=dataclasses.replace(driven.run, records=list(driven.run.records))
    )


def plan_of(run: ModelRun, **changes: object) -> ReexecutionPlan:
    plan = ReexecutionPlan(ALL, BEACON, run.pipeline)
    return dataclasses.replace(plan, **changes)  # type: ignore[arg-type]


def run_again(
    run: ModelRun, bag: Path | None = None, registry: bool = True, unrecorded: tuple[Attestation, ...] = (),
    reveal: Callable[[DataReference], bytes | None] | None = None, **changes: object,
) -> tuple[ReexecutionTally, list[Finding]]:  # fmt: skip
    """Re-execute a run as an audit does; writes its recording unless it is given."""
    plan = plan_of(run, **changes)
    plan.check()
    found: list[Finding] = []
    known = Registry.open(run.directory / "registry") if registry else None
    with open_bag(bag or run.write_bag()) as opened:
        chosen = select(opened, plan, unrecorded)
        tally = reexecute(
            opened, plan, chosen, known, report=found.append, unrecorded=unrecorded, reveal=reveal
        )
        found.extend(conclude(plan, tally, opened.end_ns))
    return tally, found


def outcomes(tally: ReexecutionTally, stage: str) -> dict[str, int]:
    return {outcome.value: count for outcome, count in tally.stages[stage].outcomes.items() if count}


def reasons(tally: ReexecutionTally, stage: str) -> str:
    return "; ".join(tally.stages[stage].unavailable)


def resign_all(run: Run, stage: str, change: Callable[[Attestation], dict[str, object]]) -> None:
    for index, attestation in run.of_stage(stage):
        run.resign(index, **change(attestation))


def add_to_wheels(payload: bytes, amount: float) -> bytes:
    values = wire.deserialize(payload, ARRAY).data
    return wire.serialize(wire.floats(values + np.array([amount, 0.0], dtype=np.float32)))


# Honest runs


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_an_honest_run_is_had_again_bit_for_bit(driven: ModelRun, tmp_path: Path, storage: StoragePlugin) -> None:
    bag = driven.run.write_bag(tmp_path / "bag", storage)
    tally, findings = run_again(driven, bag)
    assert findings == []
    assert {stage: outcomes(tally, stage) for stage in tally.stages} == {
        "perception": {"reproduced": TICKS // 2}, "planning": {"reproduced": TICKS // 2},
        "control": {"reproduced": TICKS},
    }  # fmt: skip
    assert all(stage.inexact == 0 for stage in tally.stages.values()), "bit-exactness was demanded of all"
    assert len(tally.verdicts) == 2 * TICKS
    assert all(tally.verdicts.values())
    report = tally.as_json()
    assert (report["not_reproduced"], report["not_reproduced_share_at_most"]) == (0, 0.0), "all were run again"


def test_several_processes_give_what_one_gives(driven: ModelRun) -> None:
    plan = plan_of(driven)
    seen: list[tuple[int, int]] = []
    with open_bag(driven.directory / "bag") as bag:
        chosen = select(bag, plan)
        one = reexecute(bag, plan, chosen, report=print)
        two = reexecute(bag, plan, chosen, report=print, jobs=2, progress=lambda *counts: seen.append(counts))
    assert one == two
    assert seen == sorted(seen)
    assert seen[-1] == (2 * TICKS, 2 * TICKS)


def test_plan_and_tally_go_to_other_processes_and_to_json(driven: ModelRun) -> None:
    plan = plan_of(driven, tolerance=Tolerance(1e-5, 0.0))
    assert pickle.loads(pickle.dumps(plan)) == plan
    tally, _ = run_again(driven, driven.directory / "bag", sample=parse_sample("5"))
    assert pickle.loads(pickle.dumps(tally)) == tally
    shown = json.loads(json.dumps({**plan.as_json(), **tally.as_json()}))
    assert shown["tolerance"] == {"absolute": 1e-5, "relative": 0.0}
    assert (shown["selected"], shown["population"]) == (5, 2 * TICKS)
    assert parse_beacon(shown["beacon"]) == BEACON


# Lies


def test_a_stage_that_signs_a_lie_is_found(tmp_path: Path) -> None:
    """The control stage changes some of its outputs before it signs them: every record is in order, but false."""
    lies = [9, 16]

    def lie(stage: str, tick: int, payload: bytes) -> bytes:
        return add_to_wheels(payload, 0.25) if stage == "control" and tick in lies else payload

    run = drive(tmp_path / "run", TICKS, lie)
    registry = run.registry()
    report = audit_bag(run.write_bag(), registry).as_json()
    assert [f for f in report["findings"] if f["severity"] == "violation"] == [], "the chain alone shows nothing"
    tally, findings = run_again(run, run.directory / "bag")
    assert [(f.kind, f.stage, f.sequence) for f in findings] == [("reexecution_differs", "control", n) for n in lies]
    assert findings[0].severity is Severity.VIOLATION
    assert "output on /wheel_command: data[0] is " in findings[0].message
    assert "0.25 apart; the same bytes were demanded" in findings[0].message
    assert outcomes(tally, "control") == {"reproduced": TICKS - 2, "differs": 2}
    assert tally.stages["control"].errors["/wheel_command"] == pytest.approx(0.25)
    assert tally.verdicts[findings[0].record] is False


def test_a_lie_is_found_when_its_output_was_left_out_of_the_recording(run: ModelRun) -> None:
    def change(attestation: Attestation) -> dict[str, object]:
        output = attestation.statement.outputs[0]
        return {"outputs": (dataclasses.replace(output, digest=digest(b"\0\1\0\0another")),)}

    resign_all(run.run, "planning", change)
    tally, findings = run_again(run)
    assert outcomes(tally, "planning") == {"differs": TICKS // 2}
    assert "it is not in the recording; the same bytes were demanded" in findings[0].message


def test_another_model_ran_than_the_one_named(run: ModelRun) -> None:
    """The statement names the certified model's digest; another model made the output."""
    data = bytearray((run.directory / "models" / "line_planning.onnx").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)  # weights that are zero
    other = run.directory / "models" / "other.onnx"
    other.write_bytes(data)
    config = run.stages["planning"].config
    liar = RunningStage(dataclasses.replace(config, model=dataclasses.replace(config.model, path=other)))
    for index, attestation in run.run.of_stage("planning"):
        payloads = {digest(r.payload): bytes(r.payload) for r in run.run.records[:index]}
        statement = attestation.statement
        inputs = [payloads[reference.digest] for reference in statement.inputs]
        stamp_ns, frame_id = statement.outputs[0].stamp_ns, liar.inference.decode(0, inputs[0]).frame_id
        output = liar.inference.execute(inputs, stamp_ns=stamp_ns, frame_id=frame_id).outputs[0]
        run.run.records[index - 1] = dataclasses.replace(run.run.records[index - 1], payload=output)
        run.run.resign(index, outputs=(dataclasses.replace(statement.outputs[0], digest=digest(output)),))
    tally, findings = run_again(run)
    assert outcomes(tally, "planning") == {"differs": TICKS // 2}
    assert "output on /planning/reference: twist." in findings[0].message


def test_an_input_is_named_that_was_not_the_one_that_was_read(run: ModelRun) -> None:
    images = [a.statement.inputs[0] for _, a in run.run.of_stage("perception")]
    index, _ = run.run.of_stage("perception")[10]
    run.run.resign(index, inputs=(images[2],))
    _, findings = run_again(run)
    assert [(f.kind, f.stage, f.sequence) for f in findings] == [("reexecution_differs", "perception", 10)]


@pytest.mark.parametrize(("side", "says"), [("inputs", "its input on /scan"), ("outputs", "the message has the stamp")])
def test_a_stamp_is_stated_that_the_message_does_not_have(run: ModelRun, side: str, says: str) -> None:
    index, attestation = run.run.of_stage("planning")[5]
    references = list(getattr(attestation.statement, side))
    references[-1] = dataclasses.replace(references[-1], stamp_ns=references[-1].stamp_ns + 1)
    run.run.resign(index, **{side: tuple(references)})
    _, findings = run_again(run)
    assert [(f.kind, f.sequence) for f in findings] == [("reexecution_differs", 5)]
    assert says in findings[0].message


def test_an_input_that_no_honest_stage_could_have_read(run: ModelRun) -> None:
    index, attestation = run.run.of_stage("planning")[5]
    payload = b"\0\1\0\0\x11\x22\x33\x44"
    run.run.records.append(dataclasses.replace(run.run.records[index], topic="/scan", payload=payload,
                                               type="sensor_msgs/msg/LaserScan"))  # fmt: skip
    scan = dataclasses.replace(attestation.statement.inputs[1], digest=digest(payload), size=covered_size(payload))
    run.run.resign(index, inputs=(attestation.statement.inputs[0], scan))
    _, findings = run_again(run)
    assert [(f.kind, f.sequence) for f in findings] == [("reexecution_differs", 5)]
    assert "its input on /scan cannot be read by this stage" in findings[0].message


# Another machine: a tolerance instead of bit-exactness


def elsewhere(run: ModelRun, amount: float, stage: str = "control") -> None:
    """Let a stage's records be of a machine with other instructions, whose outputs are off by an amount."""
    for index, attestation in run.run.of_stage(stage):
        statement = attestation.statement
        changes: dict[str, object] = {"runtime": dataclasses.replace(statement.runtime, cpu="x86_64 sse4")}
        if amount:
            output = add_to_wheels(bytes(run.run.records[index - 1].payload), amount)
            run.run.records[index - 1] = dataclasses.replace(run.run.records[index - 1], payload=output)
            changes["outputs"] = (dataclasses.replace(statement.outputs[0], digest=digest(output)),)
        run.run.resign(index, **changes)


@pytest.mark.parametrize(
    ("amount", "outcome"),
    [(0.0, "reproduced"), (5e-5, "reproduced_within_tolerance"), (0.05, "differs")],
)
def test_another_cpu_class_is_compared_within_a_tolerance(run: ModelRun, amount: float, outcome: str) -> None:
    elsewhere(run, amount)
    tally, findings = run_again(run)
    assert outcomes(tally, "control") == {outcome: TICKS}
    stage = tally.stages["control"]
    assert stage.inexact == TICKS
    assert "the CPU class was 'x86_64 sse4' and here is 'x86_64" in next(iter(stage.unlike))
    assert stage.errors.get("/wheel_command", 0.0) == pytest.approx(amount, rel=0.01)
    assert tally.stages["planning"].inexact == 0
    assert len(findings) == (TICKS if outcome == "differs" else 0)
    if findings:
        assert "0.0001 + 0.001 × |value| apart was allowed, since the CPU class was" in findings[0].message


def test_the_auditor_chooses_the_tolerance(run: ModelRun) -> None:
    elsewhere(run, 5e-5)
    tally, _ = run_again(run, tolerance=Tolerance(1e-6, 0.0))
    assert outcomes(tally, "control") == {"differs": TICKS}


def test_without_the_output_no_tolerance_can_be_applied(run: ModelRun) -> None:
    elsewhere(run, 5e-5)
    run.run.records = [record for record in run.run.records if record.topic != "/wheel_command"]
    tally, findings = run_again(run)
    assert outcomes(tally, "control") == {"unavailable": TICKS}
    assert "output on /wheel_command: it is not in the recording" in reasons(tally, "control")
    assert [f.kind for f in findings] == ["reexecution_unavailable"], "one for all of a reason"


def test_what_is_no_number_has_no_tolerance(run: ModelRun) -> None:
    for index, attestation in run.run.of_stage("planning"):
        statement = attestation.statement
        message = wire.deserialize(bytes(run.run.records[index - 1].payload), TWIST)
        message.header.frame_id = "elsewhere"
        output = wire.serialize(message)
        run.run.records[index - 1] = dataclasses.replace(run.run.records[index - 1], payload=output)
        outputs = (dataclasses.replace(statement.outputs[0], digest=digest(output), size=covered_size(output)),)
        run.run.resign(index, outputs=outputs, runtime=dataclasses.replace(statement.runtime, version="1.0"))
    tally, findings = run_again(run)
    assert outcomes(tally, "planning") == {"differs": TICKS // 2}
    assert "header.frame_id is 'elsewhere', computed " in findings[0].message


# What cannot be run again, and says why


def wrong_options(run: ModelRun) -> None:
    text = run.pipeline.read_text()
    run.pipeline.write_text(text.replace("[twist.linear.x, twist.angular.z]", "[twist.linear.y, twist.angular.z]"))


def stage_not_in_pipeline(run: ModelRun) -> None:
    run.pipeline.write_text(run.pipeline.read_text().replace("  control:\n", "  steering:\n"))


def unknown_adapter(run: ModelRun) -> None:
    old = "{topic: /wheel_command, type: std_msgs/msg/Float32MultiArray}"
    new = "{topic: /wheel_command, type: std_msgs/msg/Float32MultiArray, adapter: nobodys}"
    run.pipeline.write_text(run.pipeline.read_text().replace(old, new))


def other_model_of_that_name(run: ModelRun) -> None:
    shutil.copyfile(MODELS / "line_planning.onnx", run.directory / "models" / "wheel_control.onnx")


def no_onnx_stage(run: ModelRun) -> None:
    resign_all(run.run, "control", lambda a: {"runtime": dataclasses.replace(a.statement.runtime, name="torch")})


def hidden_input(run: ModelRun) -> None:
    def change(attestation: Attestation) -> dict[str, object]:
        first, *rest = attestation.statement.inputs
        return {"inputs": (dataclasses.replace(first, disclosure=Disclosure.COMMITTED), *rest)}

    resign_all(run.run, "control", change)


def input_left_out(run: ModelRun) -> None:
    run.run.records = [record for record in run.run.records if record.topic != "/odom"]


def inputs_partly_left_out(run: ModelRun) -> None:
    kept = next(r for r in run.run.records if r.topic == "/odom")
    run.run.records = [record for record in run.run.records if record.topic != "/odom" or record is kept]
    index, _ = run.run.of_stage("control")[0]
    del run.run.records[index]


def more_inputs_than_the_stage_has(run: ModelRun) -> None:
    resign_all(run.run, "control", lambda a: {"inputs": (*a.statement.inputs, a.statement.inputs[0])})


def forged(run: ModelRun) -> None:
    for index, _ in run.run.of_stage("control"):
        run.run.forge(index, duration_ns=7)


def uncertified_key(run: ModelRun) -> None:
    stranger = SoftwareSigner(keys.generate())
    run.run.signers = {**run.run.signers, "control": stranger}
    resign_all(run.run, "control", lambda a: {"key_id": stranger.key_id, "algorithm": stranger.algorithm})


def uncertified_model(run: ModelRun) -> None:
    extra = run.directory / "models" / "extra.onnx"
    shutil.copyfile(MODELS / "wheel_control.onnx", extra)
    with open(extra, "ab") as file:
        file.write(b"\x32\x01x")  # doc_string: the same model by other bytes
    reference = ModelReference("wheel_control", "1.0.0", hashlib.sha256(extra.read_bytes()).digest())
    resign_all(run.run, "control", lambda a: {"model": reference})


CANNOT = {
    wrong_options: "pre- and post-processing of stage control are not those that were attested",
    stage_not_in_pipeline: "the pipeline file has no stage control",
    unknown_adapter: "there is no adapter 'nobodys'",
    other_model_of_that_name: "no model file has the digest",
    no_onnx_stage: "the stage runs torch with a model of format onnx, which og_ros cannot run again",
    hidden_input: "the digest of its input on /odom is committed",
    input_left_out: "its input on /odom is not in the recording",
    inputs_partly_left_out: "its input on /odom is not in the recording",
    more_inputs_than_the_stage_has: "the pipeline file describes other inputs of stage control",
    forged: "the signature does not match the statement",
    uncertified_key: "its key is not in the registry",
    uncertified_model: "no certificate names its model, and only certified models are loaded",
}


@pytest.mark.parametrize("change", CANNOT, ids=lambda change: change.__name__)
def test_what_cannot_be_run_again_says_why(run: ModelRun, change: Callable[[ModelRun], None]) -> None:
    change(run)
    tally, findings = run_again(run)
    count = len(run.run.of_stage("control"))
    assert outcomes(tally, "control") == {"unavailable": count}
    assert CANNOT[change] in reasons(tally, "control")
    assert [f.kind for f in findings] == ["reexecution_unavailable"]
    assert f"{count} of {count} sampled inferences could not be run again" in findings[0].message
    assert outcomes(tally, "planning") == {"reproduced": TICKS // 2}, "other stages are run all the same"
    assert not set(tally.verdicts) & {a.digest for _, a in run.run.of_stage("control")}
    assert tally.as_json()["stages"]["control"]["not_reproduced_share_at_most"] == 1.0, "nothing is proven of it"


def test_a_committed_input_is_run_again_once_it_was_revealed(run: ModelRun) -> None:
    hidden = {a.statement.inputs[0].digest: a.statement.sequence for _, a in run.run.of_stage("control")}
    messages = {digest(r.payload): bytes(r.payload) for r in run.run.records}
    hidden_input(run)
    run.run.records = [record for record in run.run.records if record.topic != "/odom"]  # sealed, or kept back

    def reveal(reference: DataReference) -> bytes | None:
        """The commitment stands for itself here; it is og_ros.audit.disclosures that checks one."""
        return None if hidden[reference.digest] % 2 else messages[reference.digest]

    tally, findings = run_again(run, reveal=reveal)
    assert outcomes(tally, "control") == {"reproduced": TICKS // 2, "unavailable": TICKS // 2}
    assert [f.kind for f in findings] == ["reexecution_unavailable"]


def test_without_a_registry_statements_are_run_as_they_are(run: ModelRun) -> None:
    forged(run)
    tally, _ = run_again(run, registry=False)
    assert outcomes(tally, "control") == {"reproduced": TICKS}


def test_models_are_found_by_their_bytes_wherever_they_lie(run: ModelRun, tmp_path: Path) -> None:
    shutil.rmtree(run.directory / "models")
    (tmp_path / "store" / "deep").mkdir(parents=True)
    for number, model in enumerate(sorted(MODELS.glob("*.onnx"))):
        shutil.copyfile(model, tmp_path / "store" / "deep" / f"{number}.onnx")
    (tmp_path / "store" / "unreadable.onnx").symlink_to(tmp_path / "nowhere")
    tally, findings = run_again(run, models=(tmp_path / "store",))
    assert findings == []
    assert outcomes(tally, "control") == {"reproduced": TICKS}


def test_a_plan_that_cannot_work_is_refused_before_anything_is_read(run: ModelRun) -> None:
    with pytest.raises(ModelError, match="there is no model or directory of models at"):
        plan_of(run, models=(run.directory / "nowhere",)).check()
    with pytest.raises(ConfigError, match="cannot read"):
        plan_of(run, pipeline=run.directory / "nowhere.yaml").check()


# Where messages are found


def test_an_input_from_long_before_is_found(run: ModelRun) -> None:
    """A line that came a minute before all that read it, and whose size is stated wrongly to hide it."""
    records, stage = run.run.records, run.stages["planning"]
    at = next(i for i, record in enumerate(records) if record.topic == "/perception/line")
    line = bytes(records[at].payload)
    for index, attestation in run.run.of_stage("planning"):
        statement = attestation.statement
        scan = next(bytes(r.payload) for r in records if digest(r.payload) == statement.inputs[1].digest)
        output = stage.inference.execute([line, scan], stamp_ns=statement.start_ns).outputs[0]
        first = dataclasses.replace(statement.inputs[0], digest=digest(line), size=4)
        after = dataclasses.replace(statement.outputs[0], digest=digest(output))
        run.run.resign(index, inputs=(first, statement.inputs[1]), outputs=(after,))
    records[at] = dataclasses.replace(records[at], received_ns=records[at].received_ns - 60 * 10**9)
    records.sort(key=lambda record: record.received_ns)
    tally, _ = run_again(run)
    assert outcomes(tally, "planning") == {"reproduced": TICKS // 2}


def test_slices_of_time_give_together_what_the_whole_gives(driven: ModelRun) -> None:
    whole, _ = run_again(driven, driven.directory / "bag", sample=parse_sample("20"))
    plan = plan_of(driven, sample=parse_sample("20"))
    parts = ReexecutionTally()
    with open_bag(driven.directory / "bag") as bag:
        chosen = select(bag, plan)
        middle = (bag.start_ns + bag.end_ns) // 2
        for start_ns, stop_ns in ((None, middle), (middle, None)):
            parts.merge(reexecute(bag, plan, chosen, report=print, start_ns=start_ns, stop_ns=stop_ns))
    assert parts == whole
    assert sum(stage.selected for stage in parts.stages.values()) == 20


def test_attestations_that_only_a_log_has_are_run_again_too(run: ModelRun) -> None:
    index, attestation = run.run.of_stage("control")[7]
    del run.run.records[index]
    tally, findings = run_again(run, unrecorded=(attestation,))
    assert findings == []
    assert outcomes(tally, "control") == {"reproduced": TICKS}


# Sampling a recording


def test_a_sample_is_repeatable_with_its_beacon_and_unlike_with_another(driven: ModelRun) -> None:
    def verdicts(beacon: bytes, sample: str) -> set[bytes]:
        tally, _ = run_again(driven, driven.directory / "bag", beacon=Beacon(beacon), sample=parse_sample(sample))
        return set(tally.verdicts)

    first = verdicts(b"one", "12")
    assert len(first) == 12
    assert verdicts(b"one", "12") == first
    assert verdicts(b"two", "12") != first
    assert len(verdicts(b"one", "1000")) == 2 * TICKS, "a count above the run's takes all"
    assert 0 < len(verdicts(b"one", "25%")) < TICKS


def test_an_attestation_that_was_played_again_counts_once(run: ModelRun) -> None:
    index, _ = run.run.of_stage("control")[7]
    run.run.records.append(run.run.records[index])
    tally, _ = run_again(run)
    assert tally.stages["control"].population == TICKS


@pytest.mark.parametrize(("before_end_ns", "findings"), [(0, ["beacon_predictable"]), (-1, [])])
def test_a_beacon_from_before_the_end_is_reported(driven: ModelRun, before_end_ns: int, findings: list[str]) -> None:
    with open_bag(driven.directory / "bag") as bag:
        end_ns = bag.end_ns
    beacon = Beacon(b"drand", time_ns=end_ns - before_end_ns)
    _, found = run_again(driven, driven.directory / "bag", beacon=beacon, sample=parse_sample("1"))
    assert [f.kind for f in found] == findings
    assert KINDS["beacon_predictable"].severity is Severity.WARNING


# A detector on real images


def spot_run(directory: Path, lie: bool = False) -> ModelRun:
    """FastestDet on the four cameras of a Spot robot; with `lie`, one detection is changed before it is signed."""
    directory.mkdir()
    (directory / "models").symlink_to(SPOT / "models")
    shutil.copyfile(ROOT / "config" / "examples" / "fastestdet.yaml", directory / "pipeline.yaml")
    stage = RunningStage(load_pipeline(directory / "pipeline.yaml").stages["detector"])
    run = ModelRun(directory, Run("spot", signers={"detector": stage.signer}), {"detector": stage})
    topic = "/spot/camera/hand_color/image"
    with Reader(SPOT / "bags" / "spot_raw") as reader:
        images = [(c.topic, bytes(payload), at) for c, at, payload in reader.messages()]
    for number, (_, payload, at) in enumerate(images):
        made = stage.receive(topic, payload, at)
        assert made is not None
        inputs, output, _ = made
        if lie and number == 2:
            values = bytearray(output)
            values[-3] ^= 0x40  # the second highest byte of the last float
            output = bytes(values)
        reference = DataReference("/detections", ARRAY, digest(output), covered_size(output))
        attestation = stage.session.attest(
            inputs, [reference], start_ns=at, clock=Clock.SYSTEM, start_monotonic_ns=at, duration_ns=5_000_000
        )
        statement = dataclasses.replace(attestation.statement, signed_at_ns=at)
        attestation = cose.sign(statement, stage.signer)
        stage.session._previous = attestation.digest
        run.run.records += [
            Record(topic, "sensor_msgs/msg/Image", payload, at),
            Record("/detections", ARRAY, output, at + 1000),
            Record("/detections/attestation", ATTESTATION_TYPE, encode_attestation(attestation), at + 2000),
        ]
    run.run.records.sort(key=lambda record: record.received_ns)
    return run


@pytest.mark.skipif(not SPOT.is_dir(), reason=f"no test data: {SPOT} is absent")
@pytest.mark.parametrize("lie", [False, True])
def test_a_real_detector_on_real_images(tmp_path: Path, lie: bool) -> None:
    run = spot_run(tmp_path / "run", lie)
    tally, findings = run_again(run, registry=False)
    expected = {"reproduced": 3, "differs": 1} if lie else {"reproduced": 4}
    assert outcomes(tally, "detector") == expected
    assert Counter(f.kind for f in findings) == Counter({"reexecution_differs": 1} if lie else {})


def test_the_statement_of_a_driven_run_is_as_the_stage_node_makes_it(driven: ModelRun) -> None:
    """The recording under test is no special case: inputs in the order of their names, one attestation an output."""
    statements = [decode_attestation(r.payload).statement for r in driven.run.records if r.type == ATTESTATION_TYPE]
    pipeline = demo_pipeline(driven.directory.parent / "again")
    for statement in statements:
        config = pipeline.stages[statement.stage]
        assert [r.topic for r in statement.inputs] == [port.topic for port in config.inputs.values()]
        assert [r.topic for r in statement.outputs] == [port.topic for port in config.outputs.values()]
