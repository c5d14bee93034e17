"""audit_replay.launch.py over real ROS launch: it ends by itself, and its exit code is the verdict."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
WALKER = ROOT.parent / "shared" / "data" / "bags" / "gazebo_walker"
PIPELINE = """\
robot: walker
registry: registry
stages:
  control:
    model: {path: wheel_control.onnx, name: wheel_control, version: 1.0.0}
    key: keys/control.pem
    inputs:
      reference: {topic: /cmd_vel, type: geometry_msgs/msg/Twist, attestation: none}
      measured:
        topic: /odom
        type: nav_msgs/msg/Odometry
        trigger: true
        attestation: none
        options: {fields: [twist.linear.x, twist.angular.z]}
    outputs:
      wheels: {topic: /wheel_command, type: std_msgs/msg/Float32MultiArray}
auditor: {ledger: ledger, log_key: keys/log.pem, log_origin: fleet/walker}
recorder: {output: run1}
"""


def recording() -> Path:
    """Return the recording of a TurtleBot3 in Gazebo, with /clock; skips where there is none."""
    found = Path(os.environ.get("OG_ROS_GAZEBO_BAG", WALKER))
    if not (found / "metadata.yaml").is_file():
        pytest.skip(f"no recording of Gazebo in {found} (github.com/Surya-Sriramoju/gazebo_walker, results/rosbag)")
    return found


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Make model, keys and registry of a wheel controller; returns its pipeline file."""
    pytest.importorskip("onnxruntime", reason="the stages need onnxruntime: extra `robot` of og_ros")
    from og_ros.attest import Algorithm, SoftwareSigner, keys
    from og_ros.registry import RegistryWriter
    from og_ros.stages.inference import Inference
    from og_ros.stages.pipeline import load_pipeline

    model = ROOT / "og_ros" / "sim" / "models" / "wheel_control.onnx"
    (tmp_path / "wheel_control.onnx").write_bytes(model.read_bytes())
    path = tmp_path / "pipeline.yaml"
    path.write_text(PIPELINE)
    for name in ("control", "authority"):
        keys.save_private(keys.generate(), tmp_path / "keys" / f"{name}.pem")
    keys.save_private(keys.generate(Algorithm.EDDSA), tmp_path / "keys" / "log.pem")
    stage = load_pipeline(path).stages["control"]
    authority = SoftwareSigner.load(tmp_path / "keys" / "authority.pem")
    with RegistryWriter.create(tmp_path / "registry", authority, "fleet") as writer:
        inference = Inference.configure(stage)
        writer.certify_model(
            "wheel_control",
            "1.0.0",
            inference.model.digest,
            stages=("control",),
            processing_digest=inference.runtime.processing_digest,
        )
        writer.certify_key(SoftwareSigner.load(stage.key).public_key, robot="walker", stage="control")
        log = keys.load_private(tmp_path / "keys" / "log.pem").public_key()
        writer.certify_key(log, role="log", origin="fleet/walker")
    return path


def test_a_recording_of_gazebo_runs_by_its_clock_and_holds(run_launch: Callable[..., Any], pipeline: Path) -> None:
    from og_ros.attest import Clock, decode_attestation
    from og_ros.audit.recording.bag import open_bag
    from og_ros.audit.run import audit_bag
    from og_ros.registry import Registry

    bag = recording()
    launched = run_launch("audit_replay.launch.py", f"bag:={bag}", f"pipeline:={pipeline}", "rate:=8.0", "record:=true")
    assert launched.ends(60) == 0, launched.output
    assert "HOLDS: " in launched.output
    assert not launched.errors
    assert "Traceback" not in launched.output

    folder = pipeline.parent
    report = audit_bag(folder / "run1", Registry.open(folder / "registry"), folder / "ledger")
    assert report.verdict.value == "holds", report.as_json()["findings"]
    with open_bag(folder / "run1") as made:
        statements = [
            decode_attestation(bytes(record.payload)).statement
            for record in made.records(["/wheel_command/attestation"])
        ]
    # 810 odometries; those before the first /cmd_vel start no inference.
    assert len(statements) > 400
    assert {statement.clock for statement in statements} == {Clock.SIM}
    # The simulation's own seconds, not those of the day on which it was recorded.
    with sqlite3.connect(f"file:{next(bag.glob('*.db3'))}?mode=ro&immutable=1", uri=True) as database:
        (first,) = database.execute("SELECT min(timestamp) FROM messages").fetchone()
    assert max(statement.start_ns for statement in statements) < first / 1000


def test_a_chain_that_does_not_hold_ends_it_with_one(run_launch: Callable[..., Any], pipeline: Path) -> None:
    text = pipeline.read_text().replace("version: 1.0.0}", "version: 9.9.9}")
    pipeline.write_text(text.replace("    key:", "    require_certified: false\n    key:"))
    options = ("rate:=20.0", "settle:=1.0")
    launched = run_launch("audit_replay.launch.py", f"bag:={recording()}", f"pipeline:={pipeline}", *options)
    assert launched.ends(60) == 1, launched.output
    assert "VIOLATED: " in launched.output
    (line,) = [line for line in launched.errors if "Caught exception" in line]
    assert "ended with exit code 1: the chain is violated" in line
    assert "Traceback" not in launched.output


def test_what_cannot_be_replayed_is_one_clear_line(run_launch: Callable[..., Any], pipeline: Path) -> None:
    launched = run_launch("audit_replay.launch.py", f"bag:={pipeline.parent}/none", f"pipeline:={pipeline}")
    assert launched.ends(30) == 1
    assert "Traceback" not in launched.output
    (words,) = [line for line in launched.output.splitlines() if line.startswith("[replayer-") and "none" in line]
    assert "og_ros: " in words
    assert any("replayer-" in line and "exit code 1" in line for line in launched.errors), launched.output


def test_a_rate_that_is_none_is_one_clear_line(run_launch: Callable[..., Any], tmp_path: Path) -> None:
    launched = run_launch("audit_replay.launch.py", "bag:=b", f"pipeline:={tmp_path}/p.yaml", "rate:=fast")
    assert launched.ends(20) == 1
    (line,) = launched.errors
    assert "rate is 'fast'; it must be a number from 0.001 to 1000" in line
