"""Other people's messages through real stages over DDS: nav2's costmap and plan, an arm's camera and joints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import pipeline_messages as other
import wire_messages as wire
from pipeline_models import nav_model, servo_model
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_peer import Peer, matched, node, running, until

from og_ros.attest import SoftwareSigner, digest, keys, verify

STAGES = """\
robot: r
stages:
  nav:
    model: {path: nav.onnx, name: nav}
    key: key.pem
    inputs:
      costmap:
        topic: /local_costmap/costmap
        type: nav_msgs/msg/OccupancyGrid
        options: {size: [3, 2]}
        qos: {durability: transient_local, depth: 1}     # as nav2 publishes it
      plan: {topic: /plan, type: nav_msgs/msg/Path, options: {points: 3}, trigger: true}
    outputs:
      command: {topic: /cmd_vel, type: geometry_msgs/msg/Twist}
  servo:
    model: {path: servo.onnx, name: servo}
    key: key.pem
    inputs:
      image:
        topic: /camera/image_raw/compressed
        type: sensor_msgs/msg/CompressedImage
        options: {channels: rgb, dtype: float32, layout: chw, batch: true}
      state: {topic: /joint_states, type: sensor_msgs/msg/JointState, trigger: true, options: {joints: [a, b]}}
    outputs:
      command: {topic: /forward_controller/commands, type: std_msgs/msg/Float64MultiArray}
"""


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def test_navigation_and_an_arm(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(STAGES)
    (tmp_path / "nav.onnx").write_bytes(nav_model())
    (tmp_path / "servo.onnx").write_bytes(servo_model())
    keys.save_private(keys.generate(), tmp_path / "key.pem")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    costmaps = peer.publisher("/local_costmap/costmap", "nav_msgs/msg/OccupancyGrid", latched)
    costmap = wire.serialize(other.grid(np.array([[0, 70, -1], [50, 1, 2]])))
    costmaps.publish(costmap)  # before anybody listens
    plans = peer.publisher("/plan", "nav_msgs/msg/Path")
    images = peer.publisher("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
    joints = peer.publisher("/joint_states", "sensor_msgs/msg/JointState")
    twists = peer.hear("/cmd_vel", "geometry_msgs/msg/Twist")
    commands = peer.hear("/forward_controller/commands", "std_msgs/msg/Float64MultiArray")
    said = {
        "/cmd_vel": peer.hear_attestations("/cmd_vel/attestation"),
        "/forward_controller/commands": peer.hear_attestations("/forward_controller/commands/attestation"),
    }
    image = np.full((6, 8, 3), 8, np.uint8)
    compressed = wire.serialize(other.compressed(cv2.imencode(".png", image)[1].tobytes(), "rgb8; png compressed bgr8"))
    state = wire.serialize(other.joint_state(["b", "gripper", "a"], [0.5, 9.0, 0.25]))
    plan = wire.serialize(other.path([(0, 1), (2, 3), (4, 5)]))
    module = "og_ros.nodes.stage"
    with (
        running(*node(module, "nav", pipeline=tmp_path / "pipeline.yaml")) as nav,
        running(*node(module, "servo", pipeline=tmp_path / "pipeline.yaml")) as servo,
    ):
        for publisher in (costmaps, plans, images, joints):
            matched(publisher)
        until(lambda: peer.node.count_publishers("/cmd_vel/attestation"), "nav's publisher")
        time.sleep(0.5)
        images.publish(compressed)
        time.sleep(0.3)
        joints.publish(state)
        plans.publish(plan)
        until(lambda: twists and commands and all(one() for one in said.values()), "commands and attestations")
        assert (nav.stop(), servo.stop()) == (0, 0), nav.output + servo.output
    twist = wire.deserialize(twists[0], "geometry_msgs/msg/Twist")
    assert (twist.linear.x, twist.angular.z) == (70.0, 5.0)
    assert wire.deserialize(commands[0], "std_msgs/msg/Float64MultiArray").data.tolist() == [8.25, 8.5]
    for topic, inputs, output in (
        ("/cmd_vel", (costmap, plan), twists[0]),
        ("/forward_controller/commands", (compressed, state), commands[0]),
    ):
        attestation = said[topic]()[0]
        verify(attestation, SoftwareSigner.load(tmp_path / "key.pem").public_key)
        # The hash is over the messages as they travelled: the compressed image, not its pixels.
        assert [i.digest for i in attestation.statement.inputs] == [digest(payload) for payload in inputs]
        assert [o.digest for o in attestation.statement.outputs] == [digest(output)]
