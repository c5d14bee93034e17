"""Stages that commit, over real DDS: the chain links, says nothing of the data, and single records are revealed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import wire_messages as wire
from ros_peer import Peer, matched, node, running, until
from tiny_onnx import adder

from og_ros.attest import Attestation, DataReference, Disclosure, digest, keys
from og_ros.attest.commitment import conceal, load_secret
from og_ros.attest.digest import covered_size
from og_ros.audit.disclosures import load_disclosures
from og_ros.cli.main import main
from og_ros.errors import ConfigError
from og_ros.nodes.bringup import describe_nodes
from og_ros.stages.pipeline import from_parameters, load_pipeline, to_parameters

STAGE, ARRAY = "og_ros.nodes.stage", "std_msgs/msg/Float32MultiArray"


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def port(topic: str, disclosure: str) -> str:
    return f"{{topic: {topic}, type: {ARRAY}, disclosure: {disclosure}, qos: {{depth: 1000}}}}"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Two stages in a row; what is between them is committed to by both, what goes in is not named at all."""
    (tmp_path / "add.onnx").write_bytes(adder([1.0, 1.0]))
    for name in ("first", "second"):
        keys.save_private(keys.generate(), tmp_path / f"{name}.pem")
    assert main(["keys", "secret", str(tmp_path / "robot.secret")]) == 0
    assert main(["keys", "generate", str(tmp_path / "owner.pem"), "--recipient"]) == 0
    common = """\
    model: {path: add.onnx, name: add, version: "1"}
    disclosure_key: robot.secret
    disclosure_directory: side
    disclosure_recipients: [owner.pem.pub]
"""
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"""\
robot: r
stages:
  first:
{common}    key: first.pem
    inputs: {{x: {port("/x", "absent")}}}
    outputs: {{y: {port("/y", "committed")}}}
  second:
{common}    key: second.pem
    inputs: {{x: {port("/y", "committed")}}}
    outputs: {{y: {port("/z", "clear")}}}
""")
    return path


def array(*values: float) -> bytes:
    return wire.serialize(wire.floats(np.array(values)))


