"""An engineer's own node with three lines more: what it hears and says is attested by its wire bytes."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import numpy as np
import rclpy
import wire_messages as wire
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from ros_peer import DOMAIN, Peer, matched, running, until
from sensor_msgs.msg import LaserScan

from og_ros.attest import SoftwareSigner, digest, keys, verify
from og_ros.errors import AttestationError, ConfigError, KeyFileError, ModelError
from og_ros.nodes.attested import Attestor, attested

NODE = """\
import sys

from geometry_msgs.msg import Twist
from rclpy.node import Node
from sensor_msgs.msg import Image

from og_ros.nodes.attested import Attestor
from og_ros.nodes.process import run_node


class Planner(Node):
    def __init__(self):
        super().__init__("planner")
        self.attest = Attestor(self, stage="planning", model=__file__, key="planning.pem")
        self.commands = self.attest.create_publisher(Twist, "/cmd_vel", 10)
        self.attest.create_subscription(Image, "/image", self.on_image, 10)

    def on_image(self, image):
        command = Twist()
        command.linear.x = image.data[0] / 255
        self.commands.publish(command)

    def close(self):
        self.attest.close()


sys.exit(run_node(Planner))
"""


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def test_three_lines_in_a_node_of_its_own_process(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("planner.py").write_text(NODE)
    keys.save_private(keys.generate(), Path("planning.pem"))
    commands = peer.hear("/cmd_vel", "geometry_msgs/msg/Twist", 1000)
    attestations = peer.hear_attestations("/cmd_vel/attestation")
    images = peer.publisher("/image", "sensor_msgs/msg/Image")
    sent = [wire.serialize(wire.image(np.full((1, n, 1), n, np.uint8), "mono8")) for n in range(1, 11)]
    assert {len(payload) % 4 for payload in sent} == {0, 1, 2, 3}, "payloads that DDS pads, and such that it does not"
    with running("planner.py") as planner:
        peer.wait_for_publishers("/cmd_vel/attestation")
        matched(images)
        for payload in sent:
            images.publish(payload)
        until(lambda: len(commands) >= len(sent), "every command")
        assert planner.stop() == 0, planner.output
        assert "Traceback" not in planner.output
    until(lambda: len(attestations()) >= len(sent), "every attestation")
    public = SoftwareSigner.load(Path("planning.pem")).public_key
    source = Path("planner.py").read_bytes()
    previous = bytes(32)
    for number, (image, command, attestation) in enumerate(zip(sent, commands, attestations(), strict=True)):
        verify(attestation, public)
        statement = attestation.statement
        assert (statement.sequence, statement.previous) == (number, previous)
        assert (statement.stage, statement.node, statement.robot) == ("planning", "/planner", "robot")
        assert statement.model.digest == hashlib.sha256(source).digest()
        assert (statement.model.name, statement.model.format) == ("planner", "rules")
        assert [(i.topic, i.type, i.digest) for i in statement.inputs] == [
            ("/image", "sensor_msgs/msg/Image", digest(image))
        ]
        assert [(o.topic, o.type, o.digest) for o in statement.outputs] == [
            ("/cmd_vel", "geometry_msgs/msg/Twist", digest(command))
        ]
        assert statement.inputs[0].stamp_ns == 1_500_000_002
        previous = attestation.digest


class Controller(Node):
    """Uses all the ways in: a timerless mix of two inputs, the decorator, the context manager, its own publisher."""

    def __init__(self, context: rclpy.Context, directory: Path) -> None:
        super().__init__("controller", context=context)
        self.attest = Attestor(
            self, stage="control", model_digest=b"d" * 32, model_name="gains", key=directory / "k.pem", robot="r"
        )
        self.out = self.attest.create_publisher(TwistStamped, "/out", 10)
        self.plain = self.create_publisher(Twist, "/plain", 10)
        self.odometry: Odometry | None = None
        self.attest.create_subscription(Odometry, "/odom", self.on_odometry, 10)
        self.attest.create_subscription(LaserScan, "/scan", self.on_scan, 10)
        self.mode = "decorated"
        self.errors: list[Exception] = []

    def on_odometry(self, message: Odometry) -> None:
        self.odometry = message

    def on_scan(self, scan: LaserScan) -> None:
        if self.odometry is None:
            return
        if self.mode == "decorated":
            self.control(scan, gain=2, odometry=self.odometry)
        elif self.mode == "context":
            with self.attest.inference(self.odometry, scan) as run:
                self.out.publish(TwistStamped())
                run.publish(self.plain, Twist())
        elif self.mode == "failing":
            self.out.publish(TwistStamped())
            try:
                with self.attest.inference(LaserScan()):
                    pass
            except AttestationError as error:
                self.errors.append(error)

    @attested
    def control(self, scan: LaserScan, gain: int, odometry: Odometry) -> None:
        """Doc."""
        command = TwistStamped(header=scan.header)
        command.twist.linear.x = gain * odometry.twist.twist.linear.x
        self.out.publish(command)


def test_every_way_to_say_what_an_inference_is(peer: Peer, tmp_path: Path) -> None:
    keys.save_private(keys.generate(), tmp_path / "k.pem")
    attestations = peer.hear_attestations("/out/attestation")
    outputs, plains = (
        peer.hear("/out", "geometry_msgs/msg/TwistStamped"),
        peer.hear("/plain", "geometry_msgs/msg/Twist"),
    )
    controller = Controller(peer.context, tmp_path)
    peer.executor.add_node(controller)
    scans = peer.publisher("/scan", "sensor_msgs/msg/LaserScan")
    odometries = peer.publisher("/odom", "nav_msgs/msg/Odometry")
    odometry = wire.serialize(wire.odometry((0, 0, 0, 0, 0, 0, 1), (0.5, 0, 0), (0, 0, 0)))
    scan = wire.serialize(wire.scan([1.0]))
    for publisher in (scans, odometries):
        matched(publisher)
    odometries.publish(odometry)
    until(lambda: controller.odometry is not None, "the odometry")
    for number, mode in enumerate(["decorated", "context", "failing"], 1):
        controller.mode = mode
        scans.publish(scan)
        until(lambda n=number: len(attestations()) >= n, mode)
    decorated, context, failing = (a.statement for a in attestations())
    assert [i.digest for i in decorated.inputs] == [digest(scan), digest(odometry)]
    assert wire.deserialize(outputs[0], "geometry_msgs/msg/TwistStamped").twist.linear.x == 1.0
    assert decorated.outputs[0].stamp_ns == 1_500_000_002
    assert [i.digest for i in context.inputs] == [digest(odometry), digest(scan)]
    assert [o.digest for o in context.outputs] == [digest(outputs[1]), digest(plains[0])]
    assert (context.model.name, context.model.digest, context.model.format) == ("gains", b"d" * 32, "unknown")
    assert [i.digest for i in failing.inputs] == [digest(scan)]
    assert "did not come through" in str(controller.errors[0]) or "is not one of" in str(controller.errors[0])
    with pytest.raises(AttestationError, match="/out: published outside an inference"):
        controller.out.publish(TwistStamped())
    with pytest.raises(AttestationError, match="at least one message"):
        controller.control(LaserScan(), 1, Odometry())
    assert controller.control.__doc__ == "Doc."
    assert len(inspect.signature(controller.control).parameters) == 3
    controller.attest.close()
    controller.destroy_node()
    assert len(outputs) == 3


def test_wrong_set_up_is_refused(tmp_path: Path) -> None:
    keys.save_private(keys.generate(), tmp_path / "k.pem")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = Node("wrong", context=context)
    try:
        with pytest.raises(ConfigError, match="either model"):
            Attestor(node, stage="s", key=tmp_path / "k.pem")
        with pytest.raises(ModelError, match=r"nowhere\.pt"):
            Attestor(node, stage="s", key=tmp_path / "k.pem", model="nowhere.pt")
        with pytest.raises(ConfigError, match="no installed Python package"):
            Attestor(node, stage="s", key=tmp_path / "k.pem", model=__file__, framework="no_such_framework")
        (tmp_path / "k.pem").chmod(0o644)
        with pytest.raises(KeyFileError, match="chmod 600"):
            Attestor(node, stage="s", key=tmp_path / "k.pem", model=__file__)
        with pytest.raises(ConfigError, match="has no Attestor"):
            Controller.control(node, LaserScan(), 1, Odometry())  # type: ignore[arg-type]
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
