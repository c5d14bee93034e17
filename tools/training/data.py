"""Training data: what the world shows, and what the expert would do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from og_ros.sim.box import BoxTimes, random_box
from og_ros.sim.evaluate import Loop
from og_ros.sim.expert import Expert, Plan, control, plan, reference
from og_ros.sim.lidar import Lidar, cast
from og_ros.sim.robot import Chassis, Pose
from og_ros.sim.track import LineState
from og_ros.sim.world import World
from training.exact import Network
from training.features import (
    LINE_SCALE,
    PLAN_SCALE,
    WHEEL_SCALE,
    control_inputs,
    plan_inputs,
    salience,
)

Array = NDArray[np.float64]

FIRST_SEED = 100_000
"""Training draws its worlds from here on; what is evaluated or shown has smaller seeds."""

EXPERT = Expert()
LIDAR = Lidar()
CHASSIS = Chassis()
_OFTEN = BoxTimes(first=2.0, every=7.0, jitter=4.0, stay=5.0, ahead=1.3)


@dataclass(frozen=True)
class Samples:
    """Inputs, float64 [n, inputs], and targets, float64 [n, outputs], of a network, in its own units."""

    inputs: Array
    targets: Array

    def plus(self, other: Samples) -> Samples:
        """Both sets of samples, these first."""
        return Samples(np.concatenate([self.inputs, other.inputs]), np.concatenate([self.targets, other.targets]))


def perception_samples(worlds: int, poses: int, rng: np.random.Generator) -> Samples:
    """`poses` images each of `worlds` worlds, from on and beside the line, every other one with a box on it."""
    inputs, targets = [], []
    for number in range(worlds):
        world = World(FIRST_SEED + number)
        track, beside = world.track, world.boxes
        for shot in range(poses):
            near, wide = rng.random(3), rng.random() < 0.4
            index = int(near[0] * len(track.points))
            offset = (2.0 * float(near[1]) - 1.0) * (0.30 if wide else 0.10)
            turn = (2.0 * float(near[2]) - 1.0) * (0.70 if wide else 0.25)
            (x, y), (tx, ty) = track.points[index], track.tangents[index]
            theta = math.atan2(float(ty), float(tx)) + turn
            pose = Pose(round(float(x - offset * ty), 6), round(float(y + offset * tx), 6), round(theta, 6))
            world.place_robot(pose)
            world.steps += 1
            world.boxes = beside
            if shot % 2 == 0:
                ahead, lateral = rng.random(2)
                world.place_box(0.30 + 1.3 * float(ahead), 0.12 * float(2.0 * lateral - 1.0))
            inputs.append(salience(world.camera()))
            targets.append(world.line_state().as_array() / LINE_SCALE)
    return Samples(np.array(inputs), np.array(targets, dtype=np.float64))


def planning_samples(count: int, rng: np.random.Generator) -> Samples:
    """`count` random situations: a line state, up to three boxes on and beside the line, and the expert's plan."""
    lines, ranges, targets = [], [], []
    origin = Pose(0.0, 0.0, 0.0)
    for _ in range(count):
        draw = 2.0 * rng.random(3) - 1.0
        spread = (0.30, 0.70, 1.60) if rng.random() < 0.4 else (0.10, 0.25, 1.40)
        line = LineState(*(round(float(a) * b, 6) for a, b in zip(draw, spread, strict=True)))
        boxes = []
        for _ in range(int(rng.integers(4))):
            along = 0.10 + 1.7 * float(rng.random())
            width = 0.12 if rng.random() < 0.5 else 0.70
            across = width * (2.0 * float(rng.random()) - 1.0) + 0.5 * line.curvature * along * along - line.offset
            c, s = math.cos(line.heading), math.sin(line.heading)
            x, y = c * along + s * across, c * across - s * along
            boxes.append(random_box(rng, x, y, math.pi * float(rng.random())))
        boxes = [box for box in boxes if box.distance(0.0, 0.0) > 0.5 * CHASSIS.radius]
        scan = np.round(cast(LIDAR, origin, boxes), 4).astype(np.float32)
        lines.append(line.as_array())
        ranges.append(scan)
        targets.append(_plan_target(line, scan))
    inputs = plan_inputs(np.array(lines, dtype=np.float64), np.array(ranges, dtype=np.float64))
    return Samples(inputs, np.array(targets))


def control_samples(count: int, rng: np.random.Generator) -> Samples:
    """`count` random pairs of reference and measured speeds, and the expert's wheel commands before their limit.

    The limit is a clip at the end of the graph: the network need not learn its corner.
    """
    chassis = replace(CHASSIS, max_wheel=math.inf)
    draw = 2.0 * rng.random((count, 4)) - 1.0
    speeds = np.round(draw * (0.5, 2.2, 0.5, 2.2), 6)
    speeds[::4] *= 0.1
    targets = [control(EXPERT, chassis, (float(a), float(b)), (float(c), float(d))) for a, b, c, d in speeds]
    return Samples(control_inputs(speeds), np.round(np.array(targets), 9) / WHEEL_SCALE)


def _plan_target(line: LineState, ranges: NDArray[np.float32]) -> Array:
    wish = plan(EXPERT, LIDAR, line, ranges)
    return np.asarray(np.round([wish.v, wish.curvature], 7) / PLAN_SCALE)


class Student:
    """Drives by the networks as they are, and keeps each situation with what the expert would have planned (DAgger).

    The expert sees the true line state, the student the perceived one: so planning learns to live with perception's
    errors (Ross, Gordon and Bagnell, 2011).
    """

    def __init__(self, perception: Network, planning: Network, controller: Network) -> None:
        self._perception, self._planning, self._controller = perception, planning, controller
        self._inputs: list[Array] = []
        self._targets: list[Array] = []

    def __call__(self, world: World) -> tuple[float, float]:
        """The student's wheel commands (left, right), m/s."""
        ranges = world.scan()
        line = self._perception(salience(world.camera())[None])[0] * LINE_SCALE
        inputs = plan_inputs(np.round(line, 6)[None], ranges.astype(np.float64)[None])
        self._inputs.append(inputs[0])
        self._targets.append(_plan_target(world.line_state(), ranges))
        wish = self._planning(inputs)[0] * PLAN_SCALE
        wanted = reference(EXPERT, Plan(float(wish[0]), float(wish[1])))
        odometry = world.odometry()
        speeds = np.array([[*wanted, odometry.v, odometry.omega]])
        left, right = self._controller(control_inputs(speeds))[0] * WHEEL_SCALE
        return float(left), float(right)

    def samples(self) -> Samples:
        """Everything met so far."""
        return Samples(np.array(self._inputs), np.array(self._targets))


def on_policy_samples(student: Student, first: int, worlds: int, seconds: float) -> Samples:
    """Let `student` drive `seconds` on each of `worlds` tracks with many boxes; a run ends where the track is left."""
    for number in range(worlds):
        world = World(FIRST_SEED + first + number, times=_OFTEN)
        loop = Loop(world, student)
        for _ in range(round(seconds)):
            loop.run(1.0)
            if world.off_track or world.collided:
                break
    return student.samples()
