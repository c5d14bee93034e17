"""Evidence over real DDS: a stage publishes and renews it, who comes late hears it, and it is in the recording."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
from ros_peer import Peer, matched, node, running, until
from tiny_onnx import adder
from wire_messages import floats, serialize

from og_ros.attest import SoftwareSigner, keys
from og_ros.audit.policy import Policy
from og_ros.audit.recording.bag import open_bag
from og_ros.audit.run import audit_bag
from og_ros.evidence.interface import AppraisalPolicy
from og_ros.evidence.message import EVIDENCE_TYPE, decode_message
from og_ros.nodes.evidence_publisher import evidence_qos
from og_ros.registry import Registry, RegistryWriter

ARRAY = "std_msgs/msg/Float32MultiArray"
PIPELINE = """\
robot: r
stages:
  first:
    model: {path: add.onnx, name: add, version: "1"}
    key: first.pem
    evidence: software
    evidence_renew_s: 1.0
    inputs: {x: {topic: /x, type: std_msgs/msg/Float32MultiArray}}
    outputs: {y: {topic: /y, type: std_msgs/msg/Float32MultiArray}}
"""


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def prepare(directory: Path) -> bytes:
    """Write the pipeline of one stage, and the registry that certifies it; returns its key as SPKI."""
    key, model = keys.generate(), adder([1.0, 1.0])
    (directory / "pipeline.yaml").write_text(PIPELINE)
    (directory / "add.onnx").write_bytes(model)
    keys.save_private(key, directory / "first.pem")
    with RegistryWriter.create(directory / "registry", SoftwareSigner(keys.generate()), "fleet") as writer:
        writer.certify_model("add", "1", sha256(model).digest(), not_before_ns=10**9)
        writer.certify_key(key.public_key(), robot="r", stage="first", not_before_ns=10**9)
    return keys.spki(key.public_key())


def test_evidence_is_published_renewed_recorded_and_audited(peer: Peer, tmp_path: Path) -> None:
    key = prepare(tmp_path)
    x = peer.publisher("/x", ARRAY)
    recorded = {"output": tmp_path / "bag", "topics": f"['/x:{ARRAY}', '/y:{ARRAY}', '/y/attestation']"}
    audited = {"registry": tmp_path / "registry", "topics": "['/x']", "horizon": 0.5}
    stage = node("og_ros.nodes.stage", "first", pipeline=tmp_path / "pipeline.yaml")
    with running(*stage) as one, running(*node("og_ros.nodes.recorder", "recorder", **recorded)) as recorder:
        matched(x)
        late = peer.hear("/y/evidence", EVIDENCE_TYPE, evidence_qos())  # the stage has published it before
        until(lambda: late, "evidence for who comes late")
        first = decode_message(late[0])
        assert (first.node, first.evidence.format, first.evidence.key) == ("/first", "software", key)
        with running(*node("og_ros.nodes.auditor", "auditor", **audited)) as auditor:
            until(lambda: peer.node.count_subscribers("/y/evidence") >= 3, "recorder, auditor and peer")
            for number in range(20):
                x.publish(serialize(floats(np.array([number, 2.0]))))
                time.sleep(0.02)
            until(lambda: len(set(late)) >= 3, "two renewals")
            assert len({decode_message(payload).evidence.nonce for payload in late}) == len(set(late))
            assert auditor.stop() == 0
            assert "0 violations" in auditor.output, auditor.output
        assert (one.stop(signal.SIGINT), recorder.stop(signal.SIGINT)) == (0, 0)
    with open_bag(tmp_path / "bag") as bag:
        assert bag.topics["/y/evidence"].type == EVIDENCE_TYPE
        assert len(list(bag.records(["/y/evidence"]))) >= 2
    policy = Policy(max_loss=1.0, evidence=AppraisalPolicy())
    report = audit_bag(tmp_path / "bag", Registry.open(tmp_path / "registry"), policy=policy).as_json()
    assert {f["kind"] for f in report["findings"] if f["severity"] == "violation"} == set()
    assert [(one["stage"], one["format"], one["level"]) for one in report["environments"]] == [
        ("first", "software", "software_key")
    ]


def test_a_stage_does_not_start_without_the_evidence_that_it_is_to_have(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "other.evidence").write_bytes(b"no evidence")
    with running(
        *node(
            "og_ros.nodes.stage",
            "first",
            pipeline=tmp_path / "pipeline.yaml",
            evidence_file=tmp_path / "other.evidence",
        )
    ) as one:
        assert one.join() == 1
    assert "other.evidence: not an evidence file" in one.output
    assert "Traceback" not in one.output
