"""og-ros run: a pipeline file becomes running nodes, and Ctrl-C ends them in the order that loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import rclpy
from domains import claim_domain
from std_msgs.msg import Float32MultiArray

from og_ros.attest import Algorithm, SoftwareSigner, keys
from og_ros.audit.run import audit_bag
from og_ros.log import Ledger
from og_ros.registry import Registry, RegistryWriter
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.receipt import Level
from og_ros.sim.policy import MODELS
from og_ros.stages.inference import Inference
from og_ros.stages.pipeline import load_pipeline

DOMAIN = claim_domain()
PIPELINE = """\
robot: bench
registry: registry
stages:
  control:
    model: {path: wheel_control.onnx, name: wheel_control, version: 1.0.0}
    key: control.pem
    inputs:
      reference: {topic: /reference, type: std_msgs/msg/Float32MultiArray, trigger: true, attestation: none}
      measured: {topic: /measured, type: std_msgs/msg/Float32MultiArray, attestation: none}
    outputs:
      wheels: {topic: /wheels, type: std_msgs/msg/Float32MultiArray}
"""


SETTLED = """auditor: {ledger: ledger, log_key: log.pem}
settlement: {state: settlement, every_leaves: 1}
"""


def prepare(directory: Path) -> None:
    """Write a pipeline of one stage with its key, model and registry."""
    (directory / "pipeline.yaml").write_text(PIPELINE)
    shutil.copyfile(MODELS / "wheel_control.onnx", directory / "wheel_control.onnx")
    keys.save_private(keys.generate(), directory / "control.pem")
    stage = load_pipeline(directory / "pipeline.yaml").stages["control"]
    with RegistryWriter.create(directory / "registry", SoftwareSigner(keys.generate()), "bench") as writer:
        writer.certify_key(SoftwareSigner.load(stage.key).public_key, robot="bench", stage="control")
        writer.certify_model("wheel_control", "1.0.0", Inference.configure(stage).model.digest)


def start(directory: Path, *options: str, stderr: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
    """Run the verb in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "og_ros.cli.main", "run", "pipeline.yaml", *options],
        cwd=directory,
        stderr=stderr,
        text=True,
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
    )


def test_pipeline_runs_is_recorded_settles_and_stops_cleanly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE + SETTLED)
    keys.save_private(keys.generate(Algorithm.EDDSA), tmp_path / "log.pem")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    process = start(tmp_path, "--record", "run1")
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("driver", context=context)
    try:
        publishers = [node.create_publisher(Float32MultiArray, topic, 10) for topic in ("/measured", "/reference")]
        deadline = time.monotonic() + 60
        # Each is heard by the stage, the auditor and the recorder.
        while any(p.get_subscription_count() < 3 for p in publishers) and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            time.sleep(0.1)
        time.sleep(0.5)
        for tick in range(30):
            for publisher in publishers:
                publisher.publish(Float32MultiArray(data=[0.01 * tick, 0.0]))
            time.sleep(0.02)
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(60)
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert code == 0, process.stderr.read() if process.stderr else ""
    with Ledger.open(tmp_path / "ledger") as ledger:
        size = ledger.size
    newest = Outbox(tmp_path / "settlement", read_only=True).rows()[-1].item
    assert (newest.size, newest.level) == (size, Level.FINAL), "the last checkpoint settled, after the auditor ended"
    report = audit_bag(tmp_path / "run1", Registry.open(tmp_path / "registry"))
    assert report.auditor.findings.violations == 0, report.findings
    assert report.auditor.tally.attestations >= 29
    assert report.auditor.tally.linked == report.auditor.tally.decisions


def test_stage_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "control.pem").chmod(0o644)
    process = start(tmp_path)
    assert process.wait(60) == 2
    errors = process.stderr.read() if process.stderr else ""
    assert "chmod 600" in errors
    assert "Traceback" not in errors


def test_a_message_that_does_not_fit_is_told_on_the_terminal(tmp_path: Path) -> None:
    prepare(tmp_path)
    said = tmp_path / "said"
    with said.open("w") as stderr:
        process = start(tmp_path, "--no-auditor", stderr=stderr)
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("driver", context=context)
    try:
        publisher = node.create_publisher(Float32MultiArray, "/measured", 10)
        deadline = time.monotonic() + 60
        while "the message gives" not in said.read_text() and time.monotonic() < deadline:
            publisher.publish(Float32MultiArray(data=[1.0, 2.0, 3.0]))
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert code == 0, said.read_text()
    line = next(line for line in said.read_text().splitlines() if "the message gives" in line)
    assert line.startswith("control: input measured: the message gives float32[3], the model takes float32[")
    assert "og_ros_run" in said.read_text()
