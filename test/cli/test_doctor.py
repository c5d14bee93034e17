"""og-ros doctor: what it says of a machine that needs a hand, and that advice is no fault."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from og_ros.cli.doctor_machine import Advice, clock, clock_state, security, shared_memory


def told(*path: Path) -> dict[str, dict[str, str]]:
    """What the doctor tells in a process of its own, with folders before all others on its path."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = [sys.executable, "-m", "og_ros.cli.main", "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)}


def test_a_mix_of_two_distributions_is_named_with_the_remedy(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="ROS is not installed")
    whole = told()["ROS 2"]
    if "7.1" not in whole["detail"] or not list(Path(sys.prefix).glob("lib/python*/site-packages/ros_rclpy-*")):
        pytest.skip("ROS here is not Jazzy from PyPI")
    assert whole["state"] == "ok"
    assert "Jazzy" in whole["detail"]
    kilted = tmp_path / "ros_rcl-10.1.3.dist-info"
    kilted.mkdir()
    (kilted / "METADATA").write_text("Metadata-Version: 2.1\nName: ros-rcl\nVersion: 10.1.3\n")
    mixed = told(tmp_path)["ROS 2"]
    assert mixed["state"] == "advice"
    assert "ros-rcl 10.1.3" in mixed["detail"]
    assert "requirements/kilted.txt" in mixed["detail"]


def test_small_buffers_are_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "rmem_max").write_text("212992\n")
    with pytest.raises(Advice, match=r"at most 208 KiB.*net\.core\.rmem_max=2097152"):
        shared_memory(tmp_path, tmp_path)
    (tmp_path / "rmem_max").write_text("4194304\n")
    assert "4096 KiB" in shared_memory(tmp_path, tmp_path)
    with pytest.raises(Advice, match="No such file"):
        shared_memory(tmp_path / "none", tmp_path)


def test_the_clock_is_asked_and_an_unkept_one_is_named() -> None:
    with pytest.raises(Advice, match="chrony"):
        clock_state(5, 16_000_000)
    assert clock_state(0, 2500) == "synchronised, at most 2 ms off"
    try:
        said = clock()
    except Advice as advice:
        said = str(advice)
    assert re.search("synchronised, at most|wall clock right|clock is right", said), said


def test_sros2_that_is_asked_for_and_cannot_be(tmp_path: Path) -> None:
    on = {"ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_KEYSTORE": str(tmp_path)}
    with pytest.raises(ImportError, match="use-sros2"):
        security({})
    with pytest.raises(Advice, match="no enclaves"):
        security(on)
    (tmp_path / "enclaves").mkdir()
    with pytest.raises(Advice, match="not Enforce"):
        security(on)
    assert "enforced" in security(on | {"ROS_SECURITY_STRATEGY": "Enforce"})
