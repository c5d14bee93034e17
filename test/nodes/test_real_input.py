"""Recordings of real robots through stages, recorded again: every output is linked to a real sensor message."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import wire_messages as wire
from ros_peer import Peer, matched, node, running, until
from rosbags.rosbag2 import Reader

from og_ros.attest import SoftwareSigner, decode_attestation, digest, keys, verify
from og_ros.nodes.topics import message_class
from og_ros.stages.pipeline import load_pipeline

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
MODELS = ROOT / "og_ros" / "sim" / "models"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no test data: {DATA} is absent")
STAGE = "og_ros.nodes.stage"
ARRAY, IMAGE = "std_msgs/msg/Float32MultiArray", "sensor_msgs/msg/Image"


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def messages(bag: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    with Reader(bag) as reader:
        for connection, _, payload in reader.messages():
            found.setdefault(connection.topic, []).append(bytes(payload))
    return found


def example(name: str, directory: Path, models: Path) -> Path:
    """Copy an example and give its stages keys and models."""
    path = directory / name
    path.write_text((ROOT / "config" / "examples" / name).read_text())
    (directory / "models").symlink_to(models)
    for stage in load_pipeline(path).stages.values():
        keys.save_private(keys.generate(), stage.key)
    return path


def test_detector_on_the_cameras_of_a_spot(peer: Peer, tmp_path: Path) -> None:
    """FastestDet on rgb8, mono8 and 16UC1 images, by configuration and ROS's own remapping alone."""
    pipeline = example("fastestdet.yaml", tmp_path, DATA / "models")
    source = DATA / "bags" / "spot_raw"
    images = messages(source)
    detections = peer.hear("/detections", ARRAY)
    attestations = peer.hear_attestations("/detections/attestation")
    # A replay publishes under the recorded names; a relay brings the four cameras to one detector.
    override = {"inputs.image.topic": "/camera", "inputs.image.qos.reliability": "reliable"}
    relay = peer.publisher("/camera", IMAGE)
    for topic in images:
        peer.node.create_subscription(message_class(IMAGE), topic, relay.publish, 10, raw=True)
    replay = ["-m", "og_ros.cli.main", "replay", str(source), "--rate", "2", "--wait-for-subscribers"]
    with running(*node(STAGE, "detector", pipeline=pipeline, **override)) as stage:
        matched(relay)
        peer.wait_for_publishers("/detections/attestation")
        with running(*replay) as player:
            assert player.join() == 0, player.output
        until(lambda: len(attestations()) >= len(images), "an attestation an image")
        assert stage.stop() == 0, stage.output
    sent = {digest(payload): (topic, payload) for topic, [payload] in images.items()}
    public = SoftwareSigner.load(tmp_path / "keys" / "detector.pem").public_key
    for detection, attestation in zip(detections, attestations(), strict=True):
        verify(attestation, public)
        topic, payload = sent.pop(attestation.statement.inputs[0].digest)
        assert attestation.statement.inputs[0].stamp_ns == stamp(payload), topic
        assert attestation.statement.outputs[0].digest == digest(detection)
        found = wire.deserialize(detection, ARRAY)
        assert [d.size for d in found.layout.dim] == [1, 85, 22, 22]
        assert np.isfinite(found.data).all()
    assert not sent, "each camera's image was seen once"


def stamp(payload: bytes) -> int:
    found = wire.deserialize(payload, IMAGE).header.stamp
    return int(found.sec) * 10**9 + int(found.nanosec)


def scans_before(bag: Path, topic: str) -> int:
    """Scans before the first message of a topic: until then there is nothing to control with."""
    count = 0
    with Reader(bag) as reader:
        for connection, _, _ in reader.messages():
            if connection.topic == topic:
                break
            count += connection.topic == "/scan"
    return count


