"""A gate's decisions in an audit that runs models again: held to their own rule, and said once not to be run again."""

from __future__ import annotations

import dataclasses
from hashlib import sha256
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="re-execution needs onnxruntime (extra `robot`)")
from model_run import ModelRun, drive

from og_ros.attest import (
    ATTESTATION_TYPE,
    Clock,
    DataReference,
    Disclosure,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    cose,
    digest,
    encode_attestation,
    keys,
)
from og_ros.attest.digest import covered_size
from og_ros.audit.gate_decisions import VERDICT
from og_ros.audit.records import Record
from og_ros.audit.reexecution.rerun import ReexecutionPlan
from og_ros.audit.reexecution.sampling import ALL, Beacon
from og_ros.audit.reports.report import Report
from og_ros.audit.run import audit_bag
from og_ros.registry import Registry, RegistryWriter

COMMAND, ARRAY = "/wheel_command", "std_msgs/msg/Float32MultiArray"
OTHER = b"\0\1\0\0" + bytes(24)


def gated(run: ModelRun, directory: Path, pass_on: bytes | None = None) -> tuple[Path, Path]:
    """Write a bag and a registry with a gate: one command refused, others passed (one as `pass_on`), then stops."""
    signer = SoftwareSigner(keys.generate())
    policy = ModelReference("gate", "1", sha256().digest(), format="policy")
    session = Session(
        robot="demo", stage="gate", node="/gate", model=policy, runtime=Runtime("og_ros", "1"), signer=signer
    )
    session.began_ns = 0
    verdict = DataReference("/gate/verdict", VERDICT, sha256(b"verdict").digest(), 64)
    nothing = DataReference(COMMAND, ARRAY, bytes(32), 0, disclosure=Disclosure.ABSENT)
    records = []

    def decide(read: DataReference, said: list[DataReference], at: int) -> None:
        attestation = session.attest(
            [read], said, start_ns=at, clock=Clock.SYSTEM, start_monotonic_ns=at, duration_ns=1000
        )
        records.append(Record("/gate/verdict/attestation", ATTESTATION_TYPE, encode_attestation(attestation), at))

    commands = [record for record in run.run.records if record.topic == COMMAND]
    for number, record in enumerate(commands):
        read = DataReference(COMMAND, ARRAY, digest(record.payload), covered_size(record.payload))
        out = bytes(record.payload) if pass_on is None or number != 5 else pass_on
        passed = DataReference("/wheels", ARRAY, digest(out), covered_size(out))
        decide(read, [verdict] if number == 0 else [passed, verdict], record.received_ns + 10_000)
        if number:
            records.append(Record("/wheels", ARRAY, out, record.received_ns + 9_000))
    stop = DataReference("/wheels", ARRAY, digest(OTHER), covered_size(OTHER))
    for read in (verdict, nothing):
        decide(read, [stop], commands[-1].received_ns + 20_000)
    with RegistryWriter.create(directory / "registry", SoftwareSigner(keys.generate()), "test", now_ns=10**9) as writer:
        for name, stage in run.stages.items():
            model, inference = stage.config.model, stage.inference
            writer.certify_model(
                model.name, model.version, inference.model.digest, stages=(name,),
                processing_digest=inference.runtime.processing_digest, not_before_ns=10**9,
            )  # fmt: skip
            writer.certify_key(stage.signer.public_key, robot="demo", stage=name, not_before_ns=10**9)
        writer.certify_model("gate", "1", policy.digest, stages=("gate",), not_before_ns=10**9)
        writer.certify_key(signer.public_key, robot="demo", stage="gate", not_before_ns=10**9)
    every = sorted([*run.run.records, *records], key=lambda record: record.received_ns)
    changed = dataclasses.replace(run.run, records=every)
    return changed.write_bag(directory / "bag"), directory / "registry"


def audit(run: ModelRun, bag: Path, registry: Path) -> Report:
    return audit_bag(bag, Registry.open(registry), reexecution=ReexecutionPlan(ALL, Beacon(b"test"), run.pipeline))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ModelRun:
    run = drive(tmp_path_factory.mktemp("driven") / "run", 24)
    run.registry()
    return run


def test_a_gate_is_not_run_again_and_that_is_said_once(run: ModelRun, tmp_path: Path) -> None:
    report = audit(run, *gated(run, tmp_path))
    counts = report.auditor.findings.counts
    assert not counts["reexecution_unavailable"]
    assert not counts["reexecution_differs"]
    assert report.reexecution is not None
    assert report.reexecution["by_rules"] == 24 + 2
    assert "gate" not in report.reexecution["stages"]
    assert report.reexecution["population"] == 24 + 12 + 12
    assert [note for note in report.not_checked if "decisions of the gate" in note] == [
        "26 decisions of the gate were not run again, since rules made them and no model: only that it passed on the "
        "very commands that it names was checked of each. Whether it should have is for this audit's own judgement of "
        "those commands"
    ]


def test_a_gate_that_passed_on_something_else_is_found(run: ModelRun, tmp_path: Path) -> None:
    report = audit(run, *gated(run, tmp_path, pass_on=OTHER))
    (found,) = [f for f in report.auditor.findings.kept if f.kind == "reexecution_differs"]
    assert "stage gate: on /wheels it passed on another message than the command that it names" in found.message


def test_a_stage_cannot_pass_for_a_gate(run: ModelRun, tmp_path: Path) -> None:
    """What calls itself a gate with another stage's key is not run again, and stands accused for that."""
    liar = dataclasses.replace(run, run=dataclasses.replace(run.run, records=list(run.run.records)))
    policy = ModelReference("gate", "1", sha256().digest(), format="policy")
    for index, _ in liar.run.of_stage("control"):
        attestation = dict(liar.run.attestations())[index]
        statement = dataclasses.replace(attestation.statement, stage="gate", model=policy)
        signed = cose.sign(statement, run.stages["control"].signer)
        record = liar.run.records[index]
        liar.run.records[index] = dataclasses.replace(record, payload=encode_attestation(signed))
    report = audit(run, liar.run.write_bag(tmp_path / "bag"), run.directory / "registry")
    assert report.reexecution is not None
    assert report.reexecution["by_rules"] == 24
    assert report.auditor.findings.violations >= 24
