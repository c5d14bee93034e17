"""std_msgs/MultiArrayLayout and the values behind it, for arrays of 4- and 8-byte floats."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.header import read_doubles, read_floats

MAX_DIMENSIONS: Final = 16
_MAX_LABEL: Final = 255


def check_layout(shape: tuple[int, ...] | None, labels: tuple[str, ...] | None) -> None:
    """Raise ConfigError for a shape or labels that no layout can have."""
    if shape is not None and (len(shape) > MAX_DIMENSIONS or any(size < 1 for size in shape)):
        raise ConfigError(f"shape must be at most {MAX_DIMENSIONS} positive sizes")
    if labels is not None and any(len(label.encode()) > _MAX_LABEL or "\0" in label for label in labels):
        raise ConfigError(f"labels must be at most {_MAX_LABEL} bytes each, without a NUL")


def read_array(reader: CdrReader, wanted: tuple[int, ...] | None, size: int) -> NDArray[Any]:
    """Read layout and data of floats of `size` bytes; the shape is `wanted`, or the layout's, or a vector."""
    count = reader.number("I", 4)
    if count > MAX_DIMENSIONS:
        raise AttestationError(f"the array has {count} dimensions; {MAX_DIMENSIONS} are allowed")
    sizes: list[int] = []
    for _ in range(count):
        reader.text(_MAX_LABEL)
        sizes.append(reader.number("I", 4))
        reader.number("I", 4)  # stride: of the whole, not used for reading
    offset = reader.number("I", 4)
    number = reader.number("I", 4)
    values: NDArray[Any] = read_floats(reader, number) if size == 4 else read_doubles(reader, number)
    reader.end()
    if offset > values.size:
        raise AttestationError(f"the array's data_offset is {offset}, behind its {values.size} values")
    values = values[offset:]
    shape = wanted if wanted is not None else tuple(sizes) or (values.size,)
    expected = 1
    for one in shape:
        expected *= one
    if expected != values.size:
        raise AttestationError(f"the array has {values.size} values, which are not {list(shape)}")
    return values.reshape(shape)


def write_array(writer: CdrWriter, array: NDArray[Any], labels: tuple[str, ...] | None, size: int) -> None:
    """Write layout and data as floats of `size` bytes; raises AttestationError where labels and dimensions differ."""
    values = np.ascontiguousarray(array, dtype=f"<f{size}")
    if labels is None:
        labels = ("",) * array.ndim if array.ndim > 1 else ()
    if labels and len(labels) != array.ndim:
        raise AttestationError(f"the model gave {array.ndim} dimensions for {len(labels)} labels")
    writer.number("I", 4, len(labels))
    stride = values.size
    for label, count in zip(labels, array.shape, strict=False):
        writer.text(label)
        writer.number("I", 4, count)
        writer.number("I", 4, stride)
        stride //= max(count, 1)
    writer.number("I", 4, 0)
    writer.number("I", 4, values.size)
    if values.size:
        writer.raw(values.tobytes(), size)
