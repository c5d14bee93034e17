"""From a pipeline file to the nodes that it stands for, without ROS."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_ros.errors import ConfigError
from og_ros.nodes.bringup import NodeDescription, describe_nodes, sensor_topics
from og_ros.paths import share_directory
from og_ros.stages.pipeline import from_parameters, load_pipeline

STAGES = """\
robot: r1
registry: registry
registry_root: "sha256:ab"
stages:
  see:
    model: {path: m/see.onnx, name: see}
    key: keys/see.pem
    inputs: {image: {topic: /camera, type: sensor_msgs/msg/Image}}
    outputs: {line: {topic: /line, type: std_msgs/msg/Float32MultiArray}}
  act:
    model: {path: m/act.onnx, name: act}
    key: keys/act.pem
    inputs:
      line: {topic: /line, type: std_msgs/msg/Float32MultiArray, trigger: true}
      odom: {topic: /odom, type: nav_msgs/msg/Odometry}
    outputs: {wheels: {topic: /wheels, type: std_msgs/msg/Float32MultiArray}}
"""


def describe(folder: Path, text: str, **options: bool) -> dict[str, NodeDescription]:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return {node.name: node for node in describe_nodes(load_pipeline(path), **options)}


def test_one_node_a_stage_and_listeners_first(tmp_path: Path) -> None:
    nodes = describe(tmp_path, STAGES + "recorder: {output: bag}\n", auditor=True, record=True)
    assert list(nodes) == ["auditor", "recorder", "see", "act"]
    assert [node.executable for node in nodes.values()] == ["auditor", "recorder", "stage", "stage"]
    assert [node.lifecycle for node in nodes.values()] == [False, False, True, True]
    assert list(describe(tmp_path, STAGES, auditor=False)) == ["see", "act"]


def test_stage_parameters_are_the_stage(tmp_path: Path) -> None:
    nodes = describe(tmp_path, STAGES, autostart=False, use_sim_time=True)
    pipeline = load_pipeline(tmp_path / "pipeline.yaml")
    for name, stage in pipeline.stages.items():
        parameters = dict(nodes[name].parameters)
        assert parameters.pop("autostart") is False
        assert parameters.pop("use_sim_time") is True
        assert from_parameters(parameters) == stage


def test_a_stage_is_the_same_whatever_the_order_of_its_parameters(tmp_path: Path) -> None:
    parameters = dict(describe(tmp_path, STAGES)["act"].parameters)
    for own in ("autostart", "use_sim_time"):
        del parameters[own]
    orders = (sorted(parameters), sorted(parameters, reverse=True))
    stages = [from_parameters({name: parameters[name] for name in order}) for order in orders]
    assert [list(stage.inputs) for stage in stages] == [["line", "odom"]] * 2
    assert stages[0] == stages[1] == load_pipeline(tmp_path / "pipeline.yaml").stages["act"]


def test_recorder_takes_what_the_pipeline_says_and_attests(tmp_path: Path) -> None:
    nodes = describe(tmp_path, STAGES + "recorder: {output: bag}\n", record=True, use_sim_time=True)
    assert nodes["recorder"].parameters == {
        "output": str(tmp_path / "bag"),
        "use_sim_time": False,
        "topics": [
            "/camera:sensor_msgs/msg/Image",
            "/line:std_msgs/msg/Float32MultiArray",
            "/line/attestation:og_ros/msg/Attestation",
            "/odom:nav_msgs/msg/Odometry",
            "/wheels:std_msgs/msg/Float32MultiArray",
            "/wheels/attestation:og_ros/msg/Attestation",
            "auditor/finding:og_ros/msg/Finding",
            "auditor/checkpoint:og_ros/msg/Checkpoint",
        ],
    }
    nodes = describe(tmp_path, STAGES + "recorder: {output: bag, topics: [/odom], compression: zstd}\n", record=True)
    assert nodes["recorder"].parameters["topics"] == ["/odom"]
    assert nodes["recorder"].parameters["compression"] == "zstd"


def test_auditor_takes_what_the_pipeline_knows(tmp_path: Path) -> None:
    parameters = describe(tmp_path, STAGES)["auditor"].parameters
    assert parameters == {
        "robot": "r1",
        "registry": str(tmp_path / "registry"),
        "registry_root": "sha256:ab",
        "topics": ["/camera", "/odom"],
        "attestations": ["/line/attestation", "/wheels/attestation"],
        "use_sim_time": False,
    }


def test_sections_override_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    section = "auditor: {robot: other, ledger: l, log_key: /k.pem, topics: [], horizon: 3, check_data: false}\n"
    nodes = describe(tmp_path, STAGES + section + "recorder: {output: a/bag}\n", record=True)
    parameters = nodes["auditor"].parameters
    assert parameters["robot"] == "other"
    assert parameters["ledger"] == str(tmp_path / "l")
    assert parameters["log_key"] == "/k.pem"
    assert parameters["topics"] == [""]
    assert parameters["horizon"] == 3.0
    assert isinstance(parameters["horizon"], float)
    assert parameters["check_data"] is False
    assert nodes["recorder"].parameters["output"] == str(tmp_path / "a/bag")


@pytest.mark.parametrize(
    ("extra", "line", "words"),
    [
        ("auditer: {}\n", 17, "auditer is not known"),
        ("auditor: {polcy: p.yaml}\n", 17, "auditor.polcy is not known"),
        ("auditor: {horizon: long}\n", 17, "auditor.horizon is 'long'"),
        ("recorder: {}\n", 17, "recorder.output is missing"),
        ("recorder: {output: 7}\n", 17, "recorder.output is 7"),
    ],
)
def test_a_mistake_names_file_line_and_field(tmp_path: Path, extra: str, line: int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        describe(tmp_path, STAGES + extra, record=True)
    assert str(caught.value).startswith(f"{tmp_path / 'pipeline.yaml'}:{line}: {words}")


def test_a_stage_cannot_take_the_auditors_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pipeline.yaml:10: stages.auditor has the name of another node"):
        describe(tmp_path, STAGES.replace("  act:", "  auditor:"))


def test_demo_pipeline_has_three_stages_and_both_listeners() -> None:
    pipeline = load_pipeline(share_directory() / "config" / "demo.yaml")
    names = [node.name for node in describe_nodes(pipeline, auditor=True, record=True)]
    assert names == ["auditor", "recorder", "perception", "planning", "control"]
    assert sensor_topics(pipeline) == ["/camera/image", "/scan", "/odom"]


SEEN = """\
sources:
  camera: {topics: ["/camera:sensor_msgs/msg/Image"], key: keys/camera.pem, reliability: reliable}
