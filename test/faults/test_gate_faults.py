"""Faults under a gate: its clock is set, commands flood it, it is killed while they do; nothing unproven passes."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from fault_rig import LONG
from gate_robot import GATE, Ears, Robot, listening, padded
from ros_peer import Peer, node, running, until


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@pytest.fixture
def robot(peer: Peer, tmp_path: Path) -> Iterator[Robot]:
    found = Robot(peer, tmp_path)
    yield found
    found.stop()


@pytest.mark.parametrize("jump_s", [7200, pytest.param(-7200, marks=LONG)])
def test_the_gates_clock_is_set(peer: Peer, robot: Robot, faults: Path, jump_s: int) -> None:
    """Signing times and its wall clock disagree then: it latches and says so, and opens once the clock is right."""
    ears = Ears(peer)
    with running(*node(GATE, "gate", **robot.parameters(stall=0.0))) as gate:
        listening(robot)
        robot.start()
        until(lambda: len(ears.output) >= 5, "commands")
        faults.write_text(f"0 {jump_s}")
        until(lambda: any(v.latched and "clock_disagrees" in v.reasons for v in ears.verdicts), "the latch")
        passed = [payload for payload in ears.output if any(payload[16:])]
        assert "its attestation was signed" in ears.verdicts[-1].message
        time.sleep(0.5)
        assert [payload for payload in ears.output if any(payload[16:])] == passed, "something passed a latched gate"
        faults.write_text("0 0")
        until(lambda: ears.reset()[0], "a granted reset")
        count = len(ears.output)
        until(lambda: len(ears.output) > count + 5, "commands after the reset")
        assert gate.stop() == 0


@LONG
def test_a_flood_of_commands_opens_nothing(peer: Peer, robot: Robot) -> None:
    """Two thousand commands a second that nobody attested, and a kill in between: what passes is what stages signed."""
    ears = Ears(peer)
    rogue = b"\0\1\0\0" + b"\7" * 24
    over = threading.Event()

    def flood() -> None:
        while not over.wait(0.001):
            for _ in range(2):
                robot.publishers["/wheel_command"].publish(rogue)

    thread = threading.Thread(target=flood, daemon=True)
    gate = node(GATE, "gate", **robot.parameters(bypass="report"))
    with running(*gate) as first:
        listening(robot)
        robot.start()
        until(lambda: len(ears.output) >= 5, "commands")
        thread.start()
        until(lambda: any(v.latched for v in ears.verdicts), "the latch")
        first.signal(signal.SIGKILL)
        first.join()
    with running(*gate):
        time.sleep(3.0)
        over.set()
        thread.join()
        until(lambda: any(v.accepted for v in ears.verdicts[-5:]), "verified commands, after the flood")
    allowed = {padded(command) for command in robot.commands}
    assert rogue not in ears.output
    assert all(payload in allowed or not any(payload[16:]) for payload in ears.output)
