"""Writes the demo's world for Gazebo: config/gazebo/world.sdf filled in from a seed, with a floor as mesh and picture.

Statically checked, never run. The measures are those of og_ros.sim, which the models were trained with.
"""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

import cv2
import numpy as np

from og_ros.errors import ConfigError
from og_ros.paths import share_directory
from og_ros.sim.box import Box
from og_ros.sim.camera import Camera
from og_ros.sim.floor import PIXELS_PER_METRE, Floor
from og_ros.sim.lidar import Lidar
from og_ros.sim.robot import Chassis
from og_ros.sim.world import World

WHEEL_RADIUS: Final = 0.035
"""m; the demo's wheels are given by the speed of their rims, so any will do."""

LIDAR_HEIGHT: Final = 0.12
"""m; over the body, and under the top of every box (0.16 m and more), which for the demo's flat lidar have no top."""

_BOX: Final = Template("""
    <model name="$name">
      <static>true</static>
      <pose>$pose</pose>
      <link name="box">
        <collision name="box">
          <geometry><box><size>$size</size></box></geometry>
        </collision>
        <visual name="box">
          <geometry><box><size>$size</size></box></geometry>
          <material>
            <ambient>$colour</ambient>
            <diffuse>$colour</diffuse>
          </material>
        </visual>
      </link>
    </model>
""")


def write_world(directory: Path, seed: int) -> Path:
    """Write world.sdf, floor.obj, floor.mtl and floor.png into a directory; returns the path of world.sdf.

    Track, floor, start and the boxes beside the track are those of the demo's world of that seed; its boxes that come
    and go are left out. Raises ConfigError for a negative seed, and a directory that cannot be written.
    """
    world = World(seed)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_floor(directory, world.floor)
        text = Template((share_directory() / "config" / "gazebo" / "world.sdf").read_text()).substitute(_fields(world))
        path = directory / "world.sdf"
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"cannot write a world for Gazebo to {directory}: {error}") from error
    return path


def _fields(world: World) -> dict[str, str]:
    camera, lidar, body = Camera(), Lidar(), Chassis()
    rows, columns = world.floor.texture.shape[:2]
    x, y, theta = world.pose.x, world.pose.y, world.pose.theta
    return {
        "floor_size": f"{2 * columns / PIXELS_PER_METRE} {2 * rows / PIXELS_PER_METRE}",
        "boxes": "".join(_box(f"box_{number}", box) for number, box in enumerate(world.boxes)),
        "robot_pose": f"{x} {y} 0 0 0 {theta}",
        "camera_pose": f"{camera.forward} 0 {camera.elevation} 0 {camera.pitch} 0",
        "camera_fov": str(camera.field_of_view),
        "camera_width": str(camera.width),
        "camera_height": str(camera.height),
        "lidar_height": str(LIDAR_HEIGHT),
        "lidar_beams": str(lidar.beams),
        "lidar_min_angle": str(lidar.angle_min),
        "lidar_max_angle": str(lidar.angle_max),
        "lidar_min_range": str(lidar.range_min),
        "lidar_max_range": str(lidar.range_max),
        "wheel_left": str(0.5 * body.wheel_base),
        "wheel_base": str(body.wheel_base),
        "wheel_radius": str(WHEEL_RADIUS),
    }


def _box(name: str, box: Box) -> str:
    colour = " ".join(f"{channel / 255:.3f}" for channel in box.colour)
    return _BOX.substitute(
        name=name,
        pose=f"{box.x} {box.y} {0.5 * box.height} 0 0 {box.theta}",
        size=f"{box.length} {box.width} {box.height}",
        colour=f"{colour} 1",
    )


def _write_floor(directory: Path, floor: Floor) -> None:
    """Write the floor as two triangles; in OBJ the picture's lower left corner is (0, 0) of its coordinates."""
    rows, columns = floor.texture.shape[:2]
    # The centre of the first pixel is at the origin, so the picture begins half a pixel before it.
    west, south = (value - 0.5 / PIXELS_PER_METRE for value in floor.origin)
    east, north = west + columns / PIXELS_PER_METRE, south + rows / PIXELS_PER_METRE
    corners = ((west, south), (east, south), (east, north), (west, north))
    lines = ["mtllib floor.mtl", "o floor", *(f"v {x} {y} 0" for x, y in corners)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "vn 0 0 1", "usemtl floor"]
    lines += ["f 1/1/1 2/2/1 3/3/1", "f 1/1/1 3/3/1 4/4/1"]
    (directory / "floor.obj").write_text("\n".join(lines) + "\n")
    (directory / "floor.mtl").write_text("newmtl floor\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd floor.png\n")
    upright = np.ascontiguousarray(floor.texture[::-1, :, ::-1])  # north up, and OpenCV's order of colours
    done, png = cv2.imencode(".png", upright)
    if not done:
        raise ConfigError("OpenCV cannot write PNG images")
    (directory / "floor.png").write_bytes(png.tobytes())
