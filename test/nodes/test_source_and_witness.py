"""A source and a witness over real DDS: what is signed are the bytes that travelled, and nothing of a stranger's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import wire_messages as wire
from rclpy.parameter import Parameter
from ros_peer import Peer, delivered, matched, node, running, until

from og_ros.attest import Attestation, Mode, SoftwareSigner, digest, keys, verify
from og_ros.attest.statement import NO_DIGEST
from og_ros.errors import OgError
from og_ros.nodes.source import Source
from og_ros.nodes.witness import Witness
from og_ros.registry import RegistryWriter

IMAGE, TWIST, SCAN = "sensor_msgs/msg/Image", "geometry_msgs/msg/TwistStamped", "sensor_msgs/msg/LaserScan"
DRIVER = """\
import sys

from rclpy.node import Node
from sensor_msgs.msg import Image

from og_ros.nodes.process import run_node
from og_ros.nodes.sensor_signer import SensorSigner


class Camera(Node):
    def __init__(self):
        super().__init__("camera")
        self.sign = SensorSigner(self, source="camera", key="camera.pem", topics=["/image"], robot="r")
        self.images = self.sign.create_publisher(Image, "/image", 10)
        self.create_subscription(Image, "/light", self.images.publish, 10, raw=True)

    def close(self):
        self.sign.close()


