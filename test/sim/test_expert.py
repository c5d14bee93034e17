"""The expert steers back to the line, stops for what stands on it, and passes what stands beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from og_ros.sim.box import Box
from og_ros.sim.expert import Expert, Plan, control, obstacle_distance, plan, reference
from og_ros.sim.lidar import Lidar, cast
from og_ros.sim.robot import Chassis, Pose
from og_ros.sim.track import LineState

EXPERT, LIDAR, CHASSIS = Expert(), Lidar(), Chassis()
STRAIGHT = LineState(0.0, 0.0, 0.0)
FREE = np.full(24, LIDAR.range_max, dtype=np.float32)


def ranges(x: float, y: float) -> np.ndarray:
    return cast(LIDAR, Pose(0.0, 0.0, 0.0), [Box(x, y, 0.0, 0.2, 0.2, 0.2, (0, 0, 0))]).astype(np.float32)


def test_straight_on_at_cruising_speed() -> None:
    assert reference(EXPERT, plan(EXPERT, LIDAR, STRAIGHT, FREE)) == (EXPERT.cruise, 0.0)


@pytest.mark.parametrize("line", [LineState(0.1, 0.0, 0.0), LineState(0.0, 0.3, 0.0), LineState(0.0, 0.0, -1.0)])
def test_left_of_the_line_or_before_a_right_bend_it_turns_right(line: LineState) -> None:
    v, omega = reference(EXPERT, plan(EXPERT, LIDAR, line, FREE))
    assert 0.0 < v < EXPERT.cruise
    assert omega < 0.0


def test_it_slows_and_stops_before_a_box_on_the_line() -> None:
    speeds = [reference(EXPERT, plan(EXPERT, LIDAR, STRAIGHT, ranges(x, 0.0))) for x in (1.4, 0.7, 0.45)]
    assert speeds[0] == (EXPERT.cruise, 0.0)
    assert 0.0 < speeds[1][0] < 0.3
    assert speeds[2] == (0.0, 0.0)


def test_it_passes_a_box_beside_the_line() -> None:
    assert reference(EXPERT, plan(EXPERT, LIDAR, STRAIGHT, ranges(0.5, 0.45)))[0] == EXPERT.cruise


def test_the_corridor_bends_with_the_line() -> None:
    ahead, bend = ranges(0.9, 0.5), LineState(0.0, 0.0, 1.2)
    assert math.isinf(obstacle_distance(EXPERT, LIDAR, STRAIGHT, ahead))
    assert obstacle_distance(EXPERT, LIDAR, bend, ahead) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize(("v", "driven"), [(-0.2, 0.0), (0.03, 0.0), (0.05, 0.05), (9.0, 0.5)])
def test_a_reference_neither_reverses_nor_crawls_nor_races(v: float, driven: float) -> None:
    assert reference(EXPERT, Plan(v, 2.0)) == (driven, 2.0 * driven)


def test_control_feeds_forward_and_back() -> None:
    assert control(EXPERT, CHASSIS, (0.4, 0.0), (0.4, 0.0)) == (0.4, 0.4)
    left, right = control(EXPERT, CHASSIS, (0.4, 1.0), (0.3, 0.5))
    assert 0.5 * (left + right) == pytest.approx(0.45)
    assert right > left
    assert control(EXPERT, CHASSIS, (9.0, 0.0), (0.0, 0.0)) == (0.8, 0.8)
