"""A stage that is started measured by a TPM: from the launch to the gate and the audit, and what is refused of it."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import swtpm

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
if swtpm.missing():
    pytest.skip(swtpm.missing(), allow_module_level=True)
import numpy as np
import yaml
from bag_writer import write_bag
from ros_peer import Peer, matched, node, running, until
from swtpm import Maker
from tiny_onnx import adder
from wire_messages import floats, serialize

from og_ros.attest import (
    ATTESTATION_TYPE,
    Mode,
    ModelReference,
    SoftwareSigner,
    cose,
    decode_attestation,
    encode_attestation,
    keys,
)
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.records import Record
from og_ros.cli.main import main
from og_ros.evidence.binding import Context
from og_ros.evidence.message import EVIDENCE_TYPE, EvidenceMessage, decode_message, encode_message
from og_ros.evidence.software import SoftwareAttester
from og_ros.nodes.evidence_publisher import evidence_qos
from og_ros.registry import RegistryWriter

ARRAY = "std_msgs/msg/Float32MultiArray"
PIPELINE = f"""\
robot: r
stages:
  first:
    model: {{path: add.onnx, name: add, version: "1"}}
    key: launch/first.pem
    evidence: tpm2-quote
    inputs: {{x: {{topic: /x, type: {ARRAY}}}}}
    outputs: {{y: {{topic: /y, type: {ARRAY}}}}}
"""
Records = list[Record]


@dataclass
class Robot:
    """What is left of the measured run: its directory, its recording, what the gate said, how keys were admitted."""

    place: Path
    records: Records
    verdicts: list[Any]
    passed: list[bytes]
    admission: dict[str, Any]

    @property
    def signer(self) -> SoftwareSigner:
        """The stage's session key."""
        return SoftwareSigner.load(self.place / "launch" / "first.pem")

    def audit(self, records: Records, capsys: pytest.CaptureFixture[str], **policy: Any) -> dict[str, Any]:
        """Audit changed records under the robot's policy, or a changed one."""
        place = Path(tempfile.mkdtemp(dir=self.place))
        write_bag(sorted(records, key=lambda one: one.received_ns), place / "bag")
        changed = {**yaml.safe_load((self.place / "policy.yaml").read_text()), **policy}
        (place / "policy.yaml").write_text(yaml.safe_dump(changed))
        capsys.readouterr()
        trust = ["--registry", str(self.place / "registry"), "--policy", str(place / "policy.yaml")]
        main(["audit", str(place / "bag"), "--json", "-", "--quiet", *trust])
        report: dict[str, Any] = json.loads(capsys.readouterr().out)
        return report


@contextmanager
def variables(**values: str) -> Iterator[None]:
    old = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(old)


def prepare(place: Path, tcti: str, run: Callable[..., str]) -> dict[str, Any]:
    """Launch the stage measured, write the policy that allows it, and certify its key with evidence."""
    model = adder([1.0, 1.0])
    (place / "pipeline.yaml").write_text(PIPELINE)
    (place / "add.onnx").write_bytes(model)
    keys.save_private(keys.generate(), place / "authority.pem")
    keys.save_private(gate := keys.generate(), place / "gate.pem")
    keys.save_private(keys.generate(), place / "release.pem")
    authority = SoftwareSigner.load(place / "authority.pem")
    release = SoftwareSigner.load(place / "release.pem")
    pipeline, manifest = str(place / "pipeline.yaml"), place / "first.manifest"
    run(
        "manifest",
        "collect",
        pipeline,
        "--stage",
        "first",
        "--key",
        place / "release.pem",
        "-o",
        place / "first.manifest",
    )
    run("launch-measured", "--directory", place / "launch", "--tcti", tcti, pipeline)
    attestation_key = run("tpm", "show", "--tcti", tcti).split()[2]
    policy = {
        "version": 1,
        "max_loss": 1,
        "evidence": {
            "collateral": {"manifest:first": str(manifest)},
            "reference_values": {
                "tpm2-quote": {
                    "attestation_keys": {"r": [attestation_key]},
                    "manifest_signers": {"release": keys.public_pem(release.public_key)},
                }
            },
        },
        "stages": {"first": {"execution_environment": "measured"}},
    }
    (place / "policy.yaml").write_text(yaml.safe_dump(policy))
    with RegistryWriter.create(place / "registry", authority, "fleet") as writer:
        writer.certify_model("add", "1", sha256(model).digest())
        writer.certify_key(gate.public_key(), robot="r", stage="gate")
    key = place / "launch" / "first.pem"
    (place / "first.pub").write_text(keys.public_pem(SoftwareSigner.load(key).public_key))
    with variables(OG_ROS_LAUNCH=str(place / "launch")):
        out = place / "first.evidence"
        run(
            "evidence", "collect", "--key", key, "--robot", "r", "--stage", "first", "--format", "tpm2-quote", "-o", out
        )
    shown = run(
        *("keys", "certify", place / "first.pub", "--registry", place / "registry", "--json"),
        *("--authority", place / "authority.pem", "--robot", "r", "--stage", "first"),
        *("--evidence", place / "first.evidence", "--evidence-policy", place / "policy.yaml"),
    )
    admission: dict[str, Any] = json.loads(shown)["evidence"]
    return admission


