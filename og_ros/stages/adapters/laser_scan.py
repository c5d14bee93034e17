"""sensor_msgs/msg/LaserScan: ranges, resampled and freed of infinities, as an input vector."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch, no_output
from og_ros.stages.adapters.header import read_floats, read_header
from og_ros.stages.model import Tensor

_MAX_ANGLE: Final = 4 * np.pi


@dataclass(frozen=True)
class LaserScanAdapter:
    """Ranges in m, float32 [beams].

    REP 117: +inf is no return, -inf too close, NaN an error. Many drivers write 0 for no return.

    Attributes:
        beams: how many ranges the model takes; none: as many as the scan has.
        angles: directions of the first and the last of `beams`, rad; none: of the scan's first and last beam.
        resample: `min` gives each of `beams` the shortest range of the sector around it, so that no obstacle is lost;
            `nearest` the range of the scan's nearest beam.
        inf: what takes the place of +inf and NaN: `range_max` of the scan, or `keep`. -inf becomes range_min with it.
        below_min: what takes the place of ranges under range_min: `keep` or `range_max`.
        clip: lowest and highest range, m.
        scale: factor on the ranges, after all of these.
        batch: put a dimension of 1 in front.
    """

    name: ClassVar[str] = "laser_scan"
    message_type: ClassVar[str] = "sensor_msgs/msg/LaserScan"
    stamped: ClassVar[bool] = True

    beams: int | None = None
    angles: tuple[float, float] | None = None
    resample: Literal["min", "nearest"] = "min"
    inf: Literal["range_max", "keep"] = "range_max"
    below_min: Literal["keep", "range_max"] = "keep"
    clip: tuple[float, float] | None = None
    scale: float = 1.0
    batch: bool = False

    def __post_init__(self) -> None:
        if self.beams is not None and not 1 <= self.beams <= 100_000:
            raise ConfigError(f"beams is {self.beams}; it must be from 1 to 100000")
        if self.angles is not None and (self.beams is None or not self.angles[0] <= self.angles[1]):
            raise ConfigError("angles must be [first, last] in rad, first not above last, and need beams")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ConfigError("clip must be [lowest, highest]")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        shape: tuple[int | None, ...] = (1, self.beams) if self.batch else (self.beams,)
        if not tensor.fits(shape) or tensor.dtype != "float32":
            raise mismatch(self.name, shape, "float32", tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise no_output(self.name)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        angle_min, _, increment, _, _, range_min, range_max = read_floats(reader, 7).tolist()
        ranges = read_floats(reader, reader.number("I", 4))
        read_floats(reader, reader.number("I", 4))  # intensities
        reader.end()
        if ranges.size == 0:
            raise AttestationError("the scan has no ranges")
        if not np.isfinite([range_min, range_max]).all():
            raise AttestationError("the scan has range limits that are not finite")
        if not (abs(angle_min) <= _MAX_ANGLE and abs(increment) <= _MAX_ANGLE):
            raise AttestationError(
                f"the scan begins at {angle_min} rad in steps of {increment} rad, which no lidar does"
            )
        values = self._clean(ranges, range_min, range_max)
        if self.beams is not None:
            low, high = self.angles or (angle_min, angle_min + increment * (ranges.size - 1))
            values = self._resampled(values, angle_min, increment, low, high, range_max)
        if self.clip is not None:
            values = np.clip(values, self.clip[0], self.clip[1])
        if self.scale != 1.0:
            values = values * np.float32(self.scale)
        values = values.astype(np.float32, copy=False)
        return Sample(values[np.newaxis] if self.batch else values, stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Refuse: see Adapter."""
        raise no_output(self.name)

    def _clean(self, ranges: NDArray[np.float32], range_min: float, range_max: float) -> NDArray[np.float32]:
        values = ranges
        if self.inf == "range_max" and not np.isfinite(values).all():
            values = np.nan_to_num(values, nan=range_max, posinf=range_max, neginf=range_min)
        if self.below_min == "range_max":
            values = np.where(values < np.float32(range_min), np.float32(range_max), values)
        return values

    def _resampled(
        self, values: NDArray[np.float32], angle_min: float, increment: float, low: float, high: float, empty: float
    ) -> NDArray[np.float32]:
        assert self.beams is not None
        if self.resample == "nearest":
            index, seen = _nearest(values.size, angle_min, increment, low, high, self.beams)
            return np.where(seen, values[index], np.float32(empty))
        sector = _sectors(values.size, angle_min, increment, low, high, self.beams)
        shortest = np.full(self.beams + 1, np.inf, dtype=np.float32)
        np.minimum.at(shortest, sector, values)
        return np.where(np.isinf(shortest[:-1]), np.float32(empty), shortest[:-1])


def _spacing(low: float, high: float, beams: int) -> float:
    return (high - low) / (beams - 1) if beams > 1 else 2 * np.pi


@lru_cache(maxsize=16)
def _sectors(count: int, angle_min: float, increment: float, low: float, high: float, beams: int) -> NDArray[np.intp]:
    """Return for each of the scan's beams the index of the wanted beam whose sector it is in, or `beams` for none."""
    spacing = _spacing(low, high, beams)
    if spacing == 0:
        return np.full(count, beams, dtype=np.intp)
    angles = angle_min + increment * np.arange(count)
    # An angle and the same angle one turn further are one direction; count from half a sector before the first.
    turned = np.mod(np.sign(spacing) * (angles - low) + abs(spacing) / 2, 2 * np.pi)
    # The tolerance keeps a beam that lies on the edge of the first sector from wrapping to the end of the turn.
    turned[2 * np.pi - turned < 1e-9] = 0.0
    sector = np.floor(turned / abs(spacing)).astype(np.intp)
    return np.where(sector < beams, sector, beams).astype(np.intp)


@lru_cache(maxsize=16)
def _nearest(
    count: int, angle_min: float, increment: float, low: float, high: float, beams: int
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each wanted beam the scan's nearest beam, and whether it is within half a spacing of either grid."""
    wanted = np.linspace(low, high, beams)
    angles = angle_min + increment * np.arange(count)
    apart = np.abs(np.mod(wanted[:, None] - angles[None, :] + np.pi, 2 * np.pi) - np.pi)
    index = np.argmin(apart, axis=1)
    limit = max(abs(increment), abs(_spacing(low, high, beams))) / 2 + 1e-9
    return index.astype(np.intp), apart[np.arange(beams), index] <= limit
