"""What `og-ros run` finds before it starts a node: one line, with the stage's name, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_onnx import weighted_sum

from og_ros.attest import SoftwareSigner, keys
from og_ros.cli.main import main
from og_ros.errors import OgError
from og_ros.registry import RegistryWriter
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import load_pipeline
from og_ros.stages.preflight import check_stages

NOW_NS = 10**18
PIPELINE = """\
robot: r
registry: registry
stages:
  adder:
    model: {path: adder.onnx, name: adder, version: 1.0.0}
    key: adder.pem
    inputs:
      a: {topic: /a, type: geometry_msgs/msg/TwistStamped, trigger: true}
      b: {topic: /b, type: geometry_msgs/msg/Twist}
    outputs:
      y: {topic: /y, type: geometry_msgs/msg/TwistStamped}
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Write a pipeline whose model and key are certified."""
    (tmp_path / "adder.onnx").write_bytes(weighted_sum(2))
    key = keys.generate()
    keys.save_private(key, tmp_path / "adder.pem")
    file = tmp_path / "pipeline.yaml"
    file.write_text(PIPELINE)
    digest = Inference.configure(load_pipeline(file).stages["adder"]).model.digest
    authority = SoftwareSigner(keys.generate())
    with RegistryWriter.create(tmp_path / "registry", authority, "fleet", now_ns=10**9) as writer:
        writer.certify_model("adder", "1.0.0", digest, stages=("adder",), not_before_ns=10**9)
        writer.certify_key(key.public_key(), robot="r", stage="adder", not_before_ns=10**9)
    return file


def test_what_would_start_passes(pipeline: Path) -> None:
    check_stages(load_pipeline(pipeline), NOW_NS)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a: {topic", "c: {topic", "stage adder: inputs.c: .* has no tensor 'c'; it has a"),
        ("version: 1.0.0", "version: 2.0.0", "stage adder: model adder@2.0.0 .* is certified as adder@1.0.0"),
        ("adder.onnx", "other.onnx", "stage adder: cannot read the model"),
        ("adder.pem", "other.pem", "stage adder: .*other.pem"),
        ("robot: r", "robot: s", "stage adder: .*robot"),
        ("registry: registry", "registry: nowhere", "stage adder: .*nowhere"),
    ],
)
def test_what_would_not_start(pipeline: Path, old: str, new: str, said: str) -> None:
    assert PIPELINE.count(old) == 1
    pipeline.write_text(PIPELINE.replace(old, new))
    with pytest.raises(OgError, match=said) as raised:
        check_stages(load_pipeline(pipeline), NOW_NS)
    assert "\n" not in str(raised.value)


def test_certificates_are_asked_for_only_where_they_are_demanded(pipeline: Path) -> None:
    changed = PIPELINE.replace("version: 1.0.0", "version: 2.0.0").replace(
        "key: adder.pem", "key: adder.pem\n    require_certified: false"
    )
    pipeline.write_text(changed)
    check_stages(load_pipeline(pipeline), NOW_NS)


def test_a_start_that_fails_leaves_no_recording(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
    pipeline.write_text(PIPELINE.replace("version: 1.0.0", "version: 2.0.0"))
    out = pipeline.parent / "run1"
    assert main(["run", str(pipeline), "--record", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()
