"""sensor_msgs/msg/Image: pixels as a tensor, without a copy where the model takes them as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.adapters.header import read_header, write_header
from og_ros.stages.model import Tensor

# Channels, their order, and the type of one value (sensor_msgs/image_encodings.hpp).
ENCODINGS: Final[dict[str, tuple[int, str, str]]] = {
    "rgb8": (3, "rgb", "u1"), "bgr8": (3, "bgr", "u1"), "rgba8": (4, "rgba", "u1"), "bgra8": (4, "bgra", "u1"),
    "mono8": (1, "gray", "u1"), "8UC1": (1, "gray", "u1"), "8UC3": (3, "bgr", "u1"),
    "mono16": (1, "gray", "u2"), "16UC1": (1, "gray", "u2"), "32FC1": (1, "gray", "f4"),
}  # fmt: skip
_MAX_ENCODING: Final = 64
_CHANNELS: Final = {"rgb": 3, "bgr": 3, "gray": 1}
# ITU-R BT.601 luma in 1/65536, summed in integers: the same value on every machine.
_LUMA: Final = np.array([19595, 38470, 7471], dtype=np.uint32)


@dataclass(frozen=True)
class ImageAdapter:
    """An image; the steps are, in this order: channels, resize, dtype, scale, clip, mean and std, layout, batch.

    Attributes:
        encodings: which encodings are taken; none: all of ENCODINGS. An output is written in the first of them.
        channels: `keep`, or convert to `rgb`, `bgr` or `gray` (a gray image is copied into three channels).
        resize: [width, height] in pixels; none: as it is. Needs OpenCV.
        interpolation: of resize.
        dtype: `uint8` (only for images of 8 bits, without scale, clip, mean and std) or `float32`.
        scale: factor on the values; `scales` overrides it for an encoding, such as {16UC1: 0.0001}.
        clip: [lowest, highest] after scaling.
        mean, std: one number, or one a channel: (value - mean) / std.
        layout: `hwc`, `chw`, or `hw` (gray only).
        batch: put a dimension of 1 in front.
    """

    name: ClassVar[str] = "image"
    message_type: ClassVar[str] = "sensor_msgs/msg/Image"
    stamped: ClassVar[bool] = True

    encodings: tuple[str, ...] | None = None
    channels: Literal["keep", "rgb", "bgr", "gray"] = "keep"
    resize: tuple[int, int] | None = None
    interpolation: Literal["linear", "nearest", "area"] = "linear"
    dtype: Literal["uint8", "float32"] = "uint8"
    scale: float = 1.0
    scales: Mapping[str, float] = field(default_factory=dict)
    clip: tuple[float, float] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Literal["hwc", "chw", "hw"] = "hwc"
    batch: bool = False

    def __post_init__(self) -> None:
        for name in (*(self.encodings or ()), *self.scales):
            if name not in ENCODINGS:
                raise ConfigError(f"encoding {name!r} is not known; known: {', '.join(ENCODINGS)}")
        if self.encodings == ():
            raise ConfigError("encodings is empty; leave it out to take all")
        if self.resize is not None and not all(1 <= size <= 16_384 for size in self.resize):
            raise ConfigError("resize must be [width, height], each from 1 to 16384 pixels")
        if self.dtype == "uint8" and (self.scale != 1.0 or self.scales or self.clip or self.mean or self.std):
            raise ConfigError("scale, scales, clip, mean and std need dtype: float32")
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ConfigError("clip must be [lowest, highest]")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) not in (1, 3, 4):
                raise ConfigError(f"{name} must have one number, or one a channel")
        if self.std is not None and any(value == 0 for value in self.std):
            raise ConfigError("std must not be 0")
        if self.layout == "hw" and self.channels in ("rgb", "bgr"):
            raise ConfigError("layout hw is for one channel; set channels: gray")

    def libraries(self) -> dict[str, str]:
        """Versions of libraries that change the pixels, for the processing digest."""
        if self.resize is None:
            return {}
        return {"opencv": opencv().__version__}

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        width, height = self.resize or (None, None)
        channels = _CHANNELS.get(self.channels)
        if channels is None and self.encodings is not None:
            counts = {ENCODINGS[encoding][0] for encoding in self.encodings}
            channels = counts.pop() if len(counts) == 1 else None
        shape: tuple[int | None, ...] = {
            "hwc": (height, width, channels),
            "chw": (channels, height, width),
            "hw": (height, width),
        }[self.layout]
        if self.batch:
            shape = (1, *shape)
        if not tensor.fits(shape) or tensor.dtype != self.dtype:
            raise mismatch(self.name, shape, self.dtype, tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        encoding = (self.encodings or ("mono8",))[0]
        channels, _, kind = ENCODINGS[encoding]
        shape: tuple[int | None, ...] = (None, None, channels) if self.layout == "hwc" else (None, None)
        if self.layout == "chw" or (self.layout == "hw" and channels != 1):
            raise ConfigError(f"adapter {self.name} writes {encoding} in layout {'hw' if channels == 1 else 'hwc'}")
        if not tensor.fits(shape) or np.dtype(tensor.dtype) != np.dtype(kind):
            raise mismatch(self.name, shape, np.dtype(kind).name, tensor)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter; pixels are a read-only view of the payload unless an option changes them."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        height, width = reader.number("I", 4), reader.number("I", 4)
        encoding = reader.text(_MAX_ENCODING)
        big_endian = reader.number("B", 1)
        step = reader.number("I", 4)
        data = reader.span(reader.number("I", 4))
        reader.end()
        if encoding not in (self.encodings or ENCODINGS):
            raise AttestationError(f"the image has encoding {encoding!r}; this stage takes {self._accepted()}")
        channels, order, kind = ENCODINGS[encoding]
        size = np.dtype(kind).itemsize
        if not height or not width or step < width * channels * size or len(data) != step * height:
            raise AttestationError(
                f"the image of {width}×{height} {encoding} has step {step} and {len(data)} bytes, which do not fit"
            )
        pixels = np.ndarray(
            (height, width, channels),
            np.dtype(kind).newbyteorder(">" if big_endian else "<"),
            data,
            strides=(step, channels * size, size),
        )
        if size > 1:
            pixels = pixels.astype(np.dtype(kind), copy=False)
        return Sample(self.processed(pixels, order, encoding), stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Write an image of the first of `encodings` (mono8 by default) from an array [h, w] or [h, w, c]."""
        encoding = (self.encodings or ("mono8",))[0]
        channels, _, kind = ENCODINGS[encoding]
        pixels = array[..., np.newaxis] if array.ndim == 2 else array
        if pixels.ndim != 3 or pixels.shape[2] != channels or pixels.dtype != np.dtype(kind):
            raise AttestationError(f"the model gave {array.dtype} {list(array.shape)}, which is no {encoding} image")
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels, dtype=np.dtype(kind).newbyteorder("<"))
        writer = CdrWriter()
        write_header(writer, stamp_ns, frame_id)
        writer.number("I", 4, height)
        writer.number("I", 4, width)
        writer.text(encoding)
        writer.number("B", 1, 0)
        writer.number("I", 4, width * channels * data.dtype.itemsize)
        writer.number("I", 4, data.nbytes)
        writer.raw(data.tobytes())
        return writer.payload()

    def _accepted(self) -> str:
        return ", ".join(self.encodings or ENCODINGS)

    def processed(self, pixels: NDArray[Any], order: str, encoding: str) -> NDArray[Any]:
        """Return pixels [h, w, c] after all steps; `order` is of their channels: rgb, bgr, rgba, bgra or gray."""
        pixels = _converted(pixels, order, order if self.channels == "keep" else self.channels)
        if self.resize is not None:
            pixels = self._resized(pixels)
        if self.dtype == "float32":
            pixels = self._scaled(pixels.astype(np.float32), encoding)
        elif pixels.dtype != np.uint8:
            raise AttestationError(f"the image has encoding {encoding}; dtype: float32 is needed to take it")
        if self.layout == "chw":
            pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        elif self.layout == "hw":
            if pixels.shape[2] != 1:
                raise AttestationError(f"the image has {pixels.shape[2]} channels; layout hw is for one")
            pixels = pixels[:, :, 0]
        return pixels[np.newaxis] if self.batch else pixels

    def _resized(self, pixels: NDArray[Any]) -> NDArray[Any]:
        assert self.resize is not None
        cv2 = opencv()
        how = {"linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST, "area": cv2.INTER_AREA}[self.interpolation]
        try:
            resized: NDArray[Any] = cv2.resize(np.ascontiguousarray(pixels), self.resize, interpolation=how)
        except cv2.error as error:
            raise AttestationError(f"the image cannot be resized: {error}") from error
        return resized if resized.ndim == 3 else resized[:, :, np.newaxis]

    def _scaled(self, values: NDArray[np.float32], encoding: str) -> NDArray[np.float32]:
        scale = self.scales.get(encoding, self.scale)
        if scale != 1.0:
            values *= np.float32(scale)
        if self.clip is not None:
            np.clip(values, np.float32(self.clip[0]), np.float32(self.clip[1]), out=values)
        for numbers, operation in ((self.mean, np.subtract), (self.std, np.divide)):
            if numbers is not None:
                if len(numbers) not in (1, values.shape[2]):
                    raise AttestationError(f"mean or std has {len(numbers)} numbers for {values.shape[2]} channels")
                operation(values, np.asarray(numbers, dtype=np.float32), out=values)
        return values


def _converted(pixels: NDArray[Any], have: str, want: str) -> NDArray[Any]:
    if have == want:
        return pixels
    if have == "gray":
        return np.repeat(pixels, 3, axis=2)
    rgb = pixels[:, :, 2::-1] if have.startswith("bgr") else pixels[:, :, :3]
    if want == "rgb":
        return rgb
    if want == "bgr":
        return rgb[:, :, ::-1]
    gray = (rgb.astype(np.uint32) @ _LUMA + 32768) >> 16
    return gray.astype(np.uint8)[:, :, np.newaxis]


def opencv() -> Any:
    """Return OpenCV; raises ConfigError where it is not installed."""
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("images need OpenCV here: pip install opencv-python-headless") from error
    return cv2
