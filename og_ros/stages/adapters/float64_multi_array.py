"""std_msgs/msg/Float64MultiArray, both ways: what the controllers of ros2_control take as commands."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters import multi_array
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.model import Tensor


@dataclass(frozen=True)
class Float64MultiArrayAdapter:
    """The array's data after `data_offset`, as float32 or float64; as commands, one value a joint.

    Attributes:
        shape: shape that an input must have; none: the shape of the message's layout, or a vector if it has none.
        labels: names of an output's dimensions in the message's layout. A vector without labels gets no layout, as
            forward_command_controller of ros2_control takes it.
        dtype: of the tensor that an input gives.
        squeeze: leave out an output's leading dimensions of 1, such as that of the batch.
    """

    name: ClassVar[str] = "float64_multi_array"
    message_type: ClassVar[str] = "std_msgs/msg/Float64MultiArray"
    stamped: ClassVar[bool] = False
    modules: ClassVar[tuple[ModuleType, ...]] = (multi_array,)

    shape: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None
    dtype: str = "float32"
    squeeze: bool = False

    def __post_init__(self) -> None:
        multi_array.check_layout(self.shape, self.labels)
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype is {self.dtype!r}; it must be float32 or float64")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        if tensor.dtype != self.dtype or (self.shape is not None and not tensor.fits(self.shape)):
            raise mismatch(self.name, self.shape or tensor.shape, self.dtype, tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        if tensor.dtype not in ("float32", "float64", "float16"):
            raise ConfigError(f"adapter {self.name} writes float64, but tensor {tensor.name} is {tensor}")
        if self.labels is not None and not self.squeeze and len(self.labels) != len(tensor.shape):
            raise ConfigError(
                f"adapter {self.name} has {len(self.labels)} labels, but tensor {tensor.name} is {tensor}"
            )

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        values = multi_array.read_array(CdrReader(payload), self.shape, 8)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite to the model
            return Sample(values.astype(self.dtype, copy=False))

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; stamp and frame are not used. Raises AttestationError for numbers that are not finite."""
        if not np.isfinite(array).all():
            raise AttestationError("the model gave a command that is not finite")
        while self.squeeze and array.ndim > 1 and array.shape[0] == 1:
            array = array[0]
        writer = CdrWriter()
        multi_array.write_array(writer, array, self.labels, 8)
        return writer.payload()