def drive(place: Path, peer: Peer) -> tuple[list[Any], list[bytes]]:
    """Run stage, recorder and gate until twenty commands passed; returns the gate's verdicts and what it passed."""
    x = peer.publisher("/x", ARRAY)
    recorded = {"output": place / "bag", "topics": f"['/x:{ARRAY}', '/y:{ARRAY}', '/y/attestation']"}
    gated = {
        **{"robot": "r", "registry": place / "registry", "policy": place / "policy.yaml", "key": place / "gate.pem"},
        **{"input": "/y", "output": "/safe", "type": ARRAY, "sensors": f"['/x:{ARRAY}']", "require_certified": False},
        **{"stages": "['first']", "deadline": 1.0, "max_command_age": 5.0, "stall": 0.0},
    }
    verdicts = peer.hear("/gate/verdict", "og_ros/msg/Verdict", 1000)
    passed = peer.hear("/safe", ARRAY, 1000)
    with (
        running(*node("og_ros.nodes.gate", "gate", **gated)) as gate,
        running(*node("og_ros.nodes.recorder", "recorder", **recorded)) as recorder,
        variables(OG_ROS_LAUNCH=str(place / "launch")),
        running(*node("og_ros.nodes.stage", "first", pipeline=place / "pipeline.yaml")) as stage,
    ):
        matched(x)
        heard = peer.hear("/y/evidence", EVIDENCE_TYPE, evidence_qos())
        until(lambda: heard, "evidence")
        until(lambda: peer.node.count_subscribers("/y") >= 2, "recorder and gate on /y")
        until(lambda: peer.node.count_subscribers("/y/evidence") >= 3, "recorder, gate and peer on evidence")
        number = 0
        end = time.monotonic() + 60
        while len(passed) < 20 and time.monotonic() < end:
            x.publish(serialize(floats(np.array([number, 2.0]))))
            number += 1
            time.sleep(0.05)
        assert len(passed) >= 20, gate.output
        assert (stage.stop(signal.SIGINT), recorder.stop(signal.SIGINT), gate.stop(signal.SIGINT)) == (0, 0, 0)
        assert "Traceback" not in stage.output + recorder.output + gate.output
    return verdicts, passed


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    place = tmp_path_factory.mktemp("measured")

    def run(*arguments: object) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert main([str(one) for one in arguments]) == 0
        return out.getvalue()

    state = Maker(place / "tpms").make("robot")
    with swtpm.machine(state) as machine:
        admission = prepare(place, machine.tcti, run)
        peer = Peer()
        try:
            verdicts, passed = drive(place, peer)
        finally:
            peer.close()
    with open_bag(place / "bag") as bag:
        records = [Record(r.topic, r.type, bytes(r.payload), r.received_ns) for r in bag.records()]
    return Robot(place, records, verdicts, passed, admission)


