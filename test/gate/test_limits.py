"""A gate's limits as they are opened from files, across restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from envelope_examples import BASE, MS, NOW, SITE, TWIST, envelope, key, odometry, owner, sign_all, twist

from og_ros.errors import EnvelopeError
from og_ros.gate import estop
from og_ros.gate.estop import sign_release, sign_stop
from og_ros.gate.limits import STOP_FILE, Limits, open_limits
from og_ros.gate.stop_state import Outcome


def opened(directory: Path, *texts: str, robot: str = "r1") -> Limits:
    made = [(envelope(text), who) for text, who in zip(texts, ("owner", "site"), strict=False)]
    files = []
    for name, data in sign_all(*made):
        files.append(directory / f"{name}.dsse.json")
        files[-1].write_bytes(data)
    return open_limits(files, owner(), robot, directory / "state", lambda: NOW)


def test_a_gate_that_starts_again_knows_what_it_knew(tmp_path: Path) -> None:
    limits = opened(tmp_path, BASE, SITE)
    limits.envelope.observe("/odom", "nav_msgs/msg/Odometry", odometry(5.0, 5.0), MS)
    assert limits.envelope("/cmd_vel", TWIST, twist(0.1), MS) is None
    assert limits.stop("/cmd_vel", TWIST, twist(0.1), MS) is None
    assert limits.take_stop(estop.encode(sign_stop("r1", key("floor"), 1, NOW, "smoke"))) is Outcome.STOPPED
    with pytest.raises(EnvelopeError, match="left out"):
        opened(tmp_path, BASE)
    again = opened(tmp_path, BASE, SITE)
    refusal = again.stop("/cmd_vel", TWIST, twist(), MS)
    assert refusal is not None
    assert again.stop.challenge.hex() in refusal.message
    for who, outcome in (("a", Outcome.COUNTED), ("b", Outcome.RELEASED)):
        release = sign_release("r1", key(who), 2, NOW, "checked", again.stop.challenge)
        assert again.take_stop(estop.encode(release)) is outcome
    assert not opened(tmp_path, BASE, SITE).stop.stopped


def test_a_state_that_cannot_be_read_is_a_stop(tmp_path: Path) -> None:
    opened(tmp_path, BASE)
    (tmp_path / "state" / STOP_FILE).mkdir()
    assert opened(tmp_path, BASE).stop.stopped


def test_a_disk_that_takes_nothing_stops_the_robot_all_the_same(tmp_path: Path) -> None:
    limits = opened(tmp_path, BASE)
    (tmp_path / "state" / STOP_FILE).mkdir()
    with pytest.raises(EnvelopeError, match="cannot write"):
        limits.take_stop(estop.encode(sign_stop("r1", key("floor"), 1, NOW, "smoke")))
    assert limits.stop.stopped


def test_another_robot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvelopeError, match="not for the robot r9"):
        opened(tmp_path, BASE, robot="r9")
