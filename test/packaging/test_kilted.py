"""ROS 2 Kilted, in an environment of its own: og_ros builds there, runs, and its attestations verify."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from domains import claimed_domain

from .conftest import run

ROOT = Path(__file__).resolve().parents[2]
KILTED = ROOT / ".cache" / "kilted"


@pytest.fixture(scope="module")
def python() -> str:
    """The Python of an environment with Kilted and this og_ros."""
    if not (KILTED / "dependencies.sha256").is_file():
        pytest.skip("ROS 2 Kilted is not fetched: `make kilted-deps`, where the network has it")
    made = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "make_kilted.py"), str(KILTED)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return str(KILTED / "venv" / "bin" / "python")


@pytest.mark.slow
def test_a_robot_of_kilted_is_attested_and_audited(python: str, tmp_path: Path) -> None:
    where = run([python, "-c", "import importlib.metadata as m; print(m.version('ros-rclpy'))"])
    assert where.startswith("9.1."), where
    with claimed_domain() as domain:
        arguments = ["-m", "og_ros.cli.main", "demo", "--seconds", "3", "--out", str(tmp_path / "demo"), "--json"]
        run([python, *arguments], ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    report = json.loads((tmp_path / "demo" / "audit.json").read_text())
    assert report["holds"], report["findings"]
    assert set(report["stages"]) == {"perception", "planning", "control"}
