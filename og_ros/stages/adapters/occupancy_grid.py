"""nav_msgs/msg/OccupancyGrid: a map, or one of nav2's costmaps, as an image of costs. Input only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch, no_output
from og_ros.stages.adapters.header import read_doubles, read_header
from og_ros.stages.model import Tensor

_POSE_SIZE: Final = 7


@dataclass(frozen=True)
class OccupancyGridAdapter:
    """Costs [h, w], float32: occupancy 0 to 100 times `scale`, row 0 at the grid's origin.

    Attributes:
        size: [width, height] that a grid must have, in cells; none: any.
        unknown: what a cell of unknown occupancy (-1) becomes, before `scale`.
        scale: factor on the costs.
        layout: `hw`, or `chw` with one channel in front.
        batch: put a dimension of 1 in front.
    """

    name: ClassVar[str] = "occupancy_grid"
    message_type: ClassVar[str] = "nav_msgs/msg/OccupancyGrid"
    stamped: ClassVar[bool] = True

    size: tuple[int, int] | None = None
    unknown: float = -1.0
    scale: float = 1.0
    layout: str = "hw"
    batch: bool = False

    def __post_init__(self) -> None:
        if self.size is not None and not all(1 <= one <= 65_536 for one in self.size):
            raise ConfigError("size must be [width, height], each from 1 to 65536 cells")
        if self.layout not in ("hw", "chw"):
            raise ConfigError(f"layout is {self.layout!r}; it must be hw or chw")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        width, height = self.size or (None, None)
        shape: tuple[int | None, ...] = (height, width) if self.layout == "hw" else (1, height, width)
        if self.batch:
            shape = (1, *shape)
        if not tensor.fits(shape) or tensor.dtype != "float32":
            raise mismatch(self.name, shape, "float32", tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise no_output(self.name)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        reader.time()  # map_load_time
        reader.span(4, 4)  # resolution
        width, height = reader.number("I", 4), reader.number("I", 4)
        read_doubles(reader, _POSE_SIZE)  # origin
        cells = np.frombuffer(reader.span(reader.number("I", 4)), dtype=np.int8)
        reader.end()
        if not cells.size or cells.size != width * height:
            raise AttestationError(f"the grid of {width}×{height} cells has {cells.size}")
        if self.size is not None and (width, height) != self.size:
            raise AttestationError(f"the grid has {width}×{height} cells; {self.size[0]}×{self.size[1]} are expected")
        values = cells.reshape(height, width).astype(np.float32)
        values[values < 0] = np.float32(self.unknown)
        if self.scale != 1.0:
            values *= np.float32(self.scale)
        for _ in range((self.layout == "chw") + self.batch):
            values = values[np.newaxis]
        return Sample(values, stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Refuse: see Adapter."""
        raise no_output(self.name)
