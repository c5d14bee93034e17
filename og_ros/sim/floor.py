"""A random floor with the tape on it: the one texture that the camera looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from og_ros.sim.track import Track

PIXELS_PER_METRE = 160
"""Resolution of the floor texture, pixels/m."""

TAPE_WIDTH = 0.045
"""Width of the tape, m."""

_MARGIN = 2.0
_MIN_CONTRAST = 200


@dataclass(frozen=True)
class Floor:
    """A floor texture in the world frame.

    Attributes:
        texture: uint8 [rows, columns, 3], rgb; row 0 is the smallest y, column 0 the smallest x.
        origin: world position (x, y) of the centre of pixel (0, 0), m.
    """

    texture: NDArray[np.uint8]
    origin: tuple[float, float]


def random_floor(track: Track, rng: np.random.Generator) -> Floor:
    """Draw a floor (concrete, tiles, planks or carpet) and lay the tape along `track`.

    Works in integers throughout: the same generator state gives the same bytes on every CPU.
    """
    low = np.floor((track.points.min(axis=0) - _MARGIN) * PIXELS_PER_METRE)
    high = np.ceil((track.points.max(axis=0) + _MARGIN) * PIXELS_PER_METRE)
    columns, rows = (int(value) for value in high - low)
    base = rng.integers(50, 206, 3)
    base = (base + int(base.sum()) // 3) // 2
    relief = _relief(rows, columns, rng)
    texture = np.clip(relief[..., None] + base.astype(np.int16), 0, 255).astype(np.uint8)
    _lay_tape(texture, (track.points * PIXELS_PER_METRE - low), _tape_colour(base, rng), relief)
    return Floor(texture, (float(low[0]) / PIXELS_PER_METRE, float(low[1]) / PIXELS_PER_METRE))


def _relief(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Brightness variation of the bare floor, int16 [rows, columns], about -50 to 50."""
    relief = np.zeros((rows, columns), dtype=np.int16)
    for cell in (1.2, 0.3, 0.08, 0.02):
        amplitude = int(rng.integers(2, 14))
        grid = (rows // int(cell * PIXELS_PER_METRE) + 2, columns // int(cell * PIXELS_PER_METRE) + 2)
        noise = rng.integers(0, 2 * amplitude + 1, grid).astype(np.uint8)
        relief += cv2.resize(noise, (columns, rows), interpolation=cv2.INTER_LINEAR_EXACT).astype(np.int16) - amplitude
    kind = int(rng.integers(4))
    pitch = int(rng.integers(40, 96))
    step = int(rng.integers(4, 16))
    row, column = np.arange(rows)[:, None] // pitch, np.arange(columns)[None, :] // pitch
    if kind == 0:
        relief += (((row + column) % 2) * step).astype(np.int16)
    elif kind == 1:
        planks = rng.integers(-step, step + 1, rows // (pitch // 3) + 1).astype(np.int16)
        relief += planks[np.arange(rows) // (pitch // 3)][:, None]
    if kind in (0, 2):
        relief[::pitch] -= 2 * step
        relief[:, ::pitch] -= 2 * step
    return relief


def _tape_colour(base: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """A colour that differs from the floor by `_MIN_CONTRAST` or more, summed over the channels."""
    while True:
        colour = rng.integers(0, 256, 3)
        if int(np.abs(colour - base).sum()) >= _MIN_CONTRAST:
            return colour


def _lay_tape(
    texture: NDArray[np.uint8], pixels: NDArray[np.float64], colour: NDArray[np.int64], relief: NDArray[np.int16]
) -> None:
    """Paint the tape along `pixels`, float64 [N, 2] (column, row); it takes a little of the floor's relief."""
    mask = np.zeros(texture.shape[:2], dtype=np.uint8)
    corners = np.rint(pixels * 16).astype(np.int32)[:, None, :]
    cv2.polylines(mask, [corners], True, 255, round(TAPE_WIDTH * PIXELS_PER_METRE), cv2.LINE_8, 4)
    on = mask > 0
    painted = colour.astype(np.int16) + relief[on][:, None] // 3
    texture[on] = np.clip(painted, 0, 255).astype(np.uint8)
