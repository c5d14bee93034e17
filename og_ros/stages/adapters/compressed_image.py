"""sensor_msgs/msg/CompressedImage, as image_transport publishes it: decoded by OpenCV, then as an image.

What is attested is the compressed message. That a decoder made these pixels of it is part of the processing: decoders
of two versions may differ in the last bit of a JPEG, so OpenCV's version is in the processing digest.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters import image
from og_ros.stages.adapters.adapter import Sample, no_output
from og_ros.stages.adapters.header import read_header
from og_ros.stages.adapters.image import ImageAdapter, opencv
from og_ros.stages.model import Tensor

_MAX_FORMAT: Final = 256
_PNG: Final = b"\x89PNG\r\n\x1a\n"
# compressed_depth_image_transport puts this before its PNG: int32 format, two floats of the inverse depth.
_DEPTH_HEADER: Final = struct.Struct("<iff")
_DEPTH_TRANSPORT: Final = "compressedDepth"
_ENCODINGS: Final = {
    (np.dtype("u1"), 1): ("gray", "mono8"), (np.dtype("u1"), 3): ("bgr", "bgr8"),
    (np.dtype("u1"), 4): ("bgra", "bgra8"), (np.dtype("u2"), 1): ("gray", "16UC1"),
}  # fmt: skip


@dataclass(frozen=True)
class CompressedImageAdapter:
    """A JPEG or PNG image, of transports `compressed` and `compressedDepth`; then the steps of the image adapter.

    A depth image is in the unit that its camera gave: mm for 16UC1, m for 32FC1.

    Attributes:
        channels, resize, interpolation, dtype, scale, scales, clip, mean, std, layout, batch: as for the adapter
            `image`; `scales` is by the encoding after decoding: mono8, bgr8, bgra8, 16UC1 or 32FC1.
        max_pixels: larger images are refused before they are decoded.
    """

    name: ClassVar[str] = "compressed_image"
    message_type: ClassVar[str] = "sensor_msgs/msg/CompressedImage"
    stamped: ClassVar[bool] = True
    modules: ClassVar[tuple[ModuleType, ...]] = (image,)

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
    max_pixels: int = 33_554_432

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= 2**30:
            raise ConfigError(f"max_pixels is {self.max_pixels}; it must be from 1 to {2**30}")
        self._image()

    def libraries(self) -> dict[str, str]:
        """Versions of libraries that change the pixels, for the processing digest."""
        return {"opencv": opencv().__version__}

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        self._image().check_input(tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise no_output(self.name)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        text = reader.text(_MAX_FORMAT)
        data = bytes(reader.span(reader.number("I", 4)))
        reader.end()
        encoding, _, transport = text.partition(";")
        if _DEPTH_TRANSPORT in transport:
            pixels, order, encoding = self._depth(data, encoding.strip())
        else:
            pixels = self._pixels(data)
            found = _ENCODINGS.get((pixels.dtype, pixels.shape[2]))
            if found is None:
                raise AttestationError(f"the image has {pixels.shape[2]} channels of {pixels.dtype}")
            order, encoding = found
        return Sample(self._image().processed(pixels, order, encoding), stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Refuse: see Adapter."""
        raise no_output(self.name)

    def _image(self) -> ImageAdapter:
        return ImageAdapter(
            channels=self.channels, resize=self.resize, interpolation=self.interpolation, dtype=self.dtype,
            scale=self.scale, scales=self.scales, clip=self.clip, mean=self.mean, std=self.std, layout=self.layout,
            batch=self.batch,
        )  # fmt: skip

    def _depth(self, data: bytes, encoding: str) -> tuple[NDArray[Any], str, str]:
        """Return a depth image [h, w, 1]: 16UC1 as it is, 32FC1 from its quantised inverse."""
        if len(data) < _DEPTH_HEADER.size:
            raise AttestationError("the compressed depth image is shorter than its header of 12 bytes")
        _, a, b = _DEPTH_HEADER.unpack_from(data)
        pixels = self._pixels(data[_DEPTH_HEADER.size :])
        if pixels.dtype != np.uint16 or pixels.shape[2] != 1:
            raise AttestationError(f"the depth image has {pixels.shape[2]} channels of {pixels.dtype}, not 1 of uint16")
        if encoding == "16UC1":
            return pixels, "gray", encoding
        if encoding != "32FC1":
            raise AttestationError(f"the depth image has encoding {encoding[:40]!a}; 16UC1 and 32FC1 are known")
        values = pixels.astype(np.float32)
        with np.errstate(all="ignore"):  # what is no number is none to the model either
            depth = np.float32(a) / (values - np.float32(b))
        return np.where(values == 0, np.float32(np.nan), depth).astype(np.float32), "gray", encoding

    def _pixels(self, data: bytes) -> NDArray[Any]:
        """Return the pixels [h, w, c] of a JPEG or PNG file, in OpenCV's order of channels."""
        width, height = _size(data)
        if not 0 < width * height <= self.max_pixels:
            raise AttestationError(f"the image has {width}×{height} pixels; 1 to {self.max_pixels} are taken")
        cv2 = opencv()
        try:
            found = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:
            raise AttestationError(f"the image cannot be decoded: {error.err}") from error
        if found is None:
            raise AttestationError("the image cannot be decoded")
        pixels: NDArray[Any] = found if found.ndim == 3 else found[:, :, np.newaxis]
        return pixels


def _size(data: bytes) -> tuple[int, int]:
    """Return width and height from a file's header, before anything is decoded: of PNG (ISO 15948) or JPEG (T.81)."""
    if data.startswith(_PNG) and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if not data.startswith(b"\xff\xd8"):
        raise AttestationError("the image is neither JPEG nor PNG")
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 + max(length, 2)
    raise AttestationError("the JPEG image has no header that gives its size")
