"""The stage node over real DDS: what it publishes, what it signs, and that no attestation is ever missing."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import wire_messages as wire
import yaml
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters
from ros_peer import Peer, matched, node, running, until
from tiny_onnx import adder, weighted_sum

from og_ros.attest import Attestation, Clock, SoftwareSigner, digest, keys, verify
from og_ros.attest.digest import covered_size
from og_ros.registry import RegistryWriter

STAGE = "og_ros.nodes.stage"
TWIST, ARRAY = "geometry_msgs/msg/TwistStamped", "std_msgs/msg/Float32MultiArray"


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Two stages: `first` adds 1 to a vector and stamps nothing; `second` adds a velocity to it."""
    (tmp_path / "add.onnx").write_bytes(adder([1.0, 1.0]))
    (tmp_path / "sum.onnx").write_bytes(weighted_sum(2))
    for name in ("first", "second"):
        keys.save_private(keys.generate(), tmp_path / f"{name}.pem")
    path = tmp_path / "pipeline.yaml"
    path.write_text(f"""\
robot: r
stages:
  first:
    model: {{path: add.onnx, name: add, version: "1"}}
    key: first.pem
    inputs: {{x: {{topic: /x, type: {ARRAY}, qos: {{depth: 1000}}}}}}
    outputs: {{y: {{topic: /y, type: {ARRAY}, qos: {{depth: 1000}}}}}}
  second:
    model: {{path: sum.onnx, name: sum, version: "1"}}
    key: second.pem
    inputs:
      a: {{topic: /y, type: {ARRAY}, trigger: true, qos: {{depth: 1000}}}}
      b: {{topic: /v, type: {TWIST}, max_age_ms: 60000, digest: sha256-tree}}
    outputs: {{y: {{topic: /command, type: {TWIST}, frame_id: base, qos: {{depth: 1000}}}}}}
""")
    return path


def array(*values: float) -> bytes:
    import numpy as np

    return wire.serialize(wire.floats(np.array(values)))


def check_chain(attestations: list[Attestation], key: Path) -> None:
    """Check signatures, sequence and links of one session from its start."""
    public = SoftwareSigner.load(key).public_key
    previous = bytes(32)
    for number, attestation in enumerate(attestations):
        verify(attestation, public)
        statement = attestation.statement
        assert statement.sequence == number
        assert statement.previous == previous
        assert statement.session == attestations[0].statement.session
        previous = attestation.digest


