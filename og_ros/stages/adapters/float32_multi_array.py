"""std_msgs/msg/Float32MultiArray: a tensor of float32 as it is, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import ConfigError
from og_ros.stages.adapters import multi_array
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.model import Tensor


@dataclass(frozen=True)
class Float32MultiArrayAdapter:
    """The array's data after `data_offset`, float32.

    Attributes:
        shape: shape that an input must have; none: the shape of the message's layout, or a vector if it has none.
        labels: names of an output's dimensions in the message's layout. A vector without labels gets no layout.
    """

    name: ClassVar[str] = "float32_multi_array"
    message_type: ClassVar[str] = "std_msgs/msg/Float32MultiArray"
    stamped: ClassVar[bool] = False
    modules: ClassVar[tuple[ModuleType, ...]] = (multi_array,)

    shape: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        multi_array.check_layout(self.shape, self.labels)

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        if tensor.dtype != "float32" or (self.shape is not None and not tensor.fits(self.shape)):
            raise mismatch(self.name, self.shape or tensor.shape, "float32", tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        if tensor.dtype not in ("float32", "float16"):
            raise ConfigError(f"adapter {self.name} writes float32, but tensor {tensor.name} is {tensor}")
        if self.labels is not None and len(self.labels) != len(tensor.shape):
            raise ConfigError(
                f"adapter {self.name} has {len(self.labels)} labels, but tensor {tensor.name} is {tensor}"
            )

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        return Sample(multi_array.read_array(CdrReader(payload), self.shape, 4))

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; stamp and frame are not used."""
        writer = CdrWriter()
        multi_array.write_array(writer, array, self.labels, 4)
        return writer.payload()