sys.exit(run_node(Camera))
"""


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    """A registry, and keys of a source and of an observer."""
    made = {name: keys.generate() for name in ("camera", "planning", "stage")}
    with RegistryWriter.create(tmp_path / "registry", SoftwareSigner(keys.generate()), "fleet") as writer:
        for name, private in made.items():
            keys.save_private(private, tmp_path / f"{name}.pem")
            role = {"camera": "source", "planning": "observer", "stage": "stage"}[name]
            topics = ("/image",) if role == "source" else ()
            stage = "camera" if name == "stage" else name
            writer.certify_key(private.public_key(), role=role, robot="r", stage=stage, topics=topics)
    return tmp_path


def image(number: int) -> bytes:
    return wire.serialize(wire.image(np.full((1, number, 1), number, np.uint8), "mono8"))


def check(attestations: list[Attestation], key: Path) -> None:
    previous = bytes(32)
    for number, attestation in enumerate(attestations):
        verify(attestation, SoftwareSigner.load(key).public_key)
        assert (attestation.statement.sequence, attestation.statement.previous) == (number, previous)
        previous = attestation.digest


def test_a_driver_signs_in_three_lines(peer: Peer, robot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(robot)
    Path("driver.py").write_text(DRIVER)
    images = peer.hear("/image", IMAGE)
    attestations = peer.hear_attestations("/image/attestation")
    light = peer.publisher("/light", IMAGE)
    with running("driver.py") as driver:
        peer.wait_for_publishers("/image/attestation")
        matched(light)
        until(lambda: peer.node.count_publishers("/image"), "the driver's publisher")
        time.sleep(0.3)
        for number in range(1, 11):
            light.publish(image(number))
        until(lambda: len(images) == 10, "every image")
        assert driver.stop() == 0, driver.output
    until(lambda: len(attestations()) == 10, "every attestation")
    check(attestations(), robot / "camera.pem")
    for payload, attestation in zip(images, attestations(), strict=True):
        statement = attestation.statement
        assert statement.inputs == ()
        (output,) = statement.outputs
        assert (output.topic, output.type, output.digest) == ("/image", IMAGE, digest(payload))
        assert output.stamp_ns == 1_500_000_002
        assert (statement.stage, statement.model.digest, statement.mode_used) == ("camera", NO_DIGEST, Mode.SIGNED)


def test_a_source_beside_the_driver_signs_nothing_once_a_stranger_publishes(peer: Peer, robot: Path) -> None:
    attestations = peer.hear_attestations("/image/attestation")
    arguments = node(
        "og_ros.nodes.source", "camera", topics=f"['/image:{IMAGE}']", robot="r", key=robot / "camera.pem",
        registry=robot / "registry", reliability="reliable", driver_node="/peer",
    )  # fmt: skip
    with running(*arguments) as source:
        peer.wait_for_publishers("/image/attestation")
        driver = peer.publisher("/image", IMAGE)
        matched(driver)
        for number in range(1, 6):
            driver.publish(image(number))
        until(lambda: len(attestations()) == 5, "the driver's images")
        stranger = Peer("stranger")
        try:
            second = stranger.publisher("/image", IMAGE)
            matched(second)
            for number in range(6, 9):
                second.publish(image(number))
                driver.publish(image(number + 10))
            delivered(second, driver)
            source.wait_for("it has 2 publishers")
        finally:
            stranger.close()
        until(lambda: peer.node.count_publishers("/image") == 1, "the stranger is gone")
        time.sleep(0.5)
        driver.publish(image(30))
        until(lambda: len(attestations()) == 6, "the driver's next image")
        assert source.stop() == 0
        assert "6 messages signed" in source.output
    check(attestations(), robot / "camera.pem")
    signed = [a.statement.outputs[0].digest for a in attestations()]
    assert signed == [digest(image(number)) for number in (1, 2, 3, 4, 5, 30)]
    assert attestations()[0].statement.runtime.options == "rule=signed as received from the topic's one publisher /peer"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"key": "stage.pem"}, "not as a source of /image"),
        ({"topics": [f"/other:{IMAGE}"]}, "not as a source of /other"),
        ({"topics": ["/image"]}, "give TOPIC:TYPE"),
        ({"topics": [""]}, "topics is empty"),
        ({"topics": ["/image:no_such_msgs/msg/Image"]}, "message type no_such_msgs/msg/Image is not installed"),
        ({"digest": "md5"}, "parameter digest is 'md5'"),
        ({"driver": "no_file"}, "cannot read the model no_file"),
        ({"reliability": "perfect"}, "parameter reliability is 'perfect'"),
    ],
)
def test_a_source_that_may_not_sign_does_not_start(
    peer: Peer, robot: Path, given: dict[str, object], says: str
) -> None:
    terms = {"topics": [f"/image:{IMAGE}"], "key": "camera.pem", "robot": "r", "source": "camera", **given}
    terms |= {"registry": str(robot / "registry"), "key": str(robot / str(terms["key"]))}
    with pytest.raises(OgError, match=says):
        Source(context=peer.context, parameter_overrides=[Parameter(n, value=v) for n, v in terms.items()])


def twist(number: int, stamp: int) -> bytes:
    message = wire.twist_stamped((number, 0, 0), (0, 0, 0))
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    return wire.serialize(message)


def test_a_witness_pairs_by_stamp_and_says_so(peer: Peer, robot: Path) -> None:
    attestations = peer.hear_attestations("/plan/attestation")
    arguments = node(
        "og_ros.nodes.witness", "planning", inputs=f"['/goal:{TWIST}', '/odom:{TWIST}']", outputs=f"['/plan:{TWIST}']",
        robot="r", key=robot / "planning.pem", registry=robot / "registry", reliability="reliable", max_age_ms=60000.0,
    )  # fmt: skip
    with running(*arguments) as witness:
        peer.wait_for_publishers("/plan/attestation")
        goals, odometry, plans = (peer.publisher(topic, TWIST) for topic in ("/goal", "/odom", "/plan"))
        for publisher in (goals, odometry, plans):
            matched(publisher)
        odom = twist(1, 10**12 + 500)
        odometry.publish(odom)
        delivered(odometry)
        sent = [(twist(2, 10**12 + number), twist(3, 10**12 + number)) for number in range(1, 6)]
        for goal, _ in sent:
            goals.publish(goal)
        time.sleep(0.2)
        for _, plan in reversed(sent):
            plans.publish(plan)
        plans.publish(twist(9, 10**12 + 99))  # which no goal began
        until(lambda: len(attestations()) == 5, "five records")
        witness.wait_for("no message on /goal had its stamp")
        assert witness.stop() == 0
        assert "5 outputs observed" in witness.output
    check(attestations(), robot / "planning.pem")
    for (goal, plan), attestation in zip(reversed(sent), attestations(), strict=True):
        statement = attestation.statement
        assert [i.digest for i in statement.inputs] == [digest(goal), digest(odom)]
        assert [o.digest for o in statement.outputs] == [digest(plan)]
        assert (statement.mode_requested, statement.mode_used) == (Mode.OBSERVED, Mode.OBSERVED)
        assert statement.runtime.options == "rule=stamp;first=/goal;max_age_ms=60000"
        assert (statement.model.name, statement.model.digest) == ("not_known", NO_DIGEST)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "causal"}, "parameter rule is 'causal'"),
        ({"outputs": ["/plan:std_msgs/msg/Float32MultiArray"]}, "use rule latest_before"),
        ({"outputs": [f"/goal:{TWIST}"]}, "/goal is among both inputs and outputs"),
        ({"outputs": [""]}, "parameter outputs is empty"),
        ({"inputs": [""]}, "inputs is empty"),
        ({"max_age_ms": -1.0}, "parameter max_age_ms is -1"),
        ({"key": "camera.pem"}, "certified for the role source"),
    ],
)
def test_a_witness_that_cannot_pair_does_not_start(
    peer: Peer, robot: Path, given: dict[str, object], says: str
) -> None:
    terms = {"inputs": [f"/goal:{TWIST}"], "outputs": [f"/plan:{TWIST}"], "robot": "r", "stage": "planning", **given}
    terms |= {"registry": str(robot / "registry"), "key": str(robot / str(terms.get("key", "planning.pem")))}
    with pytest.raises(OgError, match=says):
        Witness(context=peer.context, parameter_overrides=[Parameter(n, value=v) for n, v in terms.items()])
