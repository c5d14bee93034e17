"""A pitched camera that sees the floor through one homography, and the boxes as flat-shaded solids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from og_ros.errors import ConfigError
from og_ros.sim.box import Box
from og_ros.sim.floor import PIXELS_PER_METRE, Floor
from og_ros.sim.robot import Pose

_FRACTION = 32
"""cv2.remap takes positions in 1/32 pixel."""

_NEAR = 0.03
_SUBPIXEL = 16


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, looking forwards and down.

    Attributes:
        width, height: image size, pixels.
        field_of_view: horizontal, rad.
        pitch: angle of the optical axis below the horizon, rad; no pixel may look above the horizon.
        elevation: height above the floor, m.
        forward: distance ahead of the axle centre, m.
    """

    width: int = 160
    height: int = 120
    field_of_view: float = math.radians(70.0)
    pitch: float = math.radians(38.0)
    elevation: float = 0.22
    forward: float = 0.06

    @property
    def focal_length(self) -> float:
        """Focal length, pixels."""
        return 0.5 * self.width / math.tan(0.5 * self.field_of_view)


class Renderer:
    """Draws what one camera sees of one floor.

    The homography from image to floor is split: its part that is fixed to the robot (which spot before the robot a
    pixel looks at) is worked out once, so that a frame costs one rotation and one `cv2.remap`. Positions are given to
    OpenCV in fixed point, where it works in integers, so a frame has the same bytes on every CPU.

    Raises:
        ConfigError: the camera would see the horizon.
    """

    def __init__(self, camera: Camera, floor: Floor) -> None:
        self.camera = camera
        self.floor = floor
        self._sin, self._cos = math.sin(camera.pitch), math.cos(camera.pitch)
        self._centre = (0.5 * (camera.width - 1), 0.5 * (camera.height - 1))
        scale = PIXELS_PER_METRE * _FRACTION
        right = ((np.arange(camera.width) - self._centre[0]) / camera.focal_length)[None, :]
        down = ((np.arange(camera.height) - self._centre[1]) / camera.focal_length)[:, None]
        fall = self._sin + down * self._cos
        if float(fall.min()) <= 0.0:
            raise ConfigError(
                f"camera of {camera.width}x{camera.height} pixels, pitch {camera.pitch:.3f} rad, shows the horizon: "
                "pitch it down, or narrow its view or its height"
            )
        reach = camera.elevation / fall
        ahead = camera.forward + reach * (self._cos - down * self._sin)
        self._ahead = np.round(np.broadcast_to(ahead, (camera.height, camera.width)) * scale, 3)
        self._left = np.round(-reach * right * scale, 3)

    def render(self, pose: Pose, boxes: Sequence[Box] = ()) -> NDArray[np.uint8]:
        """The image from `pose`: uint8 [height, width, 3], rgb, rows from the top."""
        c, s = math.cos(pose.theta), math.sin(pose.theta)
        scale = PIXELS_PER_METRE * _FRACTION
        x = (pose.x - self.floor.origin[0]) * scale
        y = (pose.y - self.floor.origin[1]) * scale
        column = np.rint(x + c * self._ahead - s * self._left).astype(np.int32)
        row = np.rint(y + s * self._ahead + c * self._left).astype(np.int32)
        whole = np.stack([column >> 5, row >> 5], axis=2).astype(np.int16)
        part = ((row & 31) * _FRACTION + (column & 31)).astype(np.uint16)
        seen = cv2.remap(self.floor.texture, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        image = np.asarray(seen, dtype=np.uint8)
        for box in sorted(boxes, key=lambda item: -item.distance(pose.x, pose.y)):
            self._draw(image, pose, box)
        return image

    def _draw(self, image: NDArray[np.uint8], pose: Pose, box: Box) -> None:
        """Paint the faces of `box` that look at the camera; a box is convex, so their order does not matter."""
        c, s = math.cos(pose.theta), math.sin(pose.theta)
        offset = box.corners() - (pose.x, pose.y)
        ahead = c * offset[:, 0] + s * offset[:, 1] - self.camera.forward
        left = c * offset[:, 1] - s * offset[:, 0]
        if float(ahead.max()) < _NEAR or float(ahead.min()) > 4.0:
            return
        floor_points = np.stack([ahead, left], axis=1)
        for corner in range(4):
            here, there = floor_points[corner], floor_points[(corner + 1) % 4]
            edge = there - here
            if here[0] * edge[1] - here[1] * edge[0] < 0.0:  # the outside of an anticlockwise edge is on its right
                face = [(*here, 0.0), (*there, 0.0), (*there, box.height), (*here, box.height)]
                self._fill(image, face, box.colour, 78 + 11 * (corner % 2))
        if box.height < self.camera.elevation:
            self._fill(image, [(*point, box.height) for point in floor_points], box.colour, 100)

    def _fill(
        self,
        image: NDArray[np.uint8],
        face: Sequence[tuple[float, float, float]],
        colour: tuple[int, int, int],
        percent: int,
    ) -> None:
        """Fill a face given by its corners (ahead, left, up), m, relative to the foot of the camera."""
        optical = []
        for ahead, left, up in face:
            fall = self.camera.elevation - up
            optical.append((-left, fall * self._cos - ahead * self._sin, ahead * self._cos + fall * self._sin))
        visible = _clip_near(optical)
        if len(visible) < 3:
            return
        focal = self.camera.focal_length
        corners = [
            (
                round(_SUBPIXEL * max(-4000.0, min(4000.0, self._centre[0] + focal * x / z))),
                round(_SUBPIXEL * max(-4000.0, min(4000.0, self._centre[1] + focal * y / z))),
            )
            for x, y, z in visible
        ]
        shade = tuple(channel * percent // 100 for channel in colour)
        cv2.fillConvexPoly(image, np.array(corners, dtype=np.int32), shade, cv2.LINE_8, 4)


def _clip_near(points: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """The part of a convex polygon (x, y, z), m, that is at least `_NEAR` before the camera (Sutherland-Hodgman)."""
    kept: list[tuple[float, float, float]] = []
    for index, (x, y, z) in enumerate(points):
        px, py, pz = points[index - 1]
        if (z >= _NEAR) != (pz >= _NEAR):
            part = (_NEAR - pz) / (z - pz)
            kept.append((px + part * (x - px), py + part * (y - py), _NEAR))
        if z >= _NEAR:
            kept.append((x, y, z))
    return kept
