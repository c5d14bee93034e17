"""The gate node over real DDS: starts closed, passes what is proven, latches, is reset, notices who goes around it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
import wire_messages as wire
from gate_robot import ARRAY, GATE, OUTPUT, VERDICT, Ears, Robot, listening, padded
from ros_peer import Peer, node, running, until
from scenario import TYPES

from og_ros.attest import Attestation, SoftwareSigner, digest, keys, verify
from og_ros.attest.statement import Clock


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


def test_closed_open_latched_reset(peer: Peer, robot: Robot) -> None:
    ears = Ears(peer)
    with running(*node(GATE, "gate", **robot.parameters())) as gate:
        listening(robot)
        rogue = b"\0\1\0\0" + b"\7" * 24
        robot.publishers["/wheel_command"].publish(rogue)
        until(lambda: ears.verdicts, "a verdict")
        first = ears.verdicts[0]
        assert (first.accepted, first.forwarded, first.latched, first.state) == (False, False, False, 0)
        assert list(first.reasons) == ["attestation_missing"]
        assert bytes(first.command) == digest(rogue)
        assert ears.output == []

        robot.start()
        until(lambda: len(ears.output) >= 10, "ten commands")
        assert set(ears.output) <= {padded(c) for c in robot.commands}
        good = next(v for v in ears.verdicts if v.accepted)
        assert (good.forwarded, good.mode, good.state) == (True, 1, 1)
        assert list(good.stages) == ["perception", "planning", "control"]

        passed = len(ears.output)
        robot.publishers["/wheel_command"].publish(rogue)
        until(lambda: ears.verdicts[-1].latched, "the latch")
        refusal = next(v for v in ears.verdicts if v.latched)
        assert refusal.safe_behaviour == "stop"
        assert bytes(refusal.command) == digest(rogue)
        stop = bytes(wire.serialize(wire.make("std_msgs/msg/Float32MultiArray", layout=_layout(), data=_floats())))
        until(lambda: ears.output.count(padded(stop)) >= 5, "the neutral message, again and again")
        assert rogue not in ears.output
        until(lambda: "gate_latched" in ears.reasons(), "a verified command that did not pass")
        heard = list(ears.output)
        after = heard[heard.index(padded(stop)) :]
        assert set(after) == {padded(stop)}, "something passed a latched gate"
        assert len(heard) >= passed

        until(lambda: ears.reset()[0], "a granted reset")
        count = len(ears.output)
        until(lambda: len([p for p in ears.output[count:] if p != padded(stop)]) >= 5, "commands after the reset")

        robot.stop()
        until(lambda: "chain_stalled" in ears.reasons(), "the stall")
        until(lambda: "no command verifies" in ears.reset()[1], "a refused reset")
        assert gate.stop(signal.SIGTERM) == 0
        assert "Traceback" not in gate.output, gate.output
    check_attestations(robot, ears, rogue)


def check_attestations(robot: Robot, ears: Ears, rogue: bytes) -> None:
    """Every decision is signed: a pass with what was passed on, a refusal with its verdict."""
    public = SoftwareSigner(robot.gate_key).public_key
    signed: list[Attestation] = ears.attestations()
    previous, began = bytes(32), 0
    for number, attestation in enumerate(signed):
        verify(attestation, public)
        assert (attestation.statement.sequence, attestation.statement.previous) == (number, previous)
        assert attestation.statement.clock is Clock.SYSTEM
        assert attestation.statement.start_monotonic_ns >= began, "an audit would find clock_went_back"
        previous, began = attestation.digest, attestation.statement.start_monotonic_ns
    outputs = {o.digest: a.statement for a in signed for o in a.statement.outputs if o.topic == OUTPUT}
    assert {digest(p) for p in ears.output} <= outputs.keys(), "something was published and not signed for"
    verdicts = {o.digest for a in signed for o in a.statement.outputs if o.topic == "/gate/verdict"}
    assert {digest(p) for p in ears._verdicts} == verdicts
    refused = [a.statement for a in signed if a.statement.inputs[0].digest == digest(rogue)]
    assert len(refused) == 2
    assert all([o.topic for o in s.outputs] == ["/gate/verdict"] for s in refused)
    assert all(digest(p) in outputs for p in ears.output)


def _layout() -> Any:
    return wire.make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)


def _floats(*values: float) -> Any:
    import numpy as np

    return np.array(values, np.float32)


def test_another_publisher_on_the_output_latches_until_it_is_gone(peer: Peer, robot: Robot) -> None:
    ears = Ears(peer)
    with running(*node(GATE, "gate", **robot.parameters(stall=0.0))):
        listening(robot)
        robot.start()
        until(lambda: len(ears.output) >= 3, "commands")
        rogue = peer.publisher(OUTPUT, ARRAY)
        until(lambda: "gate_bypassed" in ears.reasons(), "the second publisher to be noticed")
        verdict = next(v for v in ears.verdicts if "gate_bypassed" in v.reasons)
        assert verdict.latched
        assert "/peer publishes on" in verdict.message
        granted, why = ears.reset()
        assert (granted, "beside the gate" in why) == (False, True)
        peer.node.destroy_publisher(rogue)
        until(lambda: ears.reset()[0], "a reset after the second publisher left")


def test_monitor_passes_everything_and_tells(peer: Peer, robot: Robot) -> None:
    ears = Ears(peer)
    rogue = b"\0\1\0\0" + b"\7" * 24
    with running(*node(GATE, "gate", **robot.parameters(mode="monitor"))):
        listening(robot)
        robot.start()
        until(lambda: any(v.accepted for v in ears.verdicts), "an accepted command")
        robot.publishers["/wheel_command"].publish(rogue)
        until(lambda: rogue in ears.output, "the command that nobody attested")
        until(lambda: any(bytes(v.command) == digest(rogue) for v in ears.verdicts), "its verdict")
        verdict = next(v for v in ears.verdicts if bytes(v.command) == digest(rogue))
        assert (verdict.mode, verdict.accepted, verdict.forwarded, verdict.latched) == (2, False, True, False)
        assert set(verdict.reasons) & {"attestation_missing", "command_superseded", "output_altered"}


def test_hand_over_leaves_the_output_to_another(peer: Peer, robot: Robot) -> None:
    """Latched, the gate says nothing on its output: the neutral message goes where a multiplexer takes it from."""
    ears = Ears(peer)
    other = peer.hear("/wheels/stop", ARRAY, 1000)
    parameters = robot.parameters(safe_behaviour="hand_over", hand_over="/wheels/stop", stall=0.0)
    with running(*node(GATE, "gate", **parameters)) as gate:
        listening(robot)
        robot.start()
        until(lambda: len(ears.output) >= 5, "commands")
        assert other == []
        robot.publishers["/wheel_command"].publish(b"\0\1\0\0" + b"\7" * 24)
        until(lambda: len(other) >= 5, "the neutral message on the other topic")
        passed = len(ears.output)
        count = len(other)
        until(lambda: len(other) >= count + 5, "it again and again")
        assert len(ears.output) == passed, "something was published on the output of a latched gate"
        assert {wire.deserialize(payload, ARRAY).data.any() for payload in other} == {False}
        verdict = next(v for v in ears.verdicts if v.latched)
        assert verdict.safe_behaviour == "hand_over"
        until(lambda: ears.reset()[0], "a granted reset")
        until(lambda: len(ears.output) >= passed + 5, "commands after the reset")
        count = len(other)
        until(lambda: len(ears.output) >= passed + 15, "more commands")
        assert len(other) == count, "the other topic is left alone again"
        assert gate.stop() == 0
    signed = {o.digest for a in ears.attestations() for o in a.statement.outputs if o.topic == "/wheels/stop"}
    assert {digest(payload) for payload in other} <= signed
    assert set(ears.output) <= {padded(c) for c in robot.commands}, "on the output went commands alone"


def test_restart_forgets_and_begins_closed(peer: Peer, robot: Robot) -> None:
    """A killed gate that comes back passes no command of before; its new session begins at 0."""
    ears = Ears(peer)
    robot.start()
    with running(*node(GATE, "gate", **robot.parameters(bypass="report"))) as gate:
        until(lambda: len(ears.output) >= 5, "commands")
        gate.kill()
    time.sleep(0.1)
    before, known = len(ears.output), len(robot.commands)
    with running(*node(GATE, "gate", **robot.parameters(bypass="report"))):
        until(lambda: len(ears.output) >= before + 5, "commands after the restart")
    old = {padded(c) for c in robot.commands[: known - 2]}
    assert not old & set(ears.output[before:]), "a command from before the restart passed"
    sessions = {a.statement.session for a in ears.attestations()}
    assert len(sessions) == 2


def test_any_type_and_simulated_time(peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Twist is forwarded as it came, and deadlines pass while /clock stands still."""
    twist = "geometry_msgs/msg/Twist"
    monkeypatch.setitem(TYPES, "/wheel_command", twist)
    robot = Robot(peer, tmp_path)
    output = peer.hear(OUTPUT, twist, 1000)
    verdicts, signed = peer.hear("/gate/verdict", VERDICT, 1000), peer.hear_attestations("/gate/verdict/attestation")
    parameters = robot.parameters(type=twist, use_sim_time=True, neutral="['linear.x=-0.5']")
    try:
        with running(*node(GATE, "gate", **parameters)):
            listening(robot)
            robot.start()
            until(lambda: len(output) >= 3, "commands")
            assert set(output) <= {padded(c) for c in robot.commands}
            robot.publishers["/wheel_command"].publish(b"\0\1\0\0" + b"\7" * 48)
            until(lambda: len(output[-1]) == 52 and wire.deserialize(output[-1], twist).linear.x == -0.5, "the stop")
    finally:
        robot.stop()
    assert verdicts
    assert {a.statement.clock for a in signed()} == {Clock.SIM}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "/nowhere.pem"}, "/nowhere.pem"),
        ({"output": "/wheel_command"}, "commands would pass beside the gate"),
        ({"type": "std_msgs/msg/Nothing"}, "is not installed"),
        ({"mode": "sometimes"}, "must be one of enforce, monitor"),
        ({"deadline": 100.0}, "deadline is 100"),
        ({"safe_behaviour": "hand_over"}, "go together"),
        ({"neutral": "['speed=0.0']"}, "no field speed"),
    ],
)
def test_wrong_parameters_are_one_line(robot: Robot, changes: dict[str, object], words: str) -> None:
    with running(*node(GATE, "gate", **robot.parameters(**changes))) as gate:
        assert gate.join() == 1
        assert words in gate.output
        assert "Traceback" not in gate.output


def test_uncertified_gate_does_not_start(robot: Robot) -> None:
    (robot.directory / "gate.pem").unlink()
    keys.save_private(keys.generate(), robot.directory / "gate.pem")
    with running(*node(GATE, "gate", **robot.parameters())) as gate:
        assert gate.join() == 1
        assert "is not in the registry" in gate.output
