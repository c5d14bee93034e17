"""The section gate of a pipeline file: what follows from the stages, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")
from og_ros.errors import ConfigError
from og_ros.nodes.bringup import describe_nodes
from og_ros.paths import share_directory
from og_ros.stages.pipeline import load_pipeline

GATE = "gate: {output: /wheels, key: keys/gate.pem, neutral: {data: [0.0, 0.0]}}\n"


def parameters(directory: Path, section: str = GATE, **options: bool) -> dict[str, object]:
    path = directory / "pipeline.yaml"
    path.write_text((share_directory() / "config" / "demo.yaml").read_text() + section)
    nodes = {node.name: node for node in describe_nodes(load_pipeline(path), record=True, **options)}
    return {name: dict(node.parameters) for name, node in nodes.items()}


def test_what_follows_from_the_stages(tmp_path: Path) -> None:
    nodes = parameters(tmp_path)
    gate = nodes["gate"]
    assert isinstance(gate, dict)
    assert gate["input"] == "/wheel_command"
    assert gate["type"] == "std_msgs/msg/Float32MultiArray"
    assert gate["stages"] == ["perception", "planning", "control"]
    assert {str(text).partition(":")[0] for text in gate["sensors"]} == {"/camera/image", "/scan", "/odom"}
    assert gate["attestations"][-1] == "/wheel_command/attestation"
    assert gate["registry"] == str(tmp_path / "registry")
    assert gate["key"] == str(tmp_path / "keys/gate.pem")
    assert gate["neutral"] == ["data=[0.0, 0.0]"]
    assert gate["autostart"] is True
    auditor = nodes["auditor"]
    assert isinstance(auditor, dict)
    assert "gate/verdict/attestation" in auditor["attestations"]
    assert "gate" not in parameters(tmp_path, gate=False)
    assert "gate" not in parameters(tmp_path, "")


def test_envelopes_lie_beside_the_file(tmp_path: Path) -> None:
    section = "gate: {output: /wheels, key: k.pem, envelopes: [fleet.dsse.json, night.dsse.json], state: kept}\n"
    gate = parameters(tmp_path, section)["gate"]
    assert isinstance(gate, dict)
    assert gate["envelopes"] == [str(tmp_path / "fleet.dsse.json"), str(tmp_path / "night.dsse.json")]
    assert gate["state"] == str(tmp_path / "kept")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("gate: {key: k.pem}\n", "gate.output is missing"),
        ("gate: {output: /wheels}\n", "gate.key is missing"),
        ("gate: {output: /wheel_command, key: k.pem}\n", "commands would pass beside the gate"),
        ("gate: {output: /wheels, key: k.pem, input: /scan}\n", "which no stage of the pipeline publishes"),
        ("gate: {output: /wheels, key: k.pem, dedline: 1.0}\n", "gate.dedline is not known"),
    ],
)
def test_mistakes_name_file_and_field(tmp_path: Path, section: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        parameters(tmp_path, section)
    assert "pipeline.yaml" in str(caught.value)