def test_chain_of_two_stages(peer: Peer, pipeline: Path, tmp_path: Path) -> None:
    middle, commands = peer.hear("/y", ARRAY, 1000), peer.hear("/command", TWIST, 1000)
    first, second = peer.hear_attestations("/y/attestation"), peer.hear_attestations("/command/attestation")
    x, v = peer.publisher("/x", ARRAY, 1000), peer.publisher("/v", TWIST)
    velocity = wire.serialize(wire.twist_stamped((0.5, 0, 0), (0, 0, 0.25)))
    with (
        running(*node(STAGE, "first", pipeline=pipeline)) as one,
        running(*node(STAGE, "second", pipeline=pipeline)) as two,
    ):
        peer.wait_for_publishers("/y/attestation", "/command/attestation")
        matched(x)
        matched(v)
        sent = [array(number, 2.0) for number in range(40)]
        v.publish(velocity)
        until(lambda: peer.node.count_subscribers("/y") >= 2, "second stage and peer on /y")
        time.sleep(0.3)
        for number, payload in enumerate(sent):
            if number == 20:  # a malformed message: no inference, no gap
                x.publish(b"\x00\x01\x00\x00" + bytes([255] * 8))
            x.publish(payload)
            time.sleep(0.005)
        until(lambda: len(second()) >= len(sent), "every attestation")
        one.signal(signal.SIGINT)
        two.signal(signal.SIGTERM)
        assert (one.join(), two.join()) == (0, 0)
        assert "input x: the array has 4294967295 dimensions" in one.output
        assert f"{len(sent)} inferences attested" in one.output
        assert "Traceback" not in one.output + two.output
    check_chain(first(), tmp_path / "first.pem")
    check_chain(second(), tmp_path / "second.pem")
    for payload, output, attestation in zip(sent, middle, first(), strict=True):
        statement = attestation.statement
        assert [i.digest for i in statement.inputs] == [digest(payload)]
        assert [o.digest for o in statement.outputs] == [digest(output)]
        assert statement.inputs[0].size == covered_size(payload)
        assert (statement.inputs[0].topic, statement.inputs[0].type) == ("/x", ARRAY)
        assert (statement.robot, statement.stage, statement.node) == ("r", "first", "/first")
        assert statement.outputs[0].stamp_ns == 0
        assert statement.clock == Clock.SYSTEM
        assert abs(statement.start_ns - time.time_ns()) < 300e9
    by_digest = {attestation.digest: attestation for attestation in first()}
    linked = 0
    for output, command, attestation in zip(middle, commands, second(), strict=True):
        a, b = attestation.statement.inputs
        assert (a.topic, b.topic) == ("/y", "/v")
        assert (a.digest, b.digest) == (digest(output), digest(velocity, "sha256-tree"))
        assert (a.digest_algorithm, b.digest_algorithm) == ("sha256", "sha256-tree")
        assert b.stamp_ns == 1_500_000_002
        assert not b.attestation
        assert attestation.statement.outputs[0].stamp_ns == 1_500_000_002
        found = wire.deserialize(command, TWIST)
        values = wire.deserialize(output, ARRAY).data
        assert (found.twist.linear.x, found.twist.angular.z) == (values[0] + 0.5, values[1] + 0.25)
        if a.attestation:  # known only when it arrived before the signature
            linked += 1
            assert by_digest[a.attestation].statement.outputs[0].digest == a.digest
    print(f"{linked} of {len(commands)} links were known at signing time")


def test_every_output_has_its_attestation_at_a_stop_under_load(peer: Peer, pipeline: Path, tmp_path: Path) -> None:
    outputs, attestations = peer.hear("/y", ARRAY, 1000), peer.hear_attestations("/y/attestation")
    x = peer.publisher("/x", ARRAY, 1000)
    with running(*node(STAGE, "first", pipeline=pipeline)) as stage:
        peer.wait_for_publishers("/y/attestation")
        matched(x)
        for value in range(500):
            x.publish(array(value, 0.0))
        until(lambda: len(outputs) >= 50, "some outputs")
        began = time.monotonic()
        assert stage.stop(signal.SIGTERM) == 0
        took = time.monotonic() - began
        assert "Traceback" not in stage.output
    until(lambda: len(attestations()) >= len(outputs), "the last attestations")
    time.sleep(0.3)
    assert len(attestations()) == len(outputs)
    check_chain(attestations(), tmp_path / "first.pem")
    assert {a.statement.outputs[0].digest for a in attestations()} == {digest(o) for o in outputs}
    assert took < 10, f"the stop took {took:.1f} s"


