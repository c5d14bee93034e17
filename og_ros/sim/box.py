"""Boxes: obstacles that stand beside the track, and now and then on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from og_ros.sim.track import Track


@dataclass(frozen=True)
class Box:
    """An upright box.

    Attributes:
        x, y: centre of its footprint in the world frame, m.
        theta: direction of its long side, rad.
        length, width, height: its edges, m.
        colour: rgb, 0-255.
    """

    x: float
    y: float
    theta: float
    length: float
    width: float
    height: float
    colour: tuple[int, int, int]

    def corners(self) -> NDArray[np.float64]:
        """Footprint, float64 [4, 2], m, anticlockwise seen from above."""
        c, s = math.cos(self.theta), math.sin(self.theta)
        half = ((1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0))
        local = [(0.5 * self.length * a, 0.5 * self.width * b) for a, b in half]
        return np.array([(self.x + c * a - s * b, self.y + s * a + c * b) for a, b in local])

    def distance(self, x: float, y: float) -> float:
        """Distance from (x, y) to the footprint, m; 0 inside it."""
        c, s = math.cos(self.theta), math.sin(self.theta)
        dx, dy = x - self.x, y - self.y
        along = max(abs(c * dx + s * dy) - 0.5 * self.length, 0.0)
        across = max(abs(c * dy - s * dx) - 0.5 * self.width, 0.0)
        return math.sqrt(along * along + across * across)


def random_box(rng: np.random.Generator, x: float, y: float, theta: float) -> Box:
    """A box of cardboard size and colour at (x, y), m, turned to about `theta`, rad."""
    length, width, height = (round(0.16 + 0.14 * float(value), 4) for value in rng.random(3))
    tint = int(rng.integers(-30, 31))
    colour = (170 + tint, 125 + tint, 75 + tint)
    return Box(round(x, 6), round(y, 6), round(theta + 0.8 * (rng.random() - 0.5), 6), length, width, height, colour)


def boxes_beside(track: Track, rng: np.random.Generator, count: int) -> tuple[Box, ...]:
    """Up to `count` boxes beside the track, none nearer than 0.33 m to any part of the line."""
    boxes: list[Box] = []
    for _ in range(4 * count):
        index = int(rng.integers(len(track.points)))
        side = 1.0 if rng.random() < 0.5 else -1.0
        shift = side * (0.50 + 0.40 * rng.random())
        (px, py), (tx, ty) = track.points[index], track.tangents[index]
        x, y, turn = float(px - shift * ty), float(py + shift * tx), math.pi * rng.random()
        box = random_box(rng, x, y, turn)
        if len(boxes) < count and min(box.distance(float(a), float(b)) for a, b in track.points[::5]) > 0.33:
            boxes.append(box)
    return tuple(boxes)


@dataclass(frozen=True)
class BoxTimes:
    """When the schedule puts a box on the line, and how it stands.

    Attributes:
        first: time of the first box, s.
        every: least time between two boxes, s; `jitter` seconds of chance come on top.
        stay: time until a box is taken away, s.
        ahead: distance along the line at which it appears, m.
    """

    first: float = 6.0
    every: float = 14.0
    jitter: float = 6.0
    stay: float = 6.0
    ahead: float = 1.3
