"""The auditor node over real DDS: honest chains hold, an attack shows, everything accepted is in the log."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import rclpy
from domains import claim_domain
from rclpy.qos import DurabilityPolicy, QoSProfile
from scenario import MS, Run, honest_run, payload

from og_ros.attest import ATTESTATION_TYPE, cose, encode_attestation, keys
from og_ros.log import Ledger
from og_ros.msg import Attestation, ChainStatus, Checkpoint
from og_ros.nodes.topics import attestation_qos, message_class

DOMAIN = str(claim_domain())


@contextmanager
def auditor_process(directory: Path, run: Run) -> Iterator[subprocess.Popen[str]]:
    """Run an auditor node in a process of its own."""
    run.write_registry(directory / "registry")
    keys.save_private(run.log_key, directory / "log.pem")
    parameters = {
        "robot": run.robot,
        "registry": directory / "registry",
        "ledger": directory / "ledger",
        "log_key": directory / "log.pem",
        "log_origin": "test/log",
        "topics": "['/camera/image', '/scan', '/odom']",
        "horizon": "0.5",
        "status_period": "0.1",
    }
    arguments = [item for name, value in parameters.items() for item in ("-p", f"{name}:={value}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "og_ros.nodes.auditor", "--ros-args", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": DOMAIN, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Robot:
    """Plays the records of a run into DDS as its robot did, and hears what the auditor says."""

    def __init__(self, run: Run) -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=int(DOMAIN))
        self.node = rclpy.create_node("robot", context=self.context)
        self.executor = rclpy.executors.SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.run = run
        self.statuses: list[ChainStatus] = []
        self.checkpoints: list[Checkpoint] = []
        self.node.create_subscription(ChainStatus, "/auditor/status", self.statuses.append, 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(Checkpoint, "/auditor/checkpoint", self.checkpoints.append, latched)
        self.publishers: dict[str, Any] = {}
        for record in run.records:
            if record.topic not in self.publishers:
                self.publishers[record.topic] = (
                    self.node.create_publisher(Attestation, record.topic, attestation_qos())
                    if record.type == ATTESTATION_TYPE
                    else self.node.create_publisher(message_class(record.type), record.topic, 100)
                )

    def wait(self, condition: Any, seconds: float = 20.0) -> None:
        """Spin until a condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the auditor last said: {self.statuses[-1:]}"
            self.executor.spin_once(0.05)

    def play(self) -> None:
        """Publish the records at the pace of their arrival."""
        self.wait(lambda: all(p.get_subscription_count() for p in self.publishers.values()))
        for record in self.run.records:
            pause = (record.received_ns - time.time_ns()) / 1e9
            if pause > 0:
                self.executor.spin_once(pause)
            self.publishers[record.topic].publish(bytes(record.payload))

    def close(self) -> None:
        """Leave the graph."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


@contextmanager
def robot(run: Run) -> Iterator[Robot]:
    """Make a robot that leaves in the end."""
    player = Robot(run)
    try:
        yield player
    finally:
        player.close()


def test_honest_chain_holds_and_is_logged(tmp_path: Path) -> None:
    run = honest_run(60, age_s=-6.0)
    with auditor_process(tmp_path, run) as process, robot(run) as player:
        player.play()
        player.wait(lambda: player.statuses and player.statuses[-1].decisions == 60)
        status = player.statuses[-1]
        assert status.violations == 0, status.recent
        assert status.state in (ChainStatus.HOLDS, ChainStatus.DEGRADED)
        assert status.linked >= 58, status
        assert {stage.stage for stage in status.stages} == {"perception", "planning", "control"}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with Ledger.open(tmp_path / "ledger") as ledger:
        report = ledger.verify()
        assert report.latest is not None
        assert report.latest.size == report.size == 180
        logged = {leaf.data for leaf in ledger.leaves()}
    assert logged == {attestation.cose for _, attestation in run.attestations()}


def test_withheld_attestation_shows_live(tmp_path: Path) -> None:
    run = honest_run(60, age_s=-6.0)
    index = next(i for i, r in enumerate(run.records) if r.topic == "/wheel_command" and i > 200)
    record = run.records[index]
    rogue = dataclasses.replace(
        record, payload=payload("/wheel_command", 0, -1), received_ns=record.received_ns + 15 * MS
    )
    run.records.insert(index + 1, rogue)
    with auditor_process(tmp_path, run), robot(run) as player:
        player.play()
        player.wait(lambda: player.statuses and player.statuses[-1].state == ChainStatus.VIOLATED)
        player.wait(lambda: "output_not_attested" in {f.kind for f in player.statuses[-1].recent})


def test_made_up_stages_do_not_push_real_ones_out_of_the_status(tmp_path: Path) -> None:
    run = honest_run(30, age_s=-6.0)
    index, attestation = run.of_stage("control")[0]
    for number in range(80):
        statement = dataclasses.replace(attestation.statement, stage=f"a{number}", session=number.to_bytes(16, "big"))
        forged = encode_attestation(cose.seal(statement, attestation.signature))
        run.records.insert(index + 1, dataclasses.replace(run.records[index], payload=forged))
    with auditor_process(tmp_path, run), robot(run) as player:
        player.play()
        player.wait(lambda: player.statuses and player.statuses[-1].decisions >= 30 + 80)
        stages = [stage.stage for stage in player.statuses[-1].stages]
    assert stages[:3] == ["control", "perception", "planning"]
    assert len(stages) == 64


def test_auditor_refuses_a_ledger_without_its_key(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "og_ros.nodes.auditor", "--ros-args", "-p", f"ledger:={tmp_path / 'ledger'}"],
        env={**os.environ, "ROS_DOMAIN_ID": DOMAIN},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1
    assert "log_key" in process.stderr
    assert "Traceback" not in process.stderr
