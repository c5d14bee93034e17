"""The robot's body: a differential drive whose wheels follow their commands with a lag."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pose:
    """Position (x, y), m, and heading theta, rad, in the world or odometry frame."""

    x: float
    y: float
    theta: float


@dataclass(frozen=True)
class Odometry:
    """What the wheel encoders say: a pose by dead reckoning, and the measured speeds v, m/s, and omega, rad/s."""

    pose: Pose
    v: float
    omega: float


@dataclass(frozen=True)
class Chassis:
    """Constants of the drive.

    Attributes:
        wheel_base: distance between the wheels, m.
        radius: radius of the circle that the body occupies, m.
        lag: time constant of a wheel's first-order response, s.
        max_wheel: greatest rim speed of a wheel, m/s.
        deadband: under a command below this a turning wheel comes to rest, m/s.
        breakaway: a wheel at rest stays there under a command below this (static friction), m/s.
    """

    wheel_base: float = 0.20
    radius: float = 0.12
    lag: float = 0.10
    max_wheel: float = 0.80
    deadband: float = 0.01
    breakaway: float = 0.10


@dataclass(frozen=True)
class Wheels:
    """Rim speeds of the left and the right wheel, m/s."""

    left: float
    right: float


def respond(chassis: Chassis, wheels: Wheels, command: tuple[float, float], dt: float) -> Wheels:
    """The wheel speeds `dt` seconds after `command` (left, right), m/s, was given; one that is not finite stops."""
    gain = 1.0 - math.exp(-dt / chassis.lag)
    return Wheels(
        _wheel(chassis, wheels.left, command[0], gain),
        _wheel(chassis, wheels.right, command[1], gain),
    )


def _wheel(chassis: Chassis, speed: float, command: float, gain: float) -> float:
    friction = chassis.breakaway if speed == 0.0 else chassis.deadband
    if not math.isfinite(command) or abs(command) < friction:
        command = 0.0
    command = max(-chassis.max_wheel, min(chassis.max_wheel, command))
    speed = round(speed + gain * (command - speed), 9)
    return 0.0 if command == 0.0 and abs(speed) < 1e-3 else speed


def twist(chassis: Chassis, wheels: Wheels) -> tuple[float, float]:
    """Forward speed, m/s, and turn rate, rad/s, of the body."""
    return 0.5 * (wheels.left + wheels.right), (wheels.right - wheels.left) / chassis.wheel_base


def advance(pose: Pose, v: float, omega: float, dt: float) -> Pose:
    """The pose after `dt` seconds at v, m/s, and omega, rad/s (midpoint rule).

    Rounded to 1 nm: the last bit of a sine differs between C libraries, and must not grow into another run.
    """
    middle = pose.theta + 0.5 * omega * dt
    x = pose.x + v * dt * math.cos(middle)
    y = pose.y + v * dt * math.sin(middle)
    theta = pose.theta + omega * dt
    theta -= 2.0 * math.pi * math.floor((theta + math.pi) / (2.0 * math.pi))
    return Pose(round(x, 9), round(y, 9), round(theta, 9))
