"""Runs a whole robot for an hour at ten times its rate, and says whether any process's memory grows.

    python bench/soak.py [--minutes 60] [--rate 100] [--out soak.json]

Processes of their own: three stages (perception, planning, control; a tiny model each, a journal on disk each), the
auditor with its log, and the gate in mode enforce. This process is sensor and driver: it publishes `--rate` messages a
second, 100 by default where a robot has 10, hears what the gate passes, and resets a gate that latched. Once a minute
the resident memory of each process is noted. Exit code 1: some process has at the end, as the median of its last
minutes, over 5 % more than after the warm-up, a quarter of the time and at most ten minutes; or it ended by itself.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "support"))

from domains import claim_domain

os.environ["ROS_DOMAIN_ID"] = str(claim_domain())
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

import numpy as np
import psutil
import rclpy
import wire_messages as wire
from rclpy.experimental import EventsExecutor
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Float32MultiArray
from std_srvs.srv import Trigger
from tiny_onnx import adder

from og_ros.attest import Algorithm, SoftwareSigner, keys
from og_ros.msg import ChainStatus, Verdict
from og_ros.registry import RegistryWriter

TYPE = "std_msgs/msg/Float32MultiArray"
STAGES = ("perception", "planning", "control")
TOPICS = ("/soak/sensor", "/soak/line", "/soak/reference", "/soak/command")
GROWTH = 1.05


def write_robot(directory: Path) -> None:
    """Write models, keys, registry and pipeline."""
    pipeline = ["robot: soak", "registry: registry", "stages:"]
    log_key = keys.generate(Algorithm.EDDSA)
    keys.save_private(log_key, directory / "log.pem")
    with RegistryWriter.create(directory / "registry", SoftwareSigner(keys.generate()), "soak", now_ns=10**9) as writer:
        for stage, source, target in zip(STAGES, TOPICS, TOPICS[1:], strict=False):
            model = adder([1.0, float(len(stage))])
            (directory / f"{stage}.onnx").write_bytes(model)
            writer.certify_model(stage, "1", sha256(model).digest(), stages=(stage,), not_before_ns=10**9)
            pipeline += [
                f"  {stage}:",
                f"    model: {{path: {stage}.onnx, name: {stage}, version: '1'}}",
                f"    key: {stage}.pem",
                f"    journal: journal_{stage}",
                f"    inputs: {{x: {{topic: {source}, type: {TYPE}}}}}",
                f"    outputs: {{y: {{topic: {target}, type: {TYPE}}}}}",
            ]
        writer.certify_model("gate", "1", hashlib.sha256().digest(), stages=("gate",), not_before_ns=10**9)
        for stage in (*STAGES, "gate"):
            key = keys.generate()
            keys.save_private(key, directory / f"{stage}.pem")
            public = SoftwareSigner(key).public_key
            writer.certify_key(public, robot="soak", stage=stage, vendor="soak", not_before_ns=10**9)
        writer.certify_key(log_key.public_key(), role="log", origin="soak/log", not_before_ns=10**9)
    (directory / "pipeline.yaml").write_text("\n".join(pipeline) + "\n")


def commands(directory: Path) -> dict[str, list[str]]:
    """Return the command of each process."""

    def node(module: str, name: str, **parameters: object) -> list[str]:
        given = [word for key, value in parameters.items() for word in ("-p", f"{key}:={value}")]
        return [sys.executable, "-m", f"og_ros.nodes.{module}", "--ros-args", "-r", f"__node:={name}", *given]

    found = {stage: node("stage", stage, pipeline=directory / "pipeline.yaml") for stage in STAGES}
    found["auditor"] = node(
        "auditor", "auditor", robot="soak", registry=directory / "registry", ledger=directory / "ledger",
        log_key=directory / "log.pem", log_origin="soak/log", topics=f"['{TOPICS[0]}']",
    )  # fmt: skip
    found["gate"] = node(
        "gate", "gate", robot="soak", registry=directory / "registry", key=directory / "gate.pem", input=TOPICS[-1],
        output="/soak/wheels", type=TYPE, sensors=f"['{TOPICS[0]}:{TYPE}']", stages=str(list(STAGES)), deadline=0.5,
        max_command_age=2.0, stall=0.0, bypass="report",
    )  # fmt: skip
    return found


class Driver:
    """Sensor, wheels, and whoever resets the gate."""

    def __init__(self, rate_hz: float) -> None:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("soak")
        self.executor = EventsExecutor()
        self.executor.add_node(self.node)
        self.sent = self.passed = self.refused = self.resets = 0
        self.status: Any = None
        self.latched = False
        self._sensor = self.node.create_publisher(Float32MultiArray, TOPICS[0], 10)
        self._client = self.node.create_client(Trigger, "/gate/reset")
        self._kept = [
            self.node.create_subscription(Float32MultiArray, "/soak/wheels", self._on_wheels, 100, raw=True),
            self.node.create_subscription(Verdict, "/gate/verdict", self._on_verdict, 100),
            self.node.create_subscription(ChainStatus, "/auditor/status", self._on_status, 10),
            self.node.create_timer(1 / rate_hz, self._publish),
            self.node.create_timer(1.0, self._reset),
        ]

    def spin(self, until: float) -> None:
        """Work until a monotonic time."""
        while (left := until - time.monotonic()) > 0:
            self.executor.spin_once(timeout_sec=min(left, 0.5))

    def close(self) -> None:
        """Leave."""
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def _publish(self) -> None:
        self.sent += 1
        self._sensor.publish(wire.serialize(wire.floats(np.array([self.sent % 2**20, self.sent // 2**20]))))

    def _on_wheels(self, raw: bytes) -> None:
        self.passed += 1

    def _on_verdict(self, verdict: Any) -> None:
        self.latched = verdict.latched
        self.refused += not verdict.accepted

    def _on_status(self, status: Any) -> None:
        self.status = status

    def _reset(self) -> None:
        if self.latched and self._client.service_is_ready():
            self.resets += 1
            self._client.call_async(Trigger.Request())


def main() -> int:
    """Run, print a line a minute, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=100.0, help="of each stage, Hz")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two samples")
    parser.add_argument(
        "--stall", type=float, default=10.0, help="seconds that a process is held back in the warm-up; 0: never"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("soak.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_robot(directory)
        logs = {kind: (directory / f"{kind}.txt").open("wb") for kind in commands(directory)}
        started = {
            kind: subprocess.Popen(command, stdout=logs[kind], stderr=subprocess.STDOUT)
            for kind, command in commands(directory).items()
        }
        driver = Driver(args.rate)
        try:
            samples = run(driver, started, args)
        finally:
            for process in started.values():
                process.send_signal(signal.SIGINT)
            for process in started.values():
                process.wait(60)
            said = {kind: (directory / f"{kind}.txt").read_text(errors="replace")[-2000:] for kind in started}
            driver.close()
    codes = {kind: process.returncode for kind, process in started.items()}
    return judge(samples, codes, said, args)


def run(driver: Driver, started: dict[str, subprocess.Popen[bytes]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Drive the robot, and return a sample of every process's memory, MB, for each minute."""
    watched = {kind: psutil.Process(process.pid) for kind, process in started.items()}
    watched["driver"] = psutil.Process()
    began = time.monotonic()
    samples: list[dict[str, Any]] = []
    count = round(args.minutes * 60 / args.every)
    turns = itertools.cycle(itertools.product((stop, starve), started.values()))
    for number in range(1, count + 1):
        end = began + number * args.every
        if 1 < number <= warm_up(count, args.every) // 2 and args.stall:
            while time.monotonic() + 1.5 * args.stall < end:
                hold_back, process = next(turns)
                hold_back(driver, process, args.stall)
                driver.spin(time.monotonic() + args.stall / 2)
        driver.spin(end)
        ended = [kind for kind, process in started.items() if process.poll() is not None]
        if ended:
            print(f"ended by itself: {', '.join(ended)}", flush=True)
            break
        status = driver.status
        sample = {
            "seconds": round(time.monotonic() - began),
            "rss_mb": {kind: round(process.memory_info().rss / 1e6, 2) for kind, process in watched.items()},
            "cpu_s": {kind: round(sum(process.cpu_times()[:2]), 1) for kind, process in watched.items()},
            "sent": driver.sent, "passed": driver.passed, "refused": driver.refused, "resets": driver.resets,
            "attestations": status.attestations if status else 0, "logged": status.log_size if status else 0,
            "violations": status.violations if status else 0, "load": os.getloadavg()[0],
        }  # fmt: skip
        samples.append(sample)
        print(json.dumps(sample), flush=True)
        args.out.write_text(json.dumps({"rate_hz": args.rate, "samples": samples}, indent=1) + "\n")
    return samples


def stop(driver: Driver, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Stop a process for a while: what DDS keeps for it is full when it goes on."""
    process.send_signal(signal.SIGSTOP)
    driver.spin(time.monotonic() + seconds)
    process.send_signal(signal.SIGCONT)


def starve(driver: Driver, process: subprocess.Popen[bytes], seconds: float) -> None:
    """Give a process a fifth of the time for a while: it still takes what comes, and its own queues fill."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stop(driver, process, 0.08)
        driver.spin(time.monotonic() + 0.02)


def warm_up(samples: int, every_s: float) -> int:
    """Return how many samples belong to the warm-up."""
    return min(samples // 4, round(600 / every_s))


def judge(samples: list[dict[str, Any]], codes: dict[str, int], said: dict[str, str], args: argparse.Namespace) -> int:
    """Print memory after the warm-up and at the end, write the file, and return the exit code."""
    warm = warm_up(len(samples), args.every)
    rest = samples[warm:]
    if not rest:
        print("no sample: too short")
        return 2
    window = max(1, min(5, len(rest) // 3))
    table = {}
    for kind in rest[0]["rss_mb"]:
        first = statistics.median(sample["rss_mb"][kind] for sample in rest[:window])
        last = statistics.median(sample["rss_mb"][kind] for sample in rest[-window:])
        idle = samples[0]["rss_mb"][kind]
        table[kind] = {"idle_mb": idle, "full_mb": first, "end_mb": last, "ratio": round(last / first, 4)}
    grown = [kind for kind, row in table.items() if row["ratio"] > GROWTH]
    failed = [kind for kind, code in codes.items() if code]
    print(f"{'process':<12} {'idle MB':>9} {'full MB':>9} {'end MB':>9} {'ratio':>7}")
    for kind, row in table.items():
        print(f"{kind:<12} {row['idle_mb']:>9.1f} {row['full_mb']:>9.1f} {row['end_mb']:>9.1f} {row['ratio']:>7.3f}")
    for kind in failed:
        print(f"{kind} ended with {codes[kind]}: {said[kind]}")
    result = {"rate_hz": args.rate, "table": table, "exit_codes": codes, "samples": samples, "said": said}
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print("flat" if not grown else f"grown by more than 5 %: {', '.join(grown)}")
    return 1 if grown or failed else 0


if __name__ == "__main__":
    sys.exit(main())
