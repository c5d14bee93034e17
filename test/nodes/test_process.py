"""How a node's process ends: it listens on for a while, closes once, and lets itself be forced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from domains import claim_domain

pytest.importorskip("rclpy", reason="ROS is not installed")

DOMAIN = str(claim_domain())
NODE = """
import sys, time
from rclpy.node import Node
from og_ros.nodes.process import run_node

class Listener(Node):
    def __init__(self):
        super().__init__("listener")
        self.create_timer(0.05, lambda: print("tick", flush=True))
        print("started", flush=True)
    def close(self):
        print("closing", flush=True)
        time.sleep({close_s})
        print("closed", flush=True)

sys.exit(run_node(Listener, linger_s={linger_s}))
"""


def start(linger_s: float, close_s: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", NODE.format(linger_s=linger_s, close_s=close_s)],
        env={**os.environ, "ROS_DOMAIN_ID": DOMAIN, "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_two_signals_at_once_are_one_and_the_node_hears_its_sources_out() -> None:
    process = start(linger_s=0.6, close_s=0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert printed.splitlines()[-2:] == ["closing", "closed"]
    assert printed.count("tick") >= 6
    assert 0.9 < time.monotonic() - began < 3.0


def test_a_later_signal_forces_the_end() -> None:
    process = start(linger_s=0.0, close_s=30.0)
    process.send_signal(signal.SIGINT)
    time.sleep(1.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGINT
    assert "closing" in printed
    assert "closed" not in printed
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("argument", ["--params-file", "-r"])
def test_wrong_ros_arguments_are_one_line(tmp_path: Path, argument: str) -> None:
    (tmp_path / "broken").write_text("auditor: [\n")
    command = [sys.executable, "-m", "og_ros.nodes.auditor", "--ros-args", argument, str(tmp_path / "broken")]
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("[ERROR]")]  # rcl's own
    assert len(lines) == 1, ended.stdout
    assert lines[0].startswith("og_ros: wrong ROS arguments: failed to initialize rcl: Couldn't parse")
