"""std_msgs/msg/Float32MultiArray: a tensor of float32 as it is, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.adapters.header import read_floats
from og_ros.stages.model import Tensor

MAX_DIMENSIONS: Final = 16
_MAX_LABEL: Final = 255


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

    shape: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.shape is not None and (len(self.shape) > MAX_DIMENSIONS or any(size < 1 for size in self.shape)):
            raise ConfigError(f"shape must be at most {MAX_DIMENSIONS} positive sizes")
        if self.labels is not None and any(len(label.encode()) > _MAX_LABEL or "\0" in label for label in self.labels):
            raise ConfigError(f"labels must be at most {_MAX_LABEL} bytes each, without a NUL")

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
        reader = CdrReader(payload)
        count = reader.number("I", 4)
        if count > MAX_DIMENSIONS:
            raise AttestationError(f"the array has {count} dimensions; {MAX_DIMENSIONS} are allowed")
        sizes: list[int] = []
        for _ in range(count):
            reader.text(_MAX_LABEL)
            sizes.append(reader.number("I", 4))
            reader.number("I", 4)  # stride: of the whole, not used for reading
        offset = reader.number("I", 4)
        values = read_floats(reader, reader.number("I", 4))
        reader.end()
        if offset > values.size:
            raise AttestationError(f"the array's data_offset is {offset}, behind its {values.size} values")
        values = values[offset:]
        shape = self.shape if self.shape is not None else tuple(sizes) or (values.size,)
        expected = 1
        for size in shape:
            expected *= size
        if expected != values.size:
            raise AttestationError(f"the array has {values.size} values, which are not {list(shape)}")
        return Sample(values.reshape(shape))

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; stamp and frame are not used."""
        values = np.ascontiguousarray(array, dtype="<f4")
        writer = CdrWriter()
        labels = self.labels
        if labels is None:
            labels = ("",) * array.ndim if array.ndim > 1 else ()
        if labels and len(labels) != array.ndim:
            raise AttestationError(f"the model gave {array.ndim} dimensions for {len(labels)} labels")
        writer.number("I", 4, len(labels))
        stride = values.size
        for label, size in zip(labels, array.shape, strict=False):
            writer.text(label)
            writer.number("I", 4, size)
            writer.number("I", 4, stride)
            stride //= max(size, 1)
        writer.number("I", 4, 0)
        writer.number("I", 4, values.size)
        writer.raw(values.tobytes(), 4)
        return writer.payload()