@pytest.mark.parametrize("bag", ["gazebo_walker", "ros2_selfdriving_test_bag"])
def test_real_scans_through_planning_and_control(peer: Peer, tmp_path: Path, bag: str) -> None:
    source = DATA / "bags" / bag
    pipeline = example("scan_follower.yaml", tmp_path, MODELS)
    recorded = messages(source)
    silent = scans_before(source, measured := "/odom" if "/odom" in recorded else "/cmd_vel")
    out = tmp_path / "out"
    line = peer.publisher("/perception/line", ARRAY)
    # Replayed many times faster than the robot was, so the queues must be deeper than a robot's.
    planning_options = {"inputs.ranges.qos.reliability": "reliable", "inputs.ranges.qos.depth": 1000}
    control_options: dict[str, object] = {"inputs.reference.qos.depth": 1000}
    if "/odom" not in recorded:  # this robot's recording has its commands, not its odometry
        control_options |= {
            "inputs.measured.topic": "/cmd_vel", "inputs.measured.type": "geometry_msgs/msg/Twist",
            "inputs.measured.options.fields": "['linear.x', 'angular.z']",
        }  # fmt: skip
    wanted = ["/scan", measured, "/perception/line", "/planning/reference", "/wheel_command"]
    topics = [*wanted, "/planning/reference/attestation", "/wheel_command/attestation"]
    rate = 8 if bag == "gazebo_walker" else 25
    replay = ["-m", "og_ros.cli.main", "replay", str(source), "--topics", "/scan", measured, "--rate", str(rate)]
    commands = peer.hear("/wheel_command", ARRAY, 1000)
    with (
        running(*node(STAGE, "planning", pipeline=pipeline, **planning_options)) as one,
        running(*node(STAGE, "control", pipeline=pipeline, **control_options)) as two,
        running("-m", "og_ros.cli.main", "record", str(out), "--topics", *topics) as recorder,
    ):
        for topic in ("/planning/reference/attestation", "/wheel_command/attestation", "/planning/reference"):
            until(lambda t=topic: peer.node.count_subscribers(t) >= 1, f"a listener of {topic}")
        until(lambda: peer.node.count_subscribers("/perception/line") >= 2, "stage and recorder on the line")
        matched(line, 2)
        line.publish(wire.serialize(wire.floats(np.zeros(3))))
        with running(*replay, "--wait-for-subscribers", "--subscribers", "2") as player:
            assert player.join() == 0, player.output
            assert "fewer than" not in player.output
        until(lambda: len(commands) >= len(recorded["/scan"]) - silent - 3, "the commands")
        one.signal()
        two.signal()
        assert (one.join(), two.join()) == (0, 0), one.output + two.output
        assert recorder.stop() == 0, recorder.output
    found = messages(out)
    scans = {digest(payload) for payload in recorded["/scan"]}
    assert Counter(map(digest, found["/scan"])) == Counter(map(digest, recorded["/scan"])), "bytes are unchanged"
    seen = {topic: {digest(payload) for payload in payloads} for topic, payloads in found.items()}
    planning = [decode_attestation(p) for p in found["/planning/reference/attestation"]]
    control_attestations = [decode_attestation(p) for p in found["/wheel_command/attestation"]]
    made: dict[bytes, object] = {}
    for attestation in planning:
        statement = attestation.statement
        by_topic = {i.topic: i for i in statement.inputs}
        assert by_topic["/scan"].digest in scans
        assert by_topic["/perception/line"].digest in seen["/perception/line"]
        assert statement.outputs[0].digest in seen["/planning/reference"]
        made[statement.outputs[0].digest] = attestation
    linked = 0
    for attestation in control_attestations:
        by_topic = {i.topic: i for i in attestation.statement.inputs}
        assert by_topic[measured].digest in seen[measured]
        assert attestation.statement.outputs[0].digest in seen["/wheel_command"]
        linked += by_topic["/planning/reference"].digest in made
    assert linked == len(control_attestations) == len(found["/wheel_command"]) == len(commands)
    assert len(planning) == len(recorded["/scan"])
    assert abs(len(control_attestations) - (len(recorded["/scan"]) - silent)) <= 3
    sizes = {len(payload) % 4 for payload in recorded["/scan"] + recorded[measured]}
    print(f"{bag}: {len(planning)} scans, {linked} commands linked; payload sizes mod 4: {sorted(sizes)}")
