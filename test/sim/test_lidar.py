"""Beams meet boxes where geometry says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from og_ros.sim.box import Box
from og_ros.sim.lidar import Lidar, cast
from og_ros.sim.robot import Pose

LIDAR = Lidar(beams=25)  # an odd number has a beam straight ahead
ORIGIN = Pose(0.0, 0.0, 0.0)


def box(x: float, y: float, theta: float = 0.0) -> Box:
    return Box(x, y, theta, 0.2, 0.2, 0.2, (0, 0, 0))


def test_nothing_is_range_max() -> None:
    assert (cast(LIDAR, ORIGIN, []) == LIDAR.range_max).all()
    assert (cast(LIDAR, ORIGIN, [box(-1.0, 0.0), box(5.0, 0.0)]) == LIDAR.range_max).all()


def test_a_box_ahead_is_met_at_its_face() -> None:
    assert cast(LIDAR, ORIGIN, [box(1.0, 0.0)])[12] == pytest.approx(0.9)
    assert cast(LIDAR, ORIGIN, [box(1.0, 0.0, math.pi / 4)])[12] == pytest.approx(1 - 0.1 * math.sqrt(2))


def test_a_box_to_the_left_is_met_by_the_last_beam() -> None:
    ranges = cast(LIDAR, ORIGIN, [box(0.0, 1.0)])
    assert ranges[-1] == pytest.approx(0.9)
    assert ranges[0] == LIDAR.range_max


def test_the_nearer_box_hides_the_farther() -> None:
    assert cast(LIDAR, ORIGIN, [box(2.0, 0.0), box(1.0, 0.0)])[12] == pytest.approx(0.9)


def test_ranges_turn_with_the_robot() -> None:
    turned = cast(LIDAR, Pose(3.0, -1.0, 2.0), [box(3 + math.cos(2.0), -1 + math.sin(2.0), 2.0)])
    assert np.allclose(turned, cast(LIDAR, ORIGIN, [box(1.0, 0.0)]))


def test_inside_a_box_is_range_min() -> None:
    assert (cast(LIDAR, ORIGIN, [box(0.0, 0.0)]) == LIDAR.range_min).all()
