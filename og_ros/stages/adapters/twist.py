"""geometry_msgs/msg/Twist: chosen velocities, as a vector, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.stages.adapters.adapter import Sample
from og_ros.stages.adapters.header import read_doubles
from og_ros.stages.adapters.vector import (
    TWIST_FIELDS,
    check_count,
    check_fields,
    check_vector,
    select,
    write_twist,
)
from og_ros.stages.model import Tensor


@dataclass(frozen=True)
class TwistAdapter:
    """Vector of `fields` of a twist (m/s, rad/s), float32; fields that are not chosen are written as 0.

    Attributes:
        fields: of TWIST_FIELDS, in the order of the tensor.
        batch: put a dimension of 1 in front of an input's shape.
    """

    name: ClassVar[str] = "twist"
    message_type: ClassVar[str] = "geometry_msgs/msg/Twist"
    stamped: ClassVar[bool] = False

    fields: tuple[str, ...] = ("linear.x", "angular.z")
    batch: bool = False

    def __post_init__(self) -> None:
        check_fields(self.fields, TWIST_FIELDS)

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        check_vector(self.name, len(self.fields), self.batch, tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        check_count(self.name, len(self.fields), tensor)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        values = read_doubles(reader, len(TWIST_FIELDS))
        reader.end()
        return Sample(select(values, TWIST_FIELDS, self.fields, self.batch))

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; stamp and frame are not used."""
        writer = CdrWriter()
        write_twist(writer, array, self.fields)
        return writer.payload()
