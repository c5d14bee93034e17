"""std_msgs/Header in plain CDR, and vectors of numbers as the adapters read them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter

MAX_FRAME_ID: Final = 1024


def read_header(reader: CdrReader) -> tuple[int, str]:
    """Read a header; return its stamp in nanoseconds and its frame id."""
    return reader.time(), reader.text(MAX_FRAME_ID)


def write_header(writer: CdrWriter, stamp_ns: int, frame_id: str) -> None:
    """Write a header."""
    writer.time(stamp_ns)
    writer.text(frame_id)


def read_floats(reader: CdrReader, count: int) -> NDArray[np.float32]:
    """Read `count` 4-byte floats, as a view of the message where its byte order is the machine's."""
    return _native(np.frombuffer(reader.span(4 * count, 4), dtype=f"{reader.order}f4"), np.float32)


def read_doubles(reader: CdrReader, count: int) -> NDArray[np.float64]:
    """Read `count` 8-byte floats, as a view of the message where its byte order is the machine's."""
    return _native(np.frombuffer(reader.span(8 * count, 8), dtype=f"{reader.order}f8"), np.float64)


def _native(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    return array.astype(dtype, copy=False)
