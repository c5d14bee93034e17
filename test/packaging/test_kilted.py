"""ROS 2 Kilted, in an environment of its own: og_ros builds there, runs, and its attestations verify."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from domains import claimed_domain
from other_ros import kilted_environment

from .conftest import run


@pytest.mark.slow
@pytest.mark.timeout(1200)  # where the messages changed, they are built anew
def test_a_robot_of_kilted_is_attested_and_audited(tmp_path: Path) -> None:
    python, _ = kilted_environment()
    where = run([python, "-c", "import importlib.metadata as m; print(m.version('ros-rclpy'))"])
    assert where.startswith("9.1."), where
    with claimed_domain() as domain:
        arguments = ["-m", "og_ros.cli.main", "demo", "--seconds", "3", "--out", str(tmp_path / "demo"), "--json"]
        run([python, *arguments], ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    report = json.loads((tmp_path / "demo" / "audit.json").read_text())
    assert report["holds"], report["findings"]
    assert set(report["stages"]) == {"perception", "planning", "control"}
