"""Measures the live auditor: attestations a second on one core, and the share of a core that a robot costs its node."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import rclpy
import scenario
from rclpy.qos import QoSProfile
from scenario import honest_run, honest_ticks

from og_ros.attest import ATTESTATION_TYPE, decode_attestation, verify
from og_ros.audit.auditor import Auditor
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, message_class
from og_ros.registry import Registry

Figures = tuple[float, float, float]
TICKS = 1000
RECORDS_PER_TICK = 9
STAGES = 3
# The auditor subscribes to sensors once attestations name them.
WARM_UP_S = 3


def live(directory: Path, measure: Callable[..., Figures]) -> tuple[Figures, float]:
    """Return seconds of bare verification and of the live auditor for the same attestations, and attestations/s."""
    directory.mkdir(parents=True, exist_ok=True)
    run = honest_run(0)
    run.write_registry(directory / "registry")
    registry = Registry.open(directory / "registry")
    records = list(honest_ticks(run, TICKS, time.time_ns(), 1 << 32))
    public = {identity: certificate.public_key for identity, certificate in registry.keys.items()}
    read = [decode_attestation(record.payload) for record in records if record.type == ATTESTATION_TYPE]

    def floor() -> None:
        for attestation in read:
            verify(attestation, public[attestation.statement.key_id])

    def actual() -> None:
        auditor = Auditor(registry, recorded=lambda topic: True, live=True)
        for batch in range(0, len(records), 256):
            for record in records[batch : batch + 256]:
                auditor.feed(record)
            auditor.advance(record.received_ns)
        auditor.finish()
        assert auditor.tally.attestations == len(read)
        assert auditor.findings.violations == 0

    figures = measure(floor, actual, 3)
    return figures, len(read) / figures[1]


def node_share(directory: Path, seconds: float, image_bytes: int = 0, rate_hz: float = 30.0) -> dict[str, float]:
    """Run the auditor node against a robot of three stages; returns its share of a core and its memory in MB.

    The robot's records are published as they were signed, in real time; signing is done by the driver.
    """
    directory.mkdir(parents=True, exist_ok=True)
    run = honest_run(0)
    run.write_registry(directory / "registry")
    rclpy.init()
    node = rclpy.create_node("bench_robot")
    publishers: dict[str, Any] = {}
    image = os.urandom(image_bytes)
    arguments = ["--ros-args", "-p", f"registry:={directory / 'registry'}", "-p", "robot:=bench"]
    auditor = subprocess.Popen([sys.executable, "-m", "og_ros.nodes.auditor", *arguments], stderr=subprocess.DEVNULL)
    try:
        first = list(itertools.islice(honest_ticks(run, 1, 0, 0, image=image), RECORDS_PER_TICK))
        for record in first:
            qos = attestation_qos() if record.type == ATTESTATION_TYPE else QoSProfile(depth=10)
            publishers[record.topic] = node.create_publisher(message_class(record.type), record.topic, qos)
        deadline = time.monotonic() + 60
        heard = [publisher for topic, publisher in publishers.items() if topic.endswith(ATTESTATION_SUFFIX)]
        while not all(publisher.get_subscription_count() for publisher in heard):
            if time.monotonic() > deadline or auditor.poll() is not None:
                raise RuntimeError("the auditor did not subscribe")
            time.sleep(0.1)
        scenario.MS = round(1e9 / rate_hz / 50)  # its ticks are of 50 ms
        run = honest_run(0, signers=run.signers)
        process = psutil.Process(auditor.pid)
        began, start = (_cpu(process), time.monotonic()), time.monotonic()
        records = honest_ticks(run, round((seconds + WARM_UP_S) * rate_hz), time.time_ns(), 1 << 32, image=image)
        for number, record in enumerate(records):
            if number % RECORDS_PER_TICK == 0:
                if number == round(WARM_UP_S * rate_hz) * RECORDS_PER_TICK:
                    began = _cpu(process), time.monotonic()
                at = start + number / RECORDS_PER_TICK / rate_hz
                time.sleep(max(0.0, at - time.monotonic()))
            publishers[record.topic].publish(bytes(record.payload))
        share = (_cpu(process) - began[0]) / (time.monotonic() - began[1])
        rss = process.memory_info().rss / 1e6
        auditor.send_signal(signal.SIGINT)
        auditor.wait(30)
        return {"share_of_a_core": share, "rss_mb": rss, "attestations_per_s": rate_hz * STAGES}
    finally:
        scenario.MS = 10**6
        if auditor.poll() is None:
            auditor.kill()
        node.destroy_node()
        rclpy.try_shutdown()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
