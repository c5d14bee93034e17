"""The systemd units: systemd accepts them, they are closed off, and what the recorder's starts does start and stop."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from domains import claimed_domain

from og_ros.cli.main import build_parser

from .conftest import ROOT

UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
PREFIX = "/opt/og_ros"
WORST_EXPOSURE = 3.0  # systemd's own figure, from 0 (closed) to 10


def lines_of(unit: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


@pytest.fixture
def analyse(tmp_path: Path) -> list[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    for unit in UNITS:  # it looks for the programs, which are installed elsewhere here
        (tmp_path / unit.name).write_text(unit.read_text().replace(PREFIX, sys.prefix))
    return [program]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit: Path, analyse: list[str], tmp_path: Path) -> None:
    if not Path(sys.prefix, "lib", "og_ros", "auditor").is_file():
        pytest.skip("og_ros is not installed in this Python's prefix: make setup")
    command = [*analyse, "verify", "--man=no", *(str(tmp_path / other.name) for other in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Failed to" in done.stderr and done.returncode and unit.name not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr, done.stderr


def test_systemd_accepts_the_measured_launch(analyse: list[str], tmp_path: Path) -> None:
    """The drop-in of the bringup unit: read with it, and its command is one that the parser takes."""
    unit = tmp_path / "og-ros-bringup.service"
    drop_in = ROOT / "packaging" / "systemd" / "og-ros-bringup.service.d" / "measured.conf"
    shutil.copytree(drop_in.parent, tmp_path / drop_in.parent.name)
    copy = tmp_path / drop_in.parent.name / drop_in.name
    copy.write_text(copy.read_text().replace(PREFIX, sys.prefix))
    done = subprocess.run([*analyse, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    if "Failed to" in done.stderr and done.returncode and drop_in.name not in done.stderr:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert drop_in.name not in done.stderr, done.stderr
    command = lines_of(drop_in)["Service"]["ExecStartPre"].replace("\\\n", " ")
    words = shlex.split(command.removeprefix("+"))
    args = build_parser().parse_args(words[1:])
    assert (args.verb, args.user, args.command) == ("launch-measured", "og-ros", [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_is_closed_to_what_it_does_not_need(unit: Path, analyse: list[str], tmp_path: Path) -> None:
    command = [*analyse, "security", "--offline=yes", "--no-pager", f"--threshold={int(WORST_EXPOSURE * 10)}"]
    done = subprocess.run([*command, str(tmp_path / unit.name)], capture_output=True, text=True, check=False)
    if "--offline" in done.stderr:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_unit_stops_what_it_starts_gently(unit: Path) -> None:
    service = lines_of(unit)["Service"]
    assert service["User"] == "og-ros"
    assert service.get("KillSignal", "SIGTERM") == "SIGTERM"  # what og_ros signs its last attestations on
    assert float(service["TimeoutStopSec"]) >= 30
    assert service["Restart"] == "on-failure"


def test_the_recorder_that_is_started_records_until_sigterm(tmp_path: Path) -> None:
    """The very command of the unit, with its paths moved to where this test may write."""
    pytest.importorskip("rclpy", reason="no ROS here")
    (unit,) = (unit for unit in UNITS if "recorder" in unit.name)
    text = lines_of(unit)["Service"]["ExecStart"].replace("%%", "%")
    command = shlex.split(text.replace(PREFIX, sys.prefix).replace("/var/lib/og-ros", str(tmp_path)))
    (tmp_path / "recordings").mkdir()
    with claimed_domain() as domain:
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        end = time.monotonic() + 60
        while not list(tmp_path.glob("recordings/*/*.mcap")) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert list(tmp_path.glob("recordings/2*Z/metadata.yaml"))
