"""Measures stages over real DDS, each a process: latency from input to output, plain against attested, in one run.

A driver publishes inputs and hears outputs and attestations. The stages that are compared run at the same time, each at
the given rate, and their turns alternate, so that a busy machine slows both. The driver's own share of a latency (it
is an rclpy process too) is the same for all of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models
import psutil
import rclpy
from rclpy.experimental import EventsExecutor
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension

from og_ros.attest import keys
from og_ros.nodes.topics import ATTESTATION_SUFFIX, attestation_qos, message_class

HERE = Path(__file__).parent
IMAGE, VECTOR = "sensor_msgs/msg/Image", "std_msgs/msg/Float32MultiArray"
TWIST = "geometry_msgs/msg/TwistStamped"


@dataclass(frozen=True)
class Load:
    """What a stage is given: its model, its messages, their rate."""

    name: str
    model: bytes
    type: str
    payload: bytes
    rate_hz: float


@dataclass
class Series:
    """What was measured of one stage, seconds; `cpu` is the share of a core that its process used."""

    latency: list[float] = field(default_factory=list)
    attested: list[float] = field(default_factory=list)
    lost: int = 0
    cpu: float = 0.0
    rss_mb: float = 0.0


def perception(milliseconds: float = 5.0, rate_hz: float = 30.0, width: int = 640, height: int = 480) -> Load:
    """Return images of RGB through a network of some milliseconds."""
    message = Image(height=height, width=width, encoding="rgb8", step=width * 3)
    message.data.frombytes(os.urandom(width * height * 3))
    model = models.image_model(milliseconds / 1e3, width, height)
    return Load("perception", model, IMAGE, serialize_message(message), rate_hz)


def control(microseconds: float = 30.0, rate_hz: float = 100.0, inputs: int = 16) -> Load:
    """Return vectors through a network of some microseconds."""
    message = Float32MultiArray(data=[0.5] * inputs)
    message.layout.dim.append(MultiArrayDimension(label="", size=inputs, stride=inputs))
    return Load("control", models.controller(microseconds / 1e6, inputs), VECTOR, serialize_message(message), rate_hz)


class _Driven:
    """One stage process, and the topics between it and the driver."""

    def __init__(self, node: Any, kind: str, load: Load, directory: Path, command: Sequence[str]) -> None:
        self.series = Series()
        self._payload = load.payload
        self._sent: deque[float] = deque()
        self._out_at: deque[float] = deque()
        stage = f"{kind}_{load.name}"
        (directory / f"{stage}.onnx").write_bytes(load.model)
        key = directory / f"{stage}.pem"
        if not key.exists():
            keys.save_private(keys.generate(), key)
        pipeline = directory / f"{stage}.yaml"
        pipeline.write_text(
            f"robot: bench\nstages:\n  {stage}:\n    model: {{path: {stage}.onnx, name: bench, version: '1'}}\n"
            f"    key: {stage}.pem\n    inputs: {{x: {{topic: /bench/{stage}/in, type: {load.type}}}}}\n"
            f"    outputs: {{y: {{topic: /bench/{stage}/out, type: {TWIST}}}}}\n"
        )
        arguments = [word.format(pipeline=pipeline, stage=stage) for word in command]
        self.process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.DEVNULL)
        self.publisher = node.create_publisher(message_class(load.type), f"/bench/{stage}/in", 10)
        self._subscriptions = [
            node.create_subscription(message_class(TWIST), f"/bench/{stage}/out", self._output, 10, raw=True),
            node.create_subscription(
                message_class("og_ros/msg/Attestation"),
                f"/bench/{stage}/out{ATTESTATION_SUFFIX}",
                self._attestation,
                attestation_qos(),
                raw=True,
            ),
        ]

    def matched(self) -> bool:
        """Return whether the stage hears and is heard."""
        if self.process.poll() is not None:
            raise RuntimeError(f"a stage of the bench ended with {self.process.returncode}")
        return self.publisher.get_subscription_count() > 0

    def send(self) -> None:
        """Publish one input; what the one before still misses is lost."""
        self.series.lost += len(self._sent)
        self._sent.clear()
        self._out_at.clear()
        self._sent.append(time.perf_counter())
        self.publisher.publish(self._payload)

    def _output(self, raw: bytes) -> None:
        now = time.perf_counter()
        if self._sent:
            self.series.latency.append(now - self._sent.popleft())
            self._out_at.append(now)

    def _attestation(self, raw: bytes) -> None:
        now = time.perf_counter()
        if self._out_at:
            self.series.attested.append(now - self._out_at.popleft())

    def reset(self) -> None:
        """Forget what was measured while everything warmed up."""
        self.series = Series()
        self._began = (time.perf_counter(), _cpu(self.process.pid))

    def stop(self) -> Series:
        """Take the process's figures and end it."""
        seconds = time.perf_counter() - self._began[0]
        self.series.cpu = (_cpu(self.process.pid) - self._began[1]) / seconds
        self.series.rss_mb = psutil.Process(self.process.pid).memory_info().rss / 1e6
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        return self.series


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


PLAIN = (str(HERE / "plain_stage.py"), "{pipeline}", "{stage}")
ATTESTED = ("-m", "og_ros.nodes.stage", "--ros-args", "-p", "pipeline:={pipeline}", "-p", "stage:={stage}")


PEER = (str(HERE / "peer_stage.py"), "{pipeline}", "{stage}")


def one_way(payload: bytes, rounds: int = 200) -> float:
    """Return the median seconds of a small message through DDS, from publisher to callback in one process."""
    rclpy.init()
    node = rclpy.create_node("bench_round")
    executor = EventsExecutor()
    executor.add_node(node)
    times: list[float] = []
    kind = message_class(VECTOR)
    publisher = node.create_publisher(kind, "/bench/round", 10)
    began = 0.0
    node.create_subscription(kind, "/bench/round", lambda raw: times.append(time.perf_counter() - began), 10, raw=True)
    while publisher.get_subscription_count() == 0:
        executor.spin_once(timeout_sec=0.05)
    for number in range(rounds):
        began = time.perf_counter()
        publisher.publish(payload)
        while len(times) <= number:
            executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return sorted(times)[len(times) // 2]


def compare(load: Load, kinds: dict[str, Sequence[str]], directory: Path, seconds: float) -> dict[str, Series]:
    """Drive a stage of each kind at the load's rate, their turns alternating, for some seconds."""
    rclpy.init()
    node = rclpy.create_node("bench_driver")
    executor = EventsExecutor()
    executor.add_node(node)
    driven = [_Driven(node, kind, load, directory, command) for kind, command in kinds.items()]

    def spin(until: float) -> None:
        while (left := until - time.perf_counter()) > 0:
            executor.spin_once(timeout_sec=left)

    def drive(span: float) -> None:
        step = 1 / load.rate_hz / len(driven)
        at = time.perf_counter() + 0.01
        for turn in range(round(span / step)):
            spin(at)
            driven[turn % len(driven)].send()
            at += step
        spin(at + 0.2)

    try:
        deadline = time.perf_counter() + 60
        while not all(stage.matched() for stage in driven):
            if time.perf_counter() > deadline:
                raise RuntimeError("the stages of the bench did not appear")
            executor.spin_once(timeout_sec=0.1)
        spin(time.perf_counter() + 1.0)
        drive(2.0)
        for stage in driven:
            stage.reset()
        drive(seconds)
        return {kind: stage.stop() for kind, stage in zip(kinds, driven, strict=True)}
    finally:
        for stage in driven:
            if stage.process.poll() is None:
                stage.process.kill()
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
