"""The scripted expert that the models imitate: planning and control as plain functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from og_ros.sim.lidar import Lidar
from og_ros.sim.robot import Chassis
from og_ros.sim.track import LineState


@dataclass(frozen=True)
class Plan:
    """What planning decides, before limits.

    Attributes:
        v: forward speed, m/s; negative says how much too near an obstacle is, and is driven as 0.
        curvature: curvature of the path to drive, 1/m; the turn rate is the driven speed times this.
    """

    v: float
    curvature: float


@dataclass(frozen=True)
class Expert:
    """Constants of the expert.

    Attributes:
        cruise: speed on a straight and empty line, m/s.
        offset_gain, heading_gain: path-tracking gains, 1/m^2 and 1/m (arc-length domain, damping ratio 0.95).
        max_curvature: sharpest path it asks for, 1/m.
        corridor: half-width of the strip along the line that has to be empty, m.
        stop_distance: distance from the axle to an obstacle at which it stands, m.
        brake_gain: slope of the allowed speed over the distance left, 1/s.
        min_plan: lowest speed a plan may name, m/s.
        crawl: a plan that is not faster than this stands: braking by distance alone would creep up for seconds, m/s.
        max_speed: highest speed of a reference, m/s.
        speed_gain, turn_gain: of the feedback on v and omega.
    """

    cruise: float = 0.40
    offset_gain: float = 7.0
    heading_gain: float = 5.0
    max_curvature: float = 3.5
    corridor: float = 0.19
    stop_distance: float = 0.42
    brake_gain: float = 1.2
    min_plan: float = -0.25
    crawl: float = 0.04
    max_speed: float = 0.50
    speed_gain: float = 0.5
    turn_gain: float = 0.3


def plan(expert: Expert, lidar: Lidar, line: LineState, ranges: NDArray[np.float32]) -> Plan:
    """Follow the line, slower in bends and off the line, and stop before whatever stands on it.

    Args:
        expert: constants.
        lidar: geometry of the beams.
        line: line state.
        ranges: float32 [beams], m; `range_max` where nothing is.
    """
    steer = line.curvature - expert.offset_gain * line.offset - expert.heading_gain * line.heading
    steer = max(-expert.max_curvature, min(expert.max_curvature, steer))
    ease = 1.0 - 0.12 * abs(line.curvature) - 0.5 * abs(line.heading) - 1.0 * abs(line.offset)
    free = expert.cruise * max(0.4, ease)
    room = obstacle_distance(expert, lidar, line, ranges) - expert.stop_distance
    return Plan(max(expert.min_plan, min(free, expert.brake_gain * room)), steer)


def reference(expert: Expert, wish: Plan) -> tuple[float, float]:
    """The reference (v, m/s; omega, rad/s) of a plan: never backwards, no crawling, and no turning on the spot."""
    v = min(wish.v, expert.max_speed) if wish.v > expert.crawl else 0.0
    return v, v * max(-expert.max_curvature, min(expert.max_curvature, wish.curvature))


def obstacle_distance(expert: Expert, lidar: Lidar, line: LineState, ranges: NDArray[np.float32]) -> float:
    """Distance along the line to the nearest echo in the corridor around it, m; infinite when it is empty.

    The line is taken as a parabola of the given curvature through the point beside the robot.
    """
    c, s = math.cos(line.heading), math.sin(line.heading)
    nearest = math.inf
    for angle, value in zip(lidar.angles(), ranges, strict=True):
        distance = float(value)
        if distance >= lidar.range_max:
            continue
        ahead, left = distance * math.cos(angle), distance * math.sin(angle)
        along = c * ahead - s * left
        across = line.offset + s * ahead + c * left - 0.5 * line.curvature * along * along
        if along > 0.0 and abs(across) < expert.corridor:
            nearest = min(nearest, along)
    return nearest


def control(
    expert: Expert, chassis: Chassis, wanted: tuple[float, float], measured: tuple[float, float]
) -> tuple[float, float]:
    """Wheel commands (left, right), m/s, of the reference wanted and the speeds measured (v, m/s; omega, rad/s).

    Feed-forward plus proportional feedback.
    """
    v = wanted[0] + expert.speed_gain * (wanted[0] - measured[0])
    omega = wanted[1] + expert.turn_gain * (wanted[1] - measured[1])
    half = 0.5 * chassis.wheel_base * omega
    limit = chassis.max_wheel
    return max(-limit, min(limit, v - half)), max(-limit, min(limit, v + half))