def test_the_audit_reports_measured_with_the_log_replayed(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    report = robot.audit(robot.records, capsys)
    assert {f["kind"] for f in report["findings"] if f["severity"] == "violation"} == set()
    assert report["levels"]["execution_environment"]["stages"]["first"] == "measured"
    (shown,) = report["environments"]
    assert (shown["format"], shown["key_provenance"], shown["admitted_by"]) == ("tpm2-quote", "tpm-quoted", None)
    assert shown["tier"] == "warning"  # nobody vouches that this TPM is one: it is swtpm
    assert any("altered in memory" in note for note in shown["not_checked"])
    evidence = [decode_message(r.payload).evidence for r in robot.records if r.type == EVIDENCE_TYPE]
    assert evidence[0].key == keys.spki(robot.signer.public_key)


def test_the_gate_passed_commands_once_it_had_the_evidence(robot: Robot) -> None:
    assert len(robot.passed) >= 20


def test_the_key_was_certified_with_what_was_found(robot: Robot) -> None:
    found = {name: robot.admission[name] for name in ("format", "level", "key_provenance")}
    assert found == {"format": "tpm2-quote", "level": "measured", "key_provenance": "tpm-quoted"}


def evidence_of(records: Records) -> tuple[int, EvidenceMessage]:
    place = next(i for i, record in enumerate(records) if record.type == EVIDENCE_TYPE)
    return place, decode_message(records[place].payload)


def replaced(records: Records, **changes: Any) -> Records:
    """The recording with other words around the same quote."""
    place, message = evidence_of(records)
    changed = dataclasses.replace(message.evidence, **changes)
    payload = encode_message(dataclasses.replace(message, evidence=changed))
    return [*records[:place], dataclasses.replace(records[place], payload=payload), *records[place + 1 :]]


def signed_anew(robot: Robot, **changes: Any) -> Records:
    """The recording with each attestation changed and signed by the stage's own key, its session whole."""
    records, previous = list(robot.records), bytes(32)
    for place, record in enumerate(records):
        if record.type == ATTESTATION_TYPE and record.topic == "/y/attestation":
            statement = decode_attestation(record.payload).statement
            link = previous if statement.sequence else bytes(32)
            made = cose.sign(dataclasses.replace(statement, previous=link, **changes), robot.signer)
            previous = made.digest
            records[place] = dataclasses.replace(record, payload=encode_attestation(made))
    return records


def other_model(robot: Robot) -> Records:
    """The stage loads another model than the one that its launch measured."""
    return signed_anew(robot, model=ModelReference("add", "1", sha256(b"another").digest()))


def software_under_a_label(robot: Robot) -> Records:
    """The records say tee, and the evidence is the key's own word."""
    records = signed_anew(robot, mode_requested=Mode.TEE, mode_used=Mode.TEE)
    place, message = evidence_of(records)
    signer, context = robot.signer, Context("r", "first")
    made = SoftwareAttester(signer).attest(keys.spki(signer.public_key), bytes(32), context)
    payload = encode_message(EvidenceMessage(made, message.node))
    records[place] = dataclasses.replace(records[place], payload=payload)
    return records


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (other_model, "environment_drift"),
        (software_under_a_label, "overclaimed"),
        (lambda r: replaced(r.records, nonce=bytes(32)), "evidence_other_key"),
        (lambda r: replaced(r.records, key=keys.spki(keys.generate().public_key())), "evidence_other_key"),
        (lambda r: replaced(r.records, context=Context("other", "first")), "evidence_other_robot"),
        (lambda r: replaced(r.records, collected_at_ns=1), "evidence_stale"),
        (lambda r: replaced(r.records, document=b"\xa0"), "evidence_refused"),
    ],
)
def test_what_is_made_of_the_recording_is_found(
    robot: Robot, capsys: pytest.CaptureFixture[str], change: Callable[[Robot], Records], finding: str
) -> None:
    report = robot.audit(change(robot), capsys)
    assert report["verdict"] == "violated"
    assert finding in report["finding_counts"]


def test_a_changed_adapter_is_named(robot: Robot, capsys: pytest.CaptureFixture[str]) -> None:
    """The release has another adapter than the one that was measured: what differs is in the finding."""
    from og_ros.evidence import manifest as manifests

    release = SoftwareSigner.load(robot.place / "release.pem")
    found = manifests.read_signed((robot.place / "first.manifest").read_bytes())
    name = next(label for label in found.files if label.startswith("adapter/"))
    other = dataclasses.replace(found, files={**found.files, name: bytes(32)})
    (robot.place / "other.manifest").write_bytes(manifests.sign(other, release))
    evidence = yaml.safe_load((robot.place / "policy.yaml").read_text())["evidence"]
    evidence["collateral"] = {"manifest:first": str(robot.place / "other.manifest")}
    report = robot.audit(robot.records, capsys, evidence=evidence)
    told = [f["message"] for f in report["findings"] if f["kind"] == "environment_drift"]
    assert any(f"adapter_changed: {name} changed" in message for message in told), told
    assert "below_policy" in report["finding_counts"]
