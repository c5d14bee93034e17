"""nav_msgs/msg/Path: the way that a planner such as nav2's gives, as points. Input only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch, no_output
from og_ros.stages.adapters.header import read_doubles, read_header
from og_ros.stages.adapters.vector import check_fields
from og_ros.stages.model import Tensor

FIELDS: Final = (
    "position.x", "position.y", "position.z", "orientation.x", "orientation.y", "orientation.z", "orientation.w",
)  # fmt: skip
MAX_POSES: Final = 100_000


@dataclass(frozen=True)
class PathAdapter:
    """Points [points, fields], float32 (m, quaternion), evenly chosen along the path by their number.

    Attributes:
        points: how many points are given; a path of one pose repeats it.
        fields: of FIELDS, in the order of the tensor.
        batch: put a dimension of 1 in front.
    """

    name: ClassVar[str] = "path"
    message_type: ClassVar[str] = "nav_msgs/msg/Path"
    stamped: ClassVar[bool] = True

    points: int = 16
    fields: tuple[str, ...] = ("position.x", "position.y")
    batch: bool = False

    def __post_init__(self) -> None:
        check_fields(self.fields, FIELDS)
        if not 1 <= self.points <= MAX_POSES:
            raise ConfigError(f"points is {self.points}; it must be from 1 to {MAX_POSES}")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        shape: tuple[int | None, ...] = (self.points, len(self.fields))
        shape = (1, *shape) if self.batch else shape
        if not tensor.fits(shape) or tensor.dtype != "float32":
            raise mismatch(self.name, shape, "float32", tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise no_output(self.name)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter; raises AttestationError for a path without poses: there is nowhere to go."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        count = reader.number("I", 4)
        if not 1 <= count <= MAX_POSES:
            raise AttestationError(f"the path has {count} poses; 1 to {MAX_POSES} are taken")
        poses = []
        for _ in range(count):
            read_header(reader)
            poses.append(read_doubles(reader, len(FIELDS)))
        reader.end()
        chosen = np.arange(self.points) * (count - 1) // max(self.points - 1, 1)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite to the model
            values = np.stack(poses)[chosen][:, [FIELDS.index(one) for one in self.fields]].astype(np.float32)
        return Sample(values[np.newaxis] if self.batch else values, stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Refuse: see Adapter."""
        raise no_output(self.name)
