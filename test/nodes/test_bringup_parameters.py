"""The sections of a pipeline file have the very parameters of the nodes that they are for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import rclpy
from rclpy.parameter import Parameter

from og_ros.attest.keys import generate, save_private
from og_ros.nodes.auditor import AuditorNode
from og_ros.nodes.recorder import Recorder
from og_ros.nodes.sections import AuditorSection, RecorderSection, SourceSection, WitnessSection
from og_ros.nodes.source import Source
from og_ros.nodes.witness import Witness

OF_RCLPY = {"use_sim_time", "start_type_description_service"}


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=81 + os.getpid() % 9)
    yield context
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(
    ("make", "section", "given"),
    [(AuditorNode, AuditorSection, {}), (Recorder, RecorderSection, {"output": "bag", "all": True})],
    ids=["auditor", "recorder"],
)
def test_section_is_the_nodes_parameters(
    context: rclpy.Context, tmp_path: Path, make: Any, section: type, given: dict[str, Any]
) -> None:
    values = given | ({"output": str(tmp_path / "bag")} if given else {})
    node = make(context=context, parameter_overrides=[Parameter(name, value=value) for name, value in values.items()])
    declared = {name for name in node.list_parameters([], 0).names if not name.startswith("qos_overrides")} - OF_RCLPY
    node.close()
    node.destroy_node()
    assert {field.name for field in fields(section)} == declared


TWIST = "geometry_msgs/msg/TwistStamped"


@pytest.mark.parametrize(
    ("make", "section", "name", "given"),
    [
        (Source, SourceSection, "source", {"topics": [f"/odom:{TWIST}"]}),
        (Witness, WitnessSection, "stage", {"inputs": [f"/goal:{TWIST}"], "outputs": [f"/plan:{TWIST}"]}),
    ],
    ids=["source", "witness"],
)
def test_section_and_its_name_are_the_nodes_parameters(
    context: rclpy.Context, tmp_path: Path, make: Any, section: type, name: str, given: dict[str, Any]
) -> None:
    save_private(generate(), tmp_path / "key.pem")
    given = given | {"key": str(tmp_path / "key.pem")}
    node = make(context=context, parameter_overrides=[Parameter(key, value=value) for key, value in given.items()])
    declared = {name for name in node.list_parameters([], 0).names if not name.startswith("qos_overrides")} - OF_RCLPY
    node.close()
    node.destroy_node()
    assert {field.name for field in fields(section)} | {name} == declared
