"""A planar lidar: ranges from the robot to the boxes around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from og_ros.sim.box import Box
from og_ros.sim.robot import Pose


@dataclass(frozen=True)
class Lidar:
    """A lidar above the axle centre; beams run from `angle_min` to `angle_max`, both included.

    Attributes:
        beams: number of beams.
        angle_min, angle_max: direction of the first and the last beam in the robot frame, rad, anticlockwise.
        range_min, range_max: m.
    """

    beams: int = 24
    angle_min: float = -math.pi / 2
    angle_max: float = math.pi / 2
    range_min: float = 0.05
    range_max: float = 4.0

    @property
    def angle_increment(self) -> float:
        """Angle between neighbouring beams, rad."""
        return (self.angle_max - self.angle_min) / (self.beams - 1)

    def angles(self) -> list[float]:
        """Directions of the beams in the robot frame, rad."""
        return [self.angle_min + step * self.angle_increment for step in range(self.beams)]


def cast(lidar: Lidar, pose: Pose, boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Noise-free ranges, float64 [beams], m; `range_max` where a beam meets nothing.

    Every beam is cut with the two slabs of every box (Kay and Kajiya, 1986).
    """
    if not boxes:
        return np.full(lidar.beams, lidar.range_max)
    directions = [pose.theta + angle for angle in lidar.angles()]
    dx = np.array([math.cos(angle) for angle in directions])[:, None]
    dy = np.array([math.sin(angle) for angle in directions])[:, None]
    c = np.array([math.cos(box.theta) for box in boxes])
    s = np.array([math.sin(box.theta) for box in boxes])
    ox = np.array([pose.x - box.x for box in boxes])
    oy = np.array([pose.y - box.y for box in boxes])
    half_length = np.array([0.5 * box.length for box in boxes])
    half_width = np.array([0.5 * box.width for box in boxes])
    near_l, far_l = _slab(c * ox + s * oy, c * dx + s * dy, half_length)
    near_w, far_w = _slab(c * oy - s * ox, c * dy - s * dx, half_width)
    near, far = np.maximum(near_l, near_w), np.minimum(far_l, far_w)
    hits = np.where((near <= far) & (far > 0.0), np.maximum(near, 0.0), lidar.range_max)
    return np.asarray(np.clip(hits.min(axis=1), lidar.range_min, lidar.range_max))


def _slab(
    origin: NDArray[np.float64], direction: NDArray[np.float64], half: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where rays enter and leave |coordinate| <= half; float64 [beams, boxes] each."""
    steep = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    one, other = (-half - origin) / steep, (half - origin) / steep
    return np.minimum(one, other), np.maximum(one, other)
