"""The same bytes on every wire: Fast DDS and Cyclone DDS; Jazzy, Humble and Kilted; each heard by all the others."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from domains import claimed_domain
from filled import og_ros_types, payload
from other_ros import CYCLONE, FAST, cyclone_environment, fast_environment, humble_environment, kilted_environment
from rosbags.typesys import Stores

from og_ros.attest import digest
from og_ros.stages.adapters import registered

PEER = Path(__file__).with_name("wire_peer.py")
# What adapters read and write, and what else the demo and the safe behaviours publish.
ADAPTED = {kind.message_type for kind in registered._OWN}
STANDARD = sorted(
    name for name in {*ADAPTED, "rosgraph_msgs/msg/Clock", "std_msgs/msg/Header"} if find_spec(name.split("/")[0])
)
VGA = b"\x5a" * (640 * 480 * 3)

Peer = tuple[str, dict[str, str]]


def converse(folder: Path, peers: dict[str, Peer], messages: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    """Let the peers send each other the messages, and return what each wrote down."""
    plan = {"peers": list(peers), "messages": [(name, base64.b64encode(data).decode()) for name, data in messages]}
    (folder / "messages.json").write_text(json.dumps(plan))
    with claimed_domain() as domain:
        local = {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder)}
        processes, logs = {}, {name: folder / f"{name}.log" for name in peers}
        try:
            for name, (python, env) in peers.items():
                with logs[name].open("wb") as log:
                    command = [python, str(PEER), name, str(folder)]
                    processes[name] = subprocess.Popen(command, env=env | local, stdout=log, stderr=log)
            # Where one fails, the others would wait for it.
            while any(p.poll() is None for p in processes.values()) and not any(p.poll() for p in processes.values()):
                time.sleep(0.1)
        finally:
            for process in processes.values():
                process.kill()
                process.wait()
    codes = {name: process.returncode for name, process in processes.items()}
    assert set(codes.values()) == {0}, (codes, {name: log.read_text() for name, log in logs.items()})
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in peers}


def check(told: dict[str, Any], messages: Sequence[tuple[str, bytes]]) -> None:
    """Each message has one digest, whoever sent it in whatever way and whoever heard it."""
    for number, (name, data) in enumerate(messages):
        for sender in told:
            for listener, record in told.items():
                raw = base64.b64decode(record["heard"][f"/{sender}/raw/m{number}"])
                assert digest(raw) == digest(data), f"{name} from {sender} to {listener}"
            # Padding inside a message that the rmw itself serialises is whatever memory held: the sender decides.
            typed = {digest(base64.b64decode(r["heard"][f"/{sender}/typed/m{number}"])) for r in told.values()}
            assert len(typed) == 1, f"{name}, serialised by {sender}, has {len(typed)} digests"


@pytest.mark.slow
def test_fast_dds_and_cyclone_dds_deliver_the_bytes_that_were_sent(tmp_path: Path) -> None:
    fast, cyclone = fast_environment(), cyclone_environment()
    messages = [(name, payload(name)) for name in (*STANDARD, *og_ros_types())]
    # Many packets, and a length that is no multiple of four, as 75 bytes sent and 76 received.
    messages.append(("sensor_msgs/msg/Image", payload("sensor_msgs/msg/Image", encoding="rgb8", data=_bytes(VGA))))
    messages.append(("sensor_msgs/msg/Image", payload("sensor_msgs/msg/Image", data=_bytes(b"\1\2\3\4\5"))))
    told = converse(tmp_path, {"fast": (sys.executable, fast), "cyclone": (sys.executable, cyclone)}, messages)
    assert {name: record["rmw"] for name, record in told.items()} == {"fast": FAST, "cyclone": CYCLONE}
    check(told, messages)


@pytest.mark.slow
def test_humble_and_jazzy_deliver_the_bytes_that_were_sent(tmp_path: Path) -> None:
    """What a robot on Humble publishes has the digest that Jazzy hashes, and the reverse, over each rmw."""
    peers = {
        "jazzy": (sys.executable, fast_environment()),
        "humble_fast": humble_environment(FAST),
        "humble_cyclone": humble_environment(CYCLONE),
    }
    # Humble has no og_ros messages here; and only types whose definition did not change can meet on a topic.
    messages = [(name, payload(name)) for name in STANDARD]
    assert messages == [(name, payload(name, Stores.ROS2_HUMBLE)) for name in STANDARD]
    told = converse(tmp_path, peers, messages)
    assert [record["rmw"] for record in told.values()] == [FAST, FAST, CYCLONE]
    assert "humble" in told["humble_fast"]["rclpy"]
    check(told, messages)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # where the messages changed, they are built anew
def test_kilted_and_jazzy_deliver_the_bytes_that_were_sent(tmp_path: Path) -> None:
    peers = {"jazzy": (sys.executable, fast_environment()), "kilted": kilted_environment()}
    messages = [(name, payload(name)) for name in (*STANDARD, *og_ros_types())]
    told = converse(tmp_path, peers, messages)
    assert ".cache/kilted" in told["kilted"]["rclpy"]
    check(told, messages)


def _bytes(data: bytes) -> Any:
    return np.frombuffer(data, dtype=np.uint8)
