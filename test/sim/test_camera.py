"""The camera is a pinhole, its interpolation is exact, and boxes stand before the floor."""

from __future__ import annotations

import math

import numpy as np
import pytest

from og_ros.errors import ConfigError
from og_ros.sim.box import Box
from og_ros.sim.camera import Camera, Renderer
from og_ros.sim.floor import PIXELS_PER_METRE, Floor
from og_ros.sim.robot import Pose

CAMERA = Camera()


def floor_with_spot(x: float, y: float) -> Floor:
    """A black floor of 4 m x 4 m around the origin with one white spot of 4 cm at (x, y), m."""
    texture = np.zeros((4 * PIXELS_PER_METRE, 4 * PIXELS_PER_METRE, 3), dtype=np.uint8)
    column, row = round((x + 2) * PIXELS_PER_METRE), round((y + 2) * PIXELS_PER_METRE)
    texture[row - 3 : row + 4, column - 3 : column + 4] = 255
    return Floor(texture, (-2.0, -2.0))


@pytest.mark.parametrize(("ahead", "left"), [(0.3, 0.0), (0.5, 0.1), (0.7, -0.2)])
def test_a_spot_on_the_floor_is_seen_where_a_pinhole_projects_it(ahead: float, left: float) -> None:
    theta = 0.7
    x = 0.2 + ahead * math.cos(theta) - left * math.sin(theta)
    y = -0.3 + ahead * math.sin(theta) + left * math.cos(theta)
    image = Renderer(CAMERA, floor_with_spot(x, y)).render(Pose(0.2, -0.3, theta))
    rows, columns = np.nonzero(image[..., 0] > 100)
    depth = (ahead - CAMERA.forward) * math.cos(CAMERA.pitch) + CAMERA.elevation * math.sin(CAMERA.pitch)
    fall = CAMERA.elevation * math.cos(CAMERA.pitch) - (ahead - CAMERA.forward) * math.sin(CAMERA.pitch)
    assert columns.mean() == pytest.approx(79.5 - CAMERA.focal_length * left / depth, abs=1.5)
    assert rows.mean() == pytest.approx(59.5 + CAMERA.focal_length * fall / depth, abs=1.5)


def test_interpolation_is_the_integer_formula() -> None:
    """What makes frames equal on every CPU: OpenCV's fixed-point bilinear sum, rounded half up."""
    texture = np.random.default_rng(0).integers(0, 256, (700, 700, 3)).astype(np.uint8)
    pose = Pose(0.1, 0.2, 0.3)
    renderer = Renderer(CAMERA, Floor(texture, (-2.0, -2.0)))
    c, s, scale = math.cos(pose.theta), math.sin(pose.theta), 32 * PIXELS_PER_METRE
    column = np.rint((pose.x + 2) * scale + c * renderer._ahead - s * renderer._left).astype(int)
    row = np.rint((pose.y + 2) * scale + s * renderer._ahead + c * renderer._left).astype(int)
    x, y, a, b = column >> 5, row >> 5, (column & 31)[..., None], (row & 31)[..., None]
    wide = texture.astype(int)
    total = (32 - b) * ((32 - a) * wide[y, x] + a * wide[y, x + 1])
    total += b * ((32 - a) * wide[y + 1, x] + a * wide[y + 1, x + 1])
    assert (renderer.render(pose) == (total + 512) >> 10).all()


def test_a_box_hides_the_floor_behind_it_only() -> None:
    renderer = Renderer(CAMERA, floor_with_spot(0.9, 0.0))
    pose, colour = Pose(0.0, 0.0, 0.0), (200, 100, 50)
    before = Box(0.6, 0.0, 0.0, 0.2, 0.2, 0.2, colour)
    behind = Box(1.2, 0.0, 0.0, 0.2, 0.2, 0.2, colour)
    assert renderer.render(pose)[..., 2].max() == 255
    assert renderer.render(pose, [before])[..., 2].max() < 60
    assert renderer.render(pose, [behind])[..., 2].max() == 255


@pytest.mark.parametrize("x", [-0.4, 0.0, 0.05, 0.12])
def test_a_box_across_the_image_plane_is_drawn_without_error(x: float) -> None:
    for theta in np.linspace(0.0, math.pi, 9):
        image = Renderer(CAMERA, floor_with_spot(0.5, 0.0)).render(
            Pose(0.0, 0.0, 0.0), [Box(x, 0.1, float(theta), 0.3, 0.2, 0.25, (200, 100, 50))]
        )
        assert image.shape == (120, 160, 3)


def test_a_camera_that_sees_the_horizon_is_refused() -> None:
    with pytest.raises(ConfigError, match="horizon"):
        Renderer(Camera(pitch=0.3), floor_with_spot(0.5, 0.0))
