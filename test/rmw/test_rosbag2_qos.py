"""The shipped QoS overrides and topic pattern for `ros2 bag record`: they fit what running nodes offer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS is not installed")
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

if TYPE_CHECKING:
    from running_graph import Graph

FOLDER = Path(__file__).resolve().parents[2] / "config" / "rosbag2"
# rosbag2's format: these keys, and the short names of the policies.
POLICIES = {"history": HistoryPolicy, "reliability": ReliabilityPolicy, "durability": DurabilityPolicy}


def overrides() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((FOLDER / "qos_overrides.yaml").read_text())


def profile(entry: dict[str, Any]) -> QoSProfile:
    chosen = {name: kind.get_from_short_key(entry[name]) for name, kind in POLICIES.items()}
    return QoSProfile(depth=entry.get("depth", 0), liveliness=LivelinessPolicy.AUTOMATIC, **chosen)


def test_the_file_has_the_form_that_rosbag2_reads() -> None:
    for topic, entry in overrides().items():
        assert topic.startswith("/"), topic
        assert set(POLICIES) <= set(entry) <= {*POLICIES, "depth"}, topic
        assert (entry["history"] == "keep_last") == ("depth" in entry), topic
        profile(entry)


@pytest.mark.slow
def test_a_recorder_with_the_overrides_hears_all_that_is_offered(demo_graph: Graph) -> None:
    asked = {topic: profile(entry) for topic, entry in overrides().items()}
    # Published by people, not by the robot.
    for topic in set(asked) - {"/og_ros/emergency_stop"}:
        assert demo_graph.offered.get(topic), f"nobody publishes {topic}"
        for offered in demo_graph.offered[topic]:
            compatibility, reason = qos_check_compatible(offered, asked[topic])
            assert compatibility == QoSCompatibility.OK, f"{topic}: {reason}"
            assert offered.durability == asked[topic].durability, topic
            assert asked[topic].history == HistoryPolicy.KEEP_ALL or asked[topic].depth >= offered.depth, topic
    attestations = {topic for topic in demo_graph.offered if topic.endswith("/attestation")}
    assert attestations
    assert attestations <= set(asked)


@pytest.mark.slow
def test_the_pattern_takes_every_topic_of_ours_and_no_other(demo_graph: Graph) -> None:
    pattern = re.compile((FOLDER / "topics_regex.txt").read_text().strip())
    taken = {topic for topic in demo_graph.offered if pattern.search(topic)}
    ours = {topic for topic in demo_graph.offered if re.search("/attestation$|^/auditor/|^/gate/verdict", topic)}
    assert taken == ours
    for topic in ("/og_ros/emergency_stop", "/robot_7/auditor/finding", "/robot_7/gate/verdict/attestation"):
        assert pattern.search(topic), topic
    for topic in ("/camera/image", "/auditor/transition_event", "/navigator/status", "/attestation_count"):
        assert not pattern.search(topic), topic
