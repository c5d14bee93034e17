"""The embedded demo world: a tape-following robot, its camera and lidar, on numpy and OpenCV alone."""

from __future__ import annotations

from og_ros.sim.box import Box
from og_ros.sim.camera import Camera
from og_ros.sim.lidar import Lidar
from og_ros.sim.robot import Chassis, Odometry, Pose
from og_ros.sim.track import LineState, Track
from og_ros.sim.world import World

__all__ = ["Box", "Camera", "Chassis", "Lidar", "LineState", "Odometry", "Pose", "Track", "World"]