def test_parameters_file_lifecycle_and_simulated_time(peer: Peer, pipeline: Path, tmp_path: Path) -> None:
    """An ordinary ROS parameters file; a lifecycle manager's services; a new session at each configure."""
    section = {
        "autostart": False,
        "use_sim_time": True,
        "robot": "r",
        "stage": "adding",
        "model": {"path": str(tmp_path / "add.onnx"), "name": "add", "version": "1"},
        "key": str(tmp_path / "first.pem"),
        "inputs": {"x": {"topic": "/x", "type": ARRAY}},
        "outputs": {"y": {"topic": "out", "type": ARRAY}},
        "attestation_topic": "/attested",
    }
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(yaml.safe_dump({"/**": {"ros__parameters": section}}))
    attestations = peer.hear_attestations("/attested")
    x, clock = peer.publisher("/x", ARRAY), peer.publisher("/clock", "rosgraph_msgs/msg/Clock")
    arguments = ["-m", STAGE, "--ros-args", "--params-file", str(parameters), "-r", "__ns:=/robot1", "-r", "out:=there"]
    with running(*arguments) as stage:
        change = peer.node.create_client(ChangeState, "/robot1/stage/change_state")
        state = peer.node.create_client(GetState, "/robot1/stage/get_state")
        describe = peer.node.create_client(DescribeParameters, "/robot1/stage/describe_parameters")
        until(lambda: all(c.service_is_ready() for c in (change, state, describe)), "lifecycle services")

        def call(client: object, request: object) -> object:
            future = client.call_async(request)  # type: ignore[attr-defined]
            until(future.done, "an answer")
            return future.result()

        def to(transition: int) -> bool:
            request = ChangeState.Request()
            request.transition.id = transition
            return bool(call(change, request).success)  # type: ignore[attr-defined]

        described = call(describe, DescribeParameters.Request(names=["key", "inputs.x.topic", "autostart"]))
        assert all(d.description for d in described.descriptors)  # type: ignore[attr-defined]
        assert call(state, GetState.Request()).current_state.label == "unconfigured"  # type: ignore[attr-defined]
        configure, cleanup, activate, deactivate = 1, 2, 3, 4
        assert to(configure)
        matched(x)
        x.publish(array(1, 1))  # inactive: not taken
        assert to(activate)
        matched(clock)
        until(lambda: (clock.publish(wire.serialize(sim_time(42))), x.publish(array(2, 2)), attestations())[2], "one")
        assert attestations()[0].statement.inputs[0].digest == digest(array(2, 2))
        until(lambda: (x.publish(array(2, 2)), attestations()[-1].statement.clock == Clock.SIM)[1], "simulated time")
        statement = attestations()[-1].statement
        assert statement.node == "/robot1/stage"
        assert statement.stage == "adding"
        assert statement.outputs[0].topic == "/robot1/there"
        until(lambda: (x.publish(array(2, 2)), attestations()[-1].statement.start_ns == 42 * 10**9)[1], "time 42")
        assert to(deactivate)
        assert to(cleanup)
        count = len(attestations())
        assert to(configure)
        assert to(activate)
        matched(x)
        until(lambda: (x.publish(array(3, 3)), len(attestations()) > count)[1], "another session")
        later = attestations()[count].statement
        assert (later.sequence, later.session != statement.session) == (0, True)
        assert stage.stop() == 0


def sim_time(seconds: int) -> object:
    return wire.make("rosgraph_msgs/msg/Clock", clock=wire.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=0))


def test_refuses_what_is_not_certified_and_runs_what_is(peer: Peer, pipeline: Path, tmp_path: Path) -> None:
    import hashlib

    signer = SoftwareSigner.load(tmp_path / "first.pem")
    with RegistryWriter.create(tmp_path / "reg", SoftwareSigner(keys.generate()), "test", now_ns=1) as writer:
        arguments = node(STAGE, "first", pipeline=pipeline, registry=tmp_path / "reg")
        with running(*arguments) as stage:
            assert stage.join() == 1
            assert "is not in the registry" in stage.output
            assert "certify it for stage first" in stage.output
            assert "Traceback" not in stage.output
        writer.certify_key(signer.public_key, robot="r", stage="first", not_before_ns=1)
        model = (tmp_path / "add.onnx").read_bytes()
        writer.certify_model("add", "1", hashlib.sha256(model).digest(), stages=("first",), not_before_ns=1)
    with running(*arguments) as stage:
        peer.wait_for_publishers("/y/attestation")
        assert stage.stop() == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "first.pem").chmod(0o644), "others can use the key"),
        (lambda d: (d / "add.onnx").write_bytes(b"no model"), "is no ONNX model"),
        (lambda d: (d / "pipeline.yaml").write_text("robot: r"), "stages is missing"),
        (lambda d: (d / "pipeline.yaml").write_text("robot: [r"), "pipeline.yaml"),
    ],
    ids=["key-mode", "model", "no-stages", "no-yaml"],
)
def test_a_bad_start_is_one_clear_line(pipeline: Path, tmp_path: Path, damage: object, message: str) -> None:
    damage(tmp_path)  # type: ignore[operator]
    with running(*node(STAGE, "first", pipeline=pipeline)) as stage:
        assert stage.join() == 1
        assert message in stage.output
        assert "Traceback" not in stage.output
