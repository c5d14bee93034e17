"""The drive lags, saturates, rests in its deadband, and stops on nonsense."""

from __future__ import annotations

import math

import pytest

from og_ros.sim.robot import Chassis, Pose, Wheels, advance, respond, twist

CHASSIS = Chassis()


def settled(command: tuple[float, float]) -> Wheels:
    wheels = Wheels(0.0, 0.0)
    for _ in range(200):
        wheels = respond(CHASSIS, wheels, command, 0.025)
    return wheels


def test_a_wheel_reaches_63_percent_after_one_time_constant() -> None:
    wheels = respond(CHASSIS, Wheels(0.0, 0.0), (0.5, 0.5), CHASSIS.lag)
    assert wheels.left == pytest.approx(0.5 * (1 - math.exp(-1)), abs=1e-6)


def test_commands_saturate() -> None:
    assert settled((9.0, -9.0)) == Wheels(pytest.approx(0.8, abs=1e-6), pytest.approx(-0.8, abs=1e-6))


def test_a_turning_wheel_follows_commands_that_would_not_start_it() -> None:
    assert respond(CHASSIS, Wheels(0.0, 0.0), (0.09, 0.11), 0.025) == Wheels(0.0, pytest.approx(0.0243, abs=1e-4))
    assert respond(CHASSIS, Wheels(0.05, 0.05), (0.09, 0.011), 1.0) == Wheels(
        pytest.approx(0.09, abs=1e-5), pytest.approx(0.011, abs=1e-5)
    )
    assert respond(CHASSIS, Wheels(0.05, 0.05), (0.009, -0.009), 1.0) == Wheels(0.0, 0.0)


@pytest.mark.parametrize("command", [0.09, -0.09, math.nan, math.inf])
def test_friction_and_nonsense_leave_the_wheels_standing(command: float) -> None:
    assert settled((command, command)) == Wheels(0.0, 0.0)


def test_a_faster_right_wheel_turns_left() -> None:
    v, omega = twist(CHASSIS, Wheels(0.3, 0.4))
    assert (v, omega) == (pytest.approx(0.35), pytest.approx(0.5))


def test_a_quarter_circle() -> None:
    pose = Pose(0.0, 0.0, 0.0)
    for _ in range(1000):
        pose = advance(pose, math.pi / 2, math.pi / 2, 0.001)
    assert (pose.x, pose.y, pose.theta) == (
        pytest.approx(1.0, abs=1e-5),
        pytest.approx(1.0, abs=1e-5),
        pytest.approx(math.pi / 2),
    )
