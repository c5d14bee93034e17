"""The world: one robot on one random track, stepped by wheel commands, the same to the byte for the same seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from og_ros.errors import ConfigError
from og_ros.sim.box import Box, BoxTimes, boxes_beside, random_box
from og_ros.sim.camera import Camera, Renderer
from og_ros.sim.floor import random_floor
from og_ros.sim.lidar import Lidar, cast
from og_ros.sim.robot import Chassis, Odometry, Pose, Wheels, advance, respond, twist
from og_ros.sim.track import HALF_WIDTH, LineState, random_track

_NOISE_ROWS = 4093
_SPEED_NOISE = 0.004
_TURN_NOISE = 0.02
_RANGE_NOISE = 0.006
_PIXEL_NOISE = 3


class World:
    """A tape-following robot among boxes, in simulated time.

    Sensor readings are functions of the state: reading one twice, or not at all, changes nothing that follows.

    Args:
        seed: everything random follows from it: track, floor, boxes, noise.
        camera, lidar, chassis: constants of the robot.
        boxes: whether boxes stand beside the track and come and go on the line by `times`.
        times: the schedule of the boxes on the line.

    Raises:
        ConfigError: the seed is negative, or the camera would see the horizon.
    """

    def __init__(
        self,
        seed: int,
        *,
        camera: Camera | None = None,
        lidar: Lidar | None = None,
        chassis: Chassis | None = None,
        boxes: bool = True,
        times: BoxTimes | None = None,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed is {seed}: give 0 or more")
        self.seed = seed
        self.lidar = lidar or Lidar()
        self.chassis = chassis or Chassis()
        self.times = times or BoxTimes()
        shape, look, place, chance, noise = np.random.SeedSequence(seed).spawn(5)
        self.track = random_track(np.random.Generator(np.random.PCG64(shape)))
        self.floor = random_floor(self.track, np.random.Generator(np.random.PCG64(look)))
        self._renderer = Renderer(camera or Camera(), self.floor)
        rng = np.random.Generator(np.random.PCG64(place))
        self.boxes: tuple[Box, ...] = boxes_beside(self.track, rng, 5) if boxes else ()
        self._chance = np.random.Generator(np.random.PCG64(chance))
        rng = np.random.Generator(np.random.PCG64(noise))
        self._noise = 2.0 * rng.random((_NOISE_ROWS, self.lidar.beams + 2)) - 1.0
        size = self.image_size
        self._grain = rng.integers(0, 2 * _PIXEL_NOISE + 1, (size[0] + 64, size[1] + 64, 3)).astype(np.uint8)
        self._black = np.full((*size, 3), _PIXEL_NOISE, dtype=np.uint8)
        start = int(rng.integers(len(self.track.points)))
        (x, y), (tx, ty) = self.track.points[start], self.track.tangents[start]
        self.pose = Pose(float(x), float(y), round(math.atan2(ty, tx), 9))
        self.wheels = Wheels(0.0, 0.0)
        self.time_ns = 0
        self.steps = 0
        self.collided = False
        self.distance = 0.0
        self._reckoned = Pose(0.0, 0.0, 0.0)
        self._scheduled: Box | None = None
        self._placed_ns = 0
        self._next_ns: int | None = round(self.times.first * 1e9) if boxes else None

    @property
    def camera_model(self) -> Camera:
        """Constants of the camera."""
        return self._renderer.camera

    @property
    def image_size(self) -> tuple[int, int]:
        """Rows and columns of an image, pixels."""
        return self.camera_model.height, self.camera_model.width

    @property
    def off_track(self) -> bool:
        """Whether the robot is further than `HALF_WIDTH` from the line at this moment."""
        return abs(self.line_state().offset) > HALF_WIDTH

    @property
    def box_on_line(self) -> Box | None:
        """The box that the schedule has put on the line, while it is there."""
        return self._scheduled

    def step(self, dt: float, wheel_command: Sequence[float]) -> None:
        """Let `dt` seconds pass under `wheel_command` (left, right), m/s at the rim.

        Time is kept in whole nanoseconds. A robot that would run into a box stays where it is, and `collided` says so.
        """
        left, right = wheel_command
        self.wheels = respond(self.chassis, self.wheels, (float(left), float(right)), dt)
        v, omega = twist(self.chassis, self.wheels)
        pose = advance(self.pose, v, omega, dt)
        if v != 0.0 and self._touches(pose) and not self._backing_off(pose):
            self.collided = True
            pose = Pose(self.pose.x, self.pose.y, pose.theta)
            self.wheels = Wheels(0.0, 0.0)
        else:
            self.distance += abs(v) * dt
        self.pose = pose
        self.steps += 1
        self.time_ns += round(dt * 1e9)
        odometry = self.odometry()
        self._reckoned = advance(self._reckoned, odometry.v, odometry.omega, dt)
        self._run_schedule()

    def camera(self) -> NDArray[np.uint8]:
        """The camera's image: uint8 [height, width, 3], rgb, row-major and contiguous."""
        image = self._renderer.render(self.pose, self.boxes)
        rows, columns = self.image_size
        down, right = (self.steps * 29) % 64, (self.steps * 13) % 64
        grain = self._grain[down : down + rows, right : right + columns]
        noisy = cv2.subtract(cv2.add(image, grain), self._black)
        return np.ascontiguousarray(noisy, dtype=np.uint8)

    def scan(self) -> NDArray[np.float32]:
        """The lidar's ranges: float32 [beams], m; `range_max` where a beam meets nothing."""
        ranges = cast(self.lidar, self.pose, self.boxes)
        noisy = ranges + _RANGE_NOISE * self._noise[self.steps % _NOISE_ROWS, 2:]
        noisy = np.where(ranges >= self.lidar.range_max, ranges, noisy)
        return np.clip(np.round(noisy, 6), self.lidar.range_min, self.lidar.range_max).astype(np.float32)

    def odometry(self) -> Odometry:
        """Measured speeds with light noise, and the pose reckoned from them; a robot that stands measures zero."""
        v, omega = twist(self.chassis, self.wheels)
        noise = self._noise[self.steps % _NOISE_ROWS]
        if self.wheels.left != 0.0 or self.wheels.right != 0.0:
            v += _SPEED_NOISE * float(noise[0])
            omega += _TURN_NOISE * float(noise[1])
        return Odometry(self._reckoned, round(v, 7), round(omega, 7))

    def line_state(self) -> LineState:
        """The truth about the line, which only the expert and the judge may see."""
        return self.track.line_state(self.pose.x, self.pose.y, self.pose.theta)

    def place_robot(self, pose: Pose) -> None:
        """Put the robot, standing, at `pose` in the world frame."""
        self.pose, self.wheels, self.collided = pose, Wheels(0.0, 0.0), False

    def place_box(self, ahead: float, lateral: float = 0.0) -> Box:
        """Put a box `ahead` metres along the line from the robot, `lateral` metres to the left of it."""
        index = self.track.ahead(self.track.nearest(self.pose.x, self.pose.y), ahead)
        (x, y), (tx, ty) = self.track.points[index], self.track.tangents[index]
        box = random_box(
            self._chance, float(x - lateral * ty), float(y + lateral * tx), math.atan2(float(ty), float(tx))
        )
        self.boxes = (*self.boxes, box)
        return box

    def remove_box(self, box: Box) -> None:
        """Take `box` away; a box that is not there is no error."""
        self.boxes = tuple(other for other in self.boxes if other is not box)

    def clearance(self) -> float:
        """Distance from the robot's rim to the nearest box, m; infinite without boxes."""
        gaps = [box.distance(self.pose.x, self.pose.y) - self.chassis.radius for box in self.boxes]
        return min(gaps, default=math.inf)

    def _touches(self, pose: Pose) -> bool:
        return any(box.distance(pose.x, pose.y) < self.chassis.radius for box in self.boxes)

    def _backing_off(self, pose: Pose) -> bool:
        """Whether `pose` is no nearer to any box touched than the present one."""
        touched = [box for box in self.boxes if box.distance(pose.x, pose.y) < self.chassis.radius]
        return all(box.distance(pose.x, pose.y) > box.distance(self.pose.x, self.pose.y) for box in touched)

    def _run_schedule(self) -> None:
        if self._scheduled is not None and self.time_ns >= self._placed_ns + round(self.times.stay * 1e9):
            self.remove_box(self._scheduled)
            self._scheduled = None
        if self._next_ns is not None and self.time_ns >= self._next_ns and self._scheduled is None:
            self._scheduled = self.place_box(self.times.ahead)
            self._placed_ns = self.time_ns
            pause = self.times.every + self.times.jitter * float(self._chance.random())
            self._next_ns += round(max(pause, self.times.stay) * 1e9)
