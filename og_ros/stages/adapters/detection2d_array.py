"""vision_msgs/msg/Detection2DArray (vision_msgs 4, Humble to Jazzy): what a detector found. Output only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.adapters.header import write_header
from og_ros.stages.model import Tensor

MAX_DETECTIONS: Final = 10_000
_COLUMNS: Final = 6
# PoseWithCovariance of a hypothesis in the image: no place, no rotation (w = 1), no covariance.
_NO_POSE: Final = np.array([0, 0, 0, 0, 0, 0, 1, *[0] * 36], dtype="<f8").tobytes()


@dataclass(frozen=True)
class Detection2DArrayAdapter:
    """Detections [n, 6] or [1, n, 6]: the box, the score, and the class as a number, as most exported detectors give.

    Attributes:
        box: `center`: x, y, width, height of the box, px. `corners`: x and y of two opposite corners, px.
        min_score: detections below are left out.
        classes: names by number; none: the number itself is the class_id.
        max_detections: the ones with the highest scores are kept.
    """

    name: ClassVar[str] = "detection2d_array"
    message_type: ClassVar[str] = "vision_msgs/msg/Detection2DArray"
    stamped: ClassVar[bool] = True

    box: str = "corners"
    min_score: float = 0.0
    classes: tuple[str, ...] = ()
    max_detections: int = 1000

    def __post_init__(self) -> None:
        if self.box not in ("center", "corners"):
            raise ConfigError(f"box is {self.box!r}; it must be center or corners")
        if not 1 <= self.max_detections <= MAX_DETECTIONS:
            raise ConfigError(f"max_detections is {self.max_detections}; it must be from 1 to {MAX_DETECTIONS}")
        if any(not name or len(name.encode()) > 255 or "\0" in name for name in self.classes):
            raise ConfigError("classes: a name has 1 to 255 bytes, without a NUL")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise ConfigError(f"adapter {self.name} writes messages of outputs; it cannot read one")

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        fits = tensor.fits((None, _COLUMNS)) or tensor.fits((1, None, _COLUMNS))
        if not fits or tensor.dtype not in ("float32", "float64", "float16"):
            raise mismatch(self.name, (None, _COLUMNS), "float32", tensor)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """Refuse: see Adapter."""
        raise ConfigError(f"adapter {self.name} writes messages of outputs; it cannot read one")

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; raises AttestationError for another shape, numbers that are not finite, or an unknown class."""
        rows = np.asarray(array, dtype=np.float64)
        rows = rows[0] if rows.ndim == 3 and rows.shape[0] == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != _COLUMNS:
            raise AttestationError(f"the model gave {list(array.shape)}, which are no detections [n, {_COLUMNS}]")
        if not np.isfinite(rows).all():
            raise AttestationError("the model gave a detection that is not finite")
        rows = rows[rows[:, 4] >= self.min_score]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")[: self.max_detections]]
        writer = CdrWriter()
        write_header(writer, stamp_ns, frame_id)
        writer.number("I", 4, len(rows))
        for row in rows:
            write_header(writer, stamp_ns, frame_id)
            writer.number("I", 4, 1)  # one hypothesis
            writer.text(self._class(row[5]))
            writer.raw(np.array(row[4], dtype="<f8").tobytes(), 8)
            writer.raw(_NO_POSE, 8)
            writer.raw(self._box(row).tobytes(), 8)
            writer.text("")  # id
        return writer.payload()

    def _class(self, number: float) -> str:
        if number != int(number) or number < 0:
            raise AttestationError(f"the model gave the class {number:g}, which is no number of one")
        if not self.classes:
            return str(int(number))
        if int(number) >= len(self.classes):
            raise AttestationError(f"the model gave the class {int(number)}; {len(self.classes)} have names")
        return self.classes[int(number)]

    def _box(self, row: NDArray[np.float64]) -> NDArray[Any]:
        """Return x, y, theta, size_x, size_y of a BoundingBox2D."""
        x, y, other_x, other_y = row[:4]
        if self.box == "corners":
            x, y, other_x, other_y = (x + other_x) / 2, (y + other_y) / 2, abs(other_x - x), abs(other_y - y)
        return np.array([x, y, 0.0, other_x, other_y], dtype="<f8")