def test_a_committed_chain_links_and_is_revealed_record_by_record(
    peer: Peer, pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    middle, last = peer.hear("/y", ARRAY, 1000), peer.hear("/z", ARRAY, 1000)
    first, second = peer.hear_attestations("/y/attestation"), peer.hear_attestations("/z/attestation")
    x = peer.publisher("/x", ARRAY, 1000)
    with (
        running(*node(STAGE, "first", pipeline=pipeline)) as one,
        running(*node(STAGE, "second", pipeline=pipeline)) as two,
    ):
        peer.wait_for_publishers("/y/attestation", "/z/attestation")
        matched(x)
        until(lambda: peer.node.count_subscribers("/y") >= 2, "second stage and peer on /y")
        time.sleep(0.3)
        for number in range(15):
            x.publish(array(number, 2.0))
            time.sleep(0.01)
        until(lambda: len(second()) >= 15, "every attestation")
        assert (one.stop(), two.stop()) == (0, 0)
        assert "15 records for later disclosure" in one.output
        assert "Traceback" not in one.output + two.output
    said = b"".join(attestation.cose for attestation in (*first(), *second()))
    made = {a.statement.outputs[0].digest: a for a in first()}
    assert len(made) == 15
    for number, (payload, a, b) in enumerate(zip(middle, first(), second(), strict=True)):
        (absent,), (given,) = a.statement.inputs, a.statement.outputs
        (taken,), (shown,) = b.statement.inputs, b.statement.outputs
        assert (absent.disclosure, absent.digest, absent.size) == (Disclosure.ABSENT, bytes(32), 0)
        assert given.disclosure == taken.disclosure == Disclosure.COMMITTED
        assert given.digest == taken.digest, "producer and consumer commit alike"
        assert taken.attestation in (b"", a.digest)
        assert (shown.disclosure, shown.digest) == (Disclosure.CLEAR, digest(last[number]))
        assert digest(payload) not in said
        assert digest(array(number, 2.0)) not in said
    reveal(tmp_path, second()[4], middle[4], capsys)


def reveal(tmp_path: Path, attestation: Attestation, payload: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Disclose one input, as an owner does, and check it, as an auditor does."""
    side, owner = str(tmp_path / "side"), str(tmp_path / "owner.pem")
    chosen = ["--attestation", attestation.digest.hex()[:16], "--side", "input", "--index", "0"]
    capsys.readouterr()
    assert main(["disclose", side, "--key", owner, "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 30
    assert main(["disclose", side, "--key", owner, *chosen, "-o", str(tmp_path / "one")]) == 0
    found = load_disclosures(tmp_path / "one")
    assert len(found) == 1
    shown = found.reveal(attestation.statement.inputs[0])
    assert shown is not None
    assert shown.payload == payload
    assert shown.attestation == attestation.digest
    assert not found.findings
    content = (tmp_path / "one").read_bytes() + b"".join(path.read_bytes() for path in (tmp_path / "side").iterdir())
    assert load_secret(tmp_path / "robot.secret") not in content
    at = attestation.statement.signed_at_ns
    when = [f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(t // 10**9))}.{t % 10**9:09d}Z" for t in (at, at + 1)]
    span = ["--topic", "/y", "--from", when[0], "--to", when[1]]
    assert main(["disclose", side, "--key", owner, *span, "-o", str(tmp_path / "two")]) == 0
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
    for arguments, code, text in (
        (["--key", owner, "-o", str(tmp_path / "three")], 2, "nothing is chosen"),
        (["--key", owner, *chosen], 2, "-o is missing"),
        (["--key", owner, "--topic", "/none", "-o", str(tmp_path / "three")], 2, "no record was chosen"),
        (["--key", str(tmp_path / "first.pem"), *chosen, "-o", str(tmp_path / "three")], 2, "for other recipients"),
        (["--key", owner, "--attestation", "xyz", "-o", str(tmp_path / "three")], 2, "hex digits"),
    ):
        assert main(["disclose", side, *arguments]) == code
        assert text in capsys.readouterr().err
        assert not (tmp_path / "three").exists()


def test_configuration_survives_the_way_through_parameters(pipeline: Path) -> None:
    for stage in load_pipeline(pipeline).stages.values():
        assert from_parameters(to_parameters(stage)) == stage
        assert stage.disclosure_key == pipeline.parent / "robot.secret"
        assert stage.disclosure_recipients == (pipeline.parent / "owner.pem.pub",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    disclosure_key: robot.secret\n", "", "disclosure_key is missing, which"),
        ("    disclosure_directory: side\n", "", "go together"),
        ("disclosure: clear", "disclosure: hidden", "must be one of clear, committed, absent"),
        (f"inputs: {{x: {port('/y', 'committed')}", f"inputs: {{x: {port('/y', 'clear')}", "same topic is committed"),
    ],
    ids=["no-key", "no-directory", "mode", "one-tells-what-the-other-hides"],
)
def test_configurations_that_would_not_hide_are_refused(pipeline: Path, old: str, new: str, message: str) -> None:
    text = pipeline.read_text()
    assert old in text
    pipeline.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        load_pipeline(pipeline)


def test_a_sealing_recorder_shows_no_digest_of_what_stages_commit_to(pipeline: Path) -> None:
    text = pipeline.read_text()
    pipeline.write_text(text + "recorder: {output: bag, seal: [owner.pem.pub]}\n")
    parameters = {n.name: n.parameters for n in describe_nodes(load_pipeline(pipeline), record=True)}["recorder"]
    base = pipeline.parent
    assert parameters["committed"] == ["/y"]
    assert parameters["disclosure_key"] == str(base / "robot.secret")
    assert parameters["seal"] == [str(base / "owner.pem.pub")]
    pipeline.write_text(text + "recorder: {output: bag}\n")
    clear = {n.name: n.parameters for n in describe_nodes(load_pipeline(pipeline), record=True)}["recorder"]
    assert not {"committed", "seal", "disclosure_key"} & clear.keys()


def test_an_attested_node_of_ones_own_commits_too(
    peer: Peer, pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planner.py").write_text("""\
import sys

from rclpy.node import Node
from std_msgs.msg import Float32MultiArray

from og_ros.attest import Disclosure
from og_ros.nodes.attested import Attestor
from og_ros.nodes.process import run_node


class Planner(Node):
    def __init__(self):
        super().__init__("planner")
        self.attest = Attestor(
            self, stage="my/planner", model=__file__, key="first.pem", disclosure_key="robot.secret",
            disclosure={"/x": Disclosure.COMMITTED, "/y": Disclosure.ABSENT},
            disclosure_directory="side", disclosure_recipients=["owner.pem.pub"],
        )
        self.out = self.attest.create_publisher(Float32MultiArray, "/y", 10)
        self.attest.create_subscription(Float32MultiArray, "/x", lambda message: self.out.publish(message), 10)

    def close(self):
        self.attest.close()


sys.exit(run_node(Planner))
""")
    attestations = peer.hear_attestations("/y/attestation")
    x = peer.publisher("/x", ARRAY)
    monkeypatch.chdir(tmp_path)
    with running("planner.py") as planner:
        peer.wait_for_publishers("/y/attestation")
        matched(x)
        x.publish(array(1.0, 2.0))
        until(lambda: attestations(), "an attestation")
        assert planner.stop() == 0, planner.output
    statement = attestations()[0].statement
    assert statement.outputs[0].disclosure == Disclosure.ABSENT
    clear = DataReference("/x", ARRAY, digest(array(1.0, 2.0)), covered_size(array(1.0, 2.0)))
    assert statement.inputs[0] == conceal(clear, Disclosure.COMMITTED, load_secret(tmp_path / "robot.secret"))
    command = ["disclose", str(tmp_path / "side"), "--key", str(tmp_path / "owner.pem"), "--topic", "/x"]
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    shown = load_disclosures(tmp_path / "one").reveal(statement.inputs[0])
    assert shown is not None
    assert shown.payload == array(1.0, 2.0)