witnesses:
  drive:
    inputs: ["/wheels:std_msgs/msg/Float32MultiArray"]
    outputs: ["/motors:std_msgs/msg/Float32MultiArray"]
    key: keys/drive.pem
    rule: latest_before
    max_age_ms: 50
gate: {output: /gated, key: keys/gate.pem}
recorder: {output: bag}
"""


def test_sources_and_witnesses_start_before_the_stages_and_are_heard_by_all(tmp_path: Path) -> None:
    nodes = describe(tmp_path, STAGES + SEEN, record=True)
    assert list(nodes) == ["auditor", "recorder", "gate", "camera", "drive", "see", "act"]
    assert (nodes["camera"].executable, nodes["drive"].executable) == ("source", "witness")
    assert nodes["camera"].parameters == {
        "source": "camera", "robot": "r1", "registry": str(tmp_path / "registry"), "registry_root": "sha256:ab",
        "topics": ["/camera:sensor_msgs/msg/Image"], "key": str(tmp_path / "keys/camera.pem"),
        "reliability": "reliable", "use_sim_time": False,
    }  # fmt: skip
    assert nodes["drive"].parameters["stage"] == "drive"
    assert nodes["drive"].parameters["max_age_ms"] == 50.0
    attestations = ["/camera/attestation", "/line/attestation", "/wheels/attestation", "/motors/attestation"]
    assert nodes["auditor"].parameters["attestations"] == [*attestations, "gate/verdict/attestation"]
    assert nodes["auditor"].parameters["topics"] == ["/camera", "/odom"]
    gate = nodes["gate"].parameters
    assert (gate["input"], gate["stages"]) == ("/motors", ["see", "act", "drive"])
    assert gate["attestations"] == attestations
    assert gate["sensors"] == ["/camera:sensor_msgs/msg/Image", "/odom:nav_msgs/msg/Odometry"]
    recorded = nodes["recorder"].parameters["topics"]
    assert {f"{topic}:og_ros/msg/Attestation" for topic in attestations} < set(recorded)
    assert "/motors:std_msgs/msg/Float32MultiArray" in recorded


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sources: {see: {topics: ['/camera:sensor_msgs/msg/Image'], key: k}}", "stages.see has the name of another"),
        (
            "sources: {camera: {topics: [/camera], key: k}}",
            "sources.camera.topics must list topics, each as TOPIC:TYPE",
        ),
        ("sources: {camera: {topics: ['/camera:a/msg/B']}}", "sources.camera.key is missing"),
        ("sources: {camera: 3}", "sources.camera must be a mapping"),
        ("witnesses: {gate: {inputs: ['/a:a/msg/B'], outputs: ['/b:a/msg/B'], key: k}}", "witnesses.gate has the name"),
        ("witnesses: {w: {inputs: [], outputs: ['/b:a/msg/B'], key: k}}", "witnesses.w.inputs must list topics"),
        ("observers: {}", "sections beside stages are sources, witnesses, auditor, recorder, gate"),
    ],
)
def test_a_section_of_a_source_or_witness_that_cannot_be(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        describe(tmp_path, f"{STAGES}{text}\n")
