"""A process that stood still for over a second, whose shared memory Fast DDS then gave away: it is deaf, and notices.

What Fast DDS does on a race is done here for certain: the file that the process listens at is removed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from fault_rig import ARRAY, Findings, Rig, feeding
from gate_robot import GATE, Ears, Robot
from ros_peer import Peer, Process, node, running, until

pytestmark = pytest.mark.skipif(
    os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp") != "rmw_fastrtps_cpp", reason="only Fast DDS does this"
)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def make_deaf(process: Process) -> None:
    """Remove the files that a process listens at, but for those of its discovery, which others made as well."""
    names = [(task / "comm").read_text().strip() for task in Path(f"/proc/{process.pid}/task").iterdir()]
    ports = {match[1] for name in names if (match := re.fullmatch(r"dds\.shm\.(\d+)", name))}
    found = [path for port in ports for path in Path("/dev/shm").glob(f"fast*_port{port}")]
    assert found, names
    for path in found:
        path.unlink()


def test_a_deaf_auditor_starts_anew_and_misses_nothing(peer: Peer, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    findings = Findings(peer)
    with rig.stage(), rig.auditor() as auditor, feeding(peer, 50) as feed:
        until(lambda: len(rig.in_log()) > 20, "the log")
        make_deaf(auditor)
        auditor.wait_for("node_deaf: Fast DDS gave /dev/shm/fast")
        until(lambda: auditor.output.count("auditing with registry") == 2, "a new start")
        logged = len(rig.in_log())
        until(lambda: len(rig.in_log()) > logged + 20, "a log that goes on")
        feed.stopped = True
        time.sleep(0.3)
        signed = rig.signed()
        until(lambda: rig.in_log() == signed, "everything in the log")
        assert auditor.stop() == 0
    assert findings.violations() == []


def test_a_deaf_gate_starts_anew_and_latched(peer: Peer, tmp_path: Path) -> None:
    robot, ears = Robot(peer, tmp_path), Ears(peer)
    try:
        robot.start()
        with running(*node(GATE, "gate", **robot.parameters(bypass="report"))) as gate:
            until(lambda: len(ears.output) >= 5, "commands")
            make_deaf(gate)
            gate.wait_for("node_deaf: the gate stood still")  # its verdict comes before anybody listens
            before = len(ears.verdicts)
            until(lambda: len(ears.verdicts) > before, "a verdict of the new start")
            until(lambda: ears.verdicts[-1].latched, "the latch")
            assert not ears.verdicts[-1].forwarded
            until(lambda: ears.reset()[0], "a granted reset")
            before = len(robot.commands)
            until(lambda: len(robot.commands) > before + 5, "further commands")
            until(lambda: ears.verdicts[-1].forwarded, "a command that passes again")
            assert gate.stop() == 0
    finally:
        robot.stop()


def test_a_deaf_recorder_closes_its_recording(peer: Peer, tmp_path: Path) -> None:
    publisher = peer.publisher("/x", ARRAY, 10)
    arguments = node("og_ros.nodes.recorder", "recorder", output=tmp_path / "bag", topics="['/x']")
    with running(*arguments) as recorder:
        until(lambda: publisher.get_subscription_count() > 0, "the recorder")
        make_deaf(recorder)
        assert recorder.join() == 1
        assert "node_deaf" in recorder.output
        assert "so it ends" in recorder.output
    assert (tmp_path / "bag" / "metadata.yaml").exists()
