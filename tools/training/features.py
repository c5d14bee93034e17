"""What the networks see of their inputs; `graphs` says the same in ONNX."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from og_ros.sim.lidar import Lidar

Array = NDArray[np.float64]

ROWS, COLUMNS = 120, 160
"""Size of the image that perception takes."""

CELL = 5
"""Perception looks at means over cells of this many pixels a side."""

FLOOR_ROWS = 10
"""The lowest rows of cells, which show little but floor: their mean colour is taken for the floor's."""

SALIENCE_LIMIT = 8.0
LINE_SCALE = np.array([0.10, 0.25, 0.60])
"""Perception's outputs are in units of these: m, rad, 1/m."""

LINE_LIMIT = np.array([0.6, 1.6, 3.0])
"""Planning clips its line state to these: m, rad, 1/m."""

NEAR_FIELD = 1.6
"""Planning does not look further than this, m."""

PLAN_SCALE = np.array([0.20, 1.20])
"""Planning's outputs are in units of these: m/s, 1/m."""

SPEED_SCALE = np.array([0.4, 1.5, 0.4, 1.5])
"""Control's inputs (v, omega of the reference, v, omega measured) are in units of these: m/s and rad/s."""

SPEED_LIMIT = np.array([1.0, 6.0, 1.0, 6.0])
WHEEL_SCALE = 0.4
"""Control's outputs are in units of this, m/s."""

RANGE_MAX = Lidar().range_max


def salience(image: NDArray[np.uint8]) -> Array:
    """How much each cell differs from the floor: float64 [768], rows first, 1 in the mean.

    The sum over the channels of |mean colour - floor colour|, over its mean over the image. In whole numbers up to the
    one division, so exact.
    """
    cells = image.astype(np.int64).reshape(ROWS // CELL, CELL, COLUMNS // CELL, CELL, 3).sum(axis=(1, 3))
    floor = cells[-FLOOR_ROWS:].reshape(-1, 3)
    count = len(floor)
    difference = np.abs(cells * count - floor.sum(axis=0)).sum(axis=2).reshape(-1)
    unit = CELL * CELL * count
    mean = (difference.sum() + unit * difference.size) / difference.size  # one grey level more, lest it be zero
    return np.asarray(np.minimum(difference / mean, SALIENCE_LIMIT))


def plan_inputs(lines: Array, ranges: Array) -> Array:
    """Line states, [n, 3], and ranges, [n, 24], as planning's network takes them: float64 [n, 27]."""
    clipped = np.clip(lines, -LINE_LIMIT, LINE_LIMIT) / LINE_SCALE
    nearness = np.maximum(1.0 - np.clip(ranges, 0.0, RANGE_MAX) / NEAR_FIELD, 0.0)
    return np.concatenate([clipped, 2.0 * nearness], axis=1)


def control_inputs(speeds: Array) -> Array:
    """Reference and measured (v, omega), float64 [n, 4], as control's network takes them."""
    return np.asarray(np.clip(speeds, -SPEED_LIMIT, SPEED_LIMIT) / SPEED_SCALE)
