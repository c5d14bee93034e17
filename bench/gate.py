"""Measures what the gate adds to a command: a real gate and three stages at 50 Hz, against the plain path in one run.

    python bench/gate.py [SECONDS]

Three ways, of the same commands: plain (publisher to subscriber), relayed (through a node that only passes on, half a
period later), gated (through the gate, which verifies). Commands have their attestation right after them, signed
beforehand, so that the figures are the gate's and not the stages'. Prints one line of JSON, in ms.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "support"))

import rclpy  # noqa: E402
from rclpy.experimental import EventsExecutor  # noqa: E402
from scenario import TYPES, Run, certify_all, honest_run, honest_ticks  # noqa: E402

from og_ros.attest import ATTESTATION_TYPE, SoftwareSigner, keys  # noqa: E402
from og_ros.nodes.topics import attestation_qos, message_class  # noqa: E402
from og_ros.registry import RegistryWriter  # noqa: E402

HZ = 50
RECORDS_PER_TICK = 9
COMMAND = "/wheel_command"
STAGE_TOPICS = ("/perception/line", "/planning/reference", COMMAND)
SENSORS = ("/camera/image", "/scan", "/odom")
# What the controller takes: by then the gate has read what came before the command.
CONTROLLER_S = 0.004
WARM_UP_S = 1.0


def measure(directory: Path, seconds: float) -> dict[str, list[float]]:
    """Return the latencies of commands, in seconds: plain, relayed, gated; and what relay and gate added to plain."""
    directory.mkdir(parents=True, exist_ok=True)
    run = honest_run(1)
    _write(run, directory)
    rclpy.init()
    node = rclpy.create_node("bench_robot")
    executor = EventsExecutor()
    executor.add_node(node)
    kind = message_class(TYPES[COMMAND])
    came: dict[str, dict[bytes, float]] = {name: {} for name in (COMMAND, "/bench/relay", "/bench/relayed", "/wheels")}

    def hear(topic: str) -> None:
        arrived = came[topic]
        node.create_subscription(
            kind, topic, lambda raw: arrived.setdefault(raw.rstrip(b"\0"), time.perf_counter()), 10, raw=True
        )

    for topic in came:
        hear(topic)
    publishers: dict[str, Any] = {t: node.create_publisher(message_class(k), t, 10) for t, k in TYPES.items()}
    publishers["/bench/relay"] = node.create_publisher(kind, "/bench/relay", 10)
    for topic in STAGE_TOPICS:
        name = f"{topic}/attestation"
        publishers[name] = node.create_publisher(message_class(ATTESTATION_TYPE), name, attestation_qos())

    def spin(until: float) -> None:
        while (left := until - time.perf_counter()) > 0:
            executor.spin_once(timeout_sec=left)

    started = [
        subprocess.Popen(_gate_command(directory), stderr=subprocess.DEVNULL, env=os.environ),
        subprocess.Popen([sys.executable, str(ROOT / "bench" / "plain_relay.py"), TYPES[COMMAND]], env=os.environ),
    ]
    wanted = {COMMAND: 2, "/bench/relay": 2, **dict.fromkeys(SENSORS, 1)}
    wanted |= {f"{topic}/attestation": 1 for topic in STAGE_TOPICS}
    try:
        deadline = time.perf_counter() + 60
        while not all(publishers[topic].get_subscription_count() >= count for topic, count in wanted.items()):
            if time.perf_counter() > deadline or any(process.poll() is not None for process in started):
                raise RuntimeError("the gate or the relay of the bench did not appear")
            spin(time.perf_counter() + 0.1)
        spin(time.perf_counter() + 1.0)
        sent = _drive(run, publishers, spin, seconds)
    finally:
        for process in started:
            process.send_signal(signal.SIGINT)
        for process in started:
            process.wait(20)
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
    return _series(sent, came)


def _drive(run: Run, publishers: dict[str, Any], spin: Any, seconds: float) -> dict[str, dict[bytes, float]]:
    """Publish in real time; returns when each command was published, on its own topic and to the relay."""
    ticks = round((seconds + WARM_UP_S) * HZ)
    records = list(honest_ticks(run, ticks, time.time_ns(), (time.time_ns() & 0xFFFFFFFF) << 20))
    sent: dict[str, dict[bytes, float]] = {COMMAND: {}, "/bench/relay": {}}
    start = time.perf_counter()

    def publish(topic: str, payload: bytes, keep: bool) -> None:
        if keep:
            sent[topic][payload.rstrip(b"\0")] = time.perf_counter()
        publishers[topic].publish(payload)

    for tick in range(ticks):
        at, keep = start + tick / HZ, tick >= WARM_UP_S * HZ
        spin(at)
        of_tick = records[RECORDS_PER_TICK * tick : RECORDS_PER_TICK * (tick + 1)]
        (command,) = (record for record in of_tick if record.topic == COMMAND)
        for record in of_tick:
            if record is command:
                spin(at + CONTROLLER_S)
                publish(COMMAND, bytes(record.payload), keep)
            else:
                publishers[record.topic].publish(bytes(record.payload))
        spin(at + CONTROLLER_S + 0.5 / HZ)
        publish("/bench/relay", bytes(command.payload), keep)
    spin(time.perf_counter() + 1.0)
    return sent


def _series(sent: dict[str, dict[bytes, float]], came: dict[str, dict[bytes, float]]) -> dict[str, list[float]]:
    def paths(source: str, target: str) -> tuple[list[float], list[float]]:
        """Return latencies by the way through, and by how much they exceed those of the very same publications."""
        both = [name for name in sent[source] if name in came[source] and name in came[target]]
        begun, plain, there = sent[source], came[source], came[target]
        return [there[name] - begun[name] for name in both], [there[name] - plain[name] for name in both]

    plain = [at - sent[COMMAND][name] for name, at in came[COMMAND].items() if name in sent[COMMAND]]
    relayed, relay_added = paths("/bench/relay", "/bench/relayed")
    gated, gate_added = paths(COMMAND, "/wheels")
    if len(gated) < 0.9 * len(plain):
        raise RuntimeError(f"the gate passed {len(gated)} of {len(plain)} commands")
    return {
        "plain": plain, "relayed": relayed, "gated": gated, "relay_added": relay_added, "gate_added": gate_added
    }  # fmt: skip


def _write(run: Run, directory: Path) -> None:
    """Write the gate's key, and a registry that certifies it too."""
    key = keys.generate()
    keys.save_private(key, directory / "gate.pem")

    def certify(writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        writer.certify_model("gate", "1", hashlib.sha256().digest(), stages=("gate",), not_before_ns=10**9)
        public = SoftwareSigner(key).public_key
        writer.certify_key(public, robot="demo", stage="gate", vendor="bench", not_before_ns=10**9)

    run.write_registry(directory / "registry", certify)


def _gate_command(directory: Path) -> list[str]:
    parameters = {
        "robot": "demo", "registry": directory / "registry", "key": directory / "gate.pem", "input": COMMAND,
        "output": "/wheels", "type": TYPES[COMMAND], "sensors": str([f"{topic}:{TYPES[topic]}" for topic in SENSORS]),
        "deadline": 0.5, "stall": 0.0, "stages": "['perception', 'planning', 'control']", "max_command_age": 60.0,
        "clock_tolerance": 3600.0,
    }  # fmt: skip
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return [sys.executable, "-m", "og_ros.nodes.gate", "--ros-args", "-r", "__node:=gate", *given]


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p10, p50, p90 and p99 in ms."""
    ordered = sorted(values)
    return {f"p{q}": round(ordered[min(len(ordered) - 1, q * len(ordered) // 100)] * 1e3, 3) for q in (10, 50, 90, 99)}


def main() -> int:
    """Run, measure, print."""
    from domains import claim_domain

    os.environ.setdefault("ROS_DOMAIN_ID", str(claim_domain()))
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name), seconds)
    print(
        json.dumps(
            {
                "commands": len(found["plain"]), "passed": len(found["gated"]),
                **{f"{kind}_ms": percentiles(values) for kind, values in found.items()},
                "load": os.getloadavg()[0],
            }
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
