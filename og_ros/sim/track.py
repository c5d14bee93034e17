"""A random closed track: the centre line of the tape, and where a robot stands relative to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SPACING = 0.02
"""Distance between two points of a centre line, m."""

PREVIEW = 0.4
"""The curvature of a line state is the mean over this length of line ahead, m: about what the camera sees."""

HALF_WIDTH = 0.30
"""A robot whose lateral offset exceeds this has left the track, m."""

_MAX_CURVATURE = 1.7
_MIN_SEPARATION = 0.9


@dataclass(frozen=True)
class LineState:
    """Where the robot is relative to the tape.

    Attributes:
        offset: signed distance of the axle centre from the line, m; positive when the robot is left of it.
        heading: robot heading minus line heading, rad, in (-pi, pi]; positive when the robot points to the left.
        curvature: mean curvature of the next `PREVIEW` metres of line, 1/m; positive for a left-hand bend.
    """

    offset: float
    heading: float
    curvature: float

    def as_array(self) -> NDArray[np.float32]:
        """The state as the float32[3] that perception puts out and planning takes in."""
        return np.array([self.offset, self.heading, self.curvature], dtype=np.float32)


@dataclass(frozen=True)
class Track:
    """A closed centre line, driven anticlockwise, sampled every `SPACING` metres.

    Attributes:
        points: float64 [N, 2], m, in the world frame.
        tangents: float64 [N, 2], unit vectors along the direction of travel.
        curvature: float64 [N], 1/m, positive to the left.
    """

    points: NDArray[np.float64]
    tangents: NDArray[np.float64]
    curvature: NDArray[np.float64]
    _preview: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = round(PREVIEW / SPACING)
        ahead = np.concatenate([self.curvature, self.curvature[:count]])
        total = np.concatenate([[0.0], np.cumsum(ahead)])
        object.__setattr__(self, "_preview", (total[count:-1] - total[: -count - 1]) / count)

    @property
    def length(self) -> float:
        """Length of the closed line, m (chords of `SPACING`)."""
        return len(self.points) * SPACING

    def nearest(self, x: float, y: float) -> int:
        """Index of the point of the line that is nearest to (x, y), m."""
        delta = self.points - (x, y)
        return int(np.argmin(delta[:, 0] * delta[:, 0] + delta[:, 1] * delta[:, 1]))

    def line_state(self, x: float, y: float, theta: float) -> LineState:
        """The true line state of a robot at (x, y), m, that points to `theta`, rad."""
        index = self.nearest(x, y)
        tx, ty = (float(value) for value in self.tangents[index])
        dx, dy = x - float(self.points[index, 0]), y - float(self.points[index, 1])
        along, offset = dx * tx + dy * ty, dy * tx - dx * ty
        curvature = float(self.curvature[index])
        offset -= 0.5 * curvature * along * along
        heading = theta - math.atan2(ty, tx) - curvature * along
        heading = math.atan2(math.sin(heading), math.cos(heading))
        return LineState(round(offset, 7), round(heading, 7), round(float(self._preview[index]), 7))

    def ahead(self, index: int, distance: float) -> int:
        """Index of the point `distance` metres further along the line than point `index`."""
        return (index + round(distance / SPACING)) % len(self.points)


def random_track(rng: np.random.Generator) -> Track:
    """Draw a star-shaped closed track of about 9-14 m whose bends have a radius of at least 0.6 m.

    Only correctly rounded operations and numbers rounded to 1 um are used, so that the same generator state gives
    the same bytes on every CPU.
    """
    while True:
        track = _sampled(_outline(rng))
        if float(np.abs(track.curvature).max()) <= _MAX_CURVATURE and _separated(track.points):
            return track


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """A dense closed polygon, float64 [720, 2], from a few harmonics of the radius."""
    radius = 1.4 + 0.7 * rng.random()
    harmonics = [(order, (0.36 / order) * rng.random(), 2.0 * math.pi * rng.random()) for order in (2, 3, 4, 5)]
    outline = []
    for step in range(720):
        angle = 2.0 * math.pi * step / 720
        scale = 1.0 + sum(size * math.cos(order * angle + phase) for order, size, phase in harmonics)
        outline.append((radius * scale * math.cos(angle), radius * scale * math.sin(angle)))
    return np.round(np.array(outline), 6)


def _sampled(outline: NDArray[np.float64]) -> Track:
    """The outline at equal steps of `SPACING`, with tangents and curvature by central differences."""
    closed = np.concatenate([outline, outline[:1]])
    chord = np.diff(closed, axis=0)
    arc = np.concatenate([[0.0], np.cumsum(np.sqrt(chord[:, 0] ** 2 + chord[:, 1] ** 2))])
    count = int(arc[-1] / SPACING)
    places = np.arange(count) * (arc[-1] / count)
    points = np.round(np.stack([np.interp(places, arc, closed[:, axis]) for axis in (0, 1)], axis=1), 6)
    reach = 5
    before, after = np.roll(points, reach, axis=0), np.roll(points, -reach, axis=0)
    a, b, c = points - before, after - points, after - before
    lengths = [np.sqrt(side[:, 0] ** 2 + side[:, 1] ** 2) for side in (a, b, c)]
    curvature = 2.0 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / (lengths[0] * lengths[1] * lengths[2])
    tangents = c / lengths[2][:, None]
    return Track(points, np.round(tangents, 9), np.round(curvature, 6))


def _separated(points: NDArray[np.float64]) -> bool:
    """Whether stretches of line that are far apart along it are `_MIN_SEPARATION` apart on the floor, too."""
    coarse = points[::8]
    count, step = len(coarse), 8 * SPACING
    delta = coarse[:, None, :] - coarse[None, :, :]
    square = delta[..., 0] ** 2 + delta[..., 1] ** 2
    gap = np.abs(np.arange(count)[:, None] - np.arange(count)[None, :])
    along = np.minimum(gap, count - gap) * step
    return bool(square[along > 2.2].min() > _MIN_SEPARATION**2)
