"""Measures what the gate adds to a command: a real gate, three stages, 50 Hz, against the plain path in one run.

    python bench/gate.py [SECONDS]

Plain is publisher to subscriber; gated is publisher to the gate's output. Commands have their attestation right after
them, signed beforehand, so that the figures are the gate's and not the stage's. Prints one line of JSON, in ms.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test" / "support"))

import numpy as np  # noqa: E402
from ros_peer import Peer, node, running, until  # noqa: E402
from scenario import TYPES, certify_all, honest_run, honest_ticks  # noqa: E402

from og_ros.attest import ATTESTATION_TYPE, SoftwareSigner, keys  # noqa: E402
from og_ros.nodes.topics import attestation_qos  # noqa: E402

HZ = 50


def main() -> int:
    """Run, measure, print."""
    ticks = int(float(sys.argv[1]) if len(sys.argv) > 1 else 20.0) * HZ
    directory = Path(tempfile.mkdtemp())
    run, key = honest_run(1), keys.generate()
    keys.save_private(key, directory / "gate.pem")

    def certify(writer, run):  # type: ignore[no-untyped-def]
        certify_all(writer, run)
        writer.certify_model("gate", "1", hashlib.sha256().digest(), stages=("gate",), not_before_ns=10**9)
        public = SoftwareSigner(key).public_key
        writer.certify_key(public, robot="demo", stage="gate", vendor="bench", not_before_ns=10**9)

    run.write_registry(directory / "registry", certify)
    peer = Peer()
    came: dict[str, dict[bytes, int]] = {"/wheel_command": {}, "/wheels": {}}

    class Clocked(list[bytes]):
        def __init__(self, topic: str) -> None:
            self._topic = topic

        def append(self, payload: bytes) -> None:
            came[self._topic].setdefault(payload.rstrip(b"\0"), time.perf_counter_ns())

    for topic in came:
        peer.heard[topic] = Clocked(topic)
        peer.hear(topic, TYPES["/wheel_command"])
    publishers = {topic: peer.publisher(topic, kind) for topic, kind in TYPES.items()}
    for topic in ("/perception/line", "/planning/reference", "/wheel_command"):
        name = f"{topic}/attestation"
        publishers[name] = peer.publisher(name, ATTESTATION_TYPE, attestation_qos())
    sensors = [f"{topic}:{TYPES[topic]}" for topic in ("/camera/image", "/scan", "/odom")]
    parameters = {
        "robot": "demo", "registry": directory / "registry", "key": directory / "gate.pem", "input": "/wheel_command",
        "output": "/wheels", "type": TYPES["/wheel_command"], "sensors": str(sensors), "deadline": 0.5, "stall": 0.0,
        "stages": "['perception', 'planning', 'control']", "max_command_age": 60.0, "clock_tolerance": 3600.0,
    }  # fmt: skip
    sent: dict[bytes, int] = {}
    with running(*node("og_ros.nodes.gate", "gate", **parameters)):
        for topic in ("/camera/image", "/scan", "/odom", "/wheel_command", "/wheel_command/attestation"):
            until(lambda t=topic: publishers[t].get_subscription_count() >= 1, topic)
        until(lambda: publishers["/wheel_command"].get_subscription_count() >= 2, "the gate on /wheel_command")
        time.sleep(0.5)
        records = list(honest_ticks(run, ticks, time.time_ns(), (time.time_ns() & 0xFFFFFFFF) << 20))
        start = time.monotonic()
        for tick in range(ticks):
            time.sleep(max(0.0, start + tick / HZ - time.monotonic()))
            for record in records[9 * tick : 9 * tick + 9]:
                if record.topic == "/wheel_command":
                    time.sleep(0.004)  # the controller's turn: what is before it has been read by then
                    sent[bytes(record.payload).rstrip(b"\0")] = time.perf_counter_ns()
                publishers[record.topic].publish(bytes(record.payload))
        time.sleep(1.0)
    plain = [(came["/wheel_command"][p] - at) / 1e6 for p, at in sent.items() if p in came["/wheel_command"]]
    gated = [(came["/wheels"][p] - at) / 1e6 for p, at in sent.items() if p in came["/wheels"]]
    both = sent.keys() & came["/wheels"].keys() & came["/wheel_command"].keys()
    added = [(came["/wheels"][p] - came["/wheel_command"][p]) / 1e6 for p in both]
    peer.close()

    def percentiles(values: list[float]) -> dict[str, float]:
        return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)} if values else {}

    print(
        json.dumps(
            {
                "commands": len(sent), "passed": len(gated), "plain_ms": percentiles(plain),
                "gated_ms": percentiles(gated), "added_ms": percentiles(added), "load": os.getloadavg()[0],
            }
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
