"""A pipeline file for a lone robot, moved into a namespace."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import describe_nodes
from og_ros.nodes.relative_topics import relative
from og_ros.paths import share_directory
from og_ros.stages.pipeline import load_pipeline

GATE = """
gate:
  input: /wheel_command
  output: /wheels
  key: keys/gate.pem
  hand_over: /hand

sources:
  camera: {topics: ["/camera/image:sensor_msgs/msg/Image"], key: keys/camera.pem, attestation_topic: /camera/signed}

witnesses:
  brake:
    inputs: ["/scan:sensor_msgs/msg/LaserScan"]
    outputs: ["/brake:std_msgs/msg/Bool"]
    key: keys/brake.pem
"""


def test_no_topic_of_a_robot_is_left_global(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    text = (share_directory() / "config" / "demo.yaml").read_text()
    path.write_text(text.replace("topic: /scan,", "topic: /lidar/scan,") + GATE)
    pipeline = load_pipeline(path)
    before = {node.name: node.parameters for node in describe_nodes(pipeline, record=True)}
    after = {node.name: node.parameters for node in describe_nodes(relative(pipeline), record=True)}
    assert before.keys() == after.keys()
    moved = 0
    for name, parameters in after.items():
        for key, value in parameters.items():
            old = before[name][key]
            if value == old:
                items = value if isinstance(value, list) else [value]
                where = [item for item in items if isinstance(item, str) and item.startswith("/")]
                # Paths of files, and what all robots share.
                assert all(Path(item).is_relative_to(tmp_path) or item.startswith("/clock") for item in where), (
                    name,
                    key,
                )
            else:
                moved += 1
                olds, news = (x if isinstance(x, list) else [x] for x in (old, value))
                for o, n in zip(olds, news, strict=True):
                    assert n == (o if o.startswith("/clock:") else o.removeprefix("/"))
    assert moved >= 14
    assert "/clock:rosgraph_msgs/msg/Clock" in after["recorder"]["topics"]
    assert after["gate"]["hand_over"] == "hand"
    assert after["camera"]["topics"] == ["camera/image:sensor_msgs/msg/Image"]
    assert after["camera"]["attestation_topic"] == "camera/signed"
    assert after["brake"]["outputs"] == ["brake:std_msgs/msg/Bool"]
    assert "brake/attestation" in after["auditor"]["attestations"]
    assert after["planning"]["inputs.ranges.topic"] == "lidar/scan"


def test_what_is_relative_stays_so() -> None:
    once = relative(load_pipeline(share_directory() / "config" / "demo.yaml"))
    assert relative(once) == once


def test_two_topics_do_not_become_one(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    text = (share_directory() / "config" / "demo.yaml").read_text()
    path.write_text(text.replace("topic: /scan,", "topic: camera/image,"))
    with pytest.raises(ConfigError, match="has the topics /camera/image and camera/image, which would become one"):
        relative(load_pipeline(path))
