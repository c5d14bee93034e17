"""The world is a function of its seed, in this process, in another, and on another machine."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys

import numpy as np
import pytest

from og_ros.errors import ConfigError
from og_ros.sim import Camera, Chassis, Pose, World
from og_ros.sim.box import BoxTimes

# Shown equal with numpy 1.26 and 2.4, OpenCV 4.10 and 5.0, with and without AVX, FMA and AVX-512.
GOLDEN = "494cf533d250233b5471589c6ed42c3e35330d1b96a503e4dcd287e471142ab4"


def history(seed: int) -> str:
    """Digest of everything that 150 steps of a world show."""
    world = World(seed, times=BoxTimes(first=0.5, stay=2.0))
    digest = hashlib.sha256()
    for step in range(150):
        world.step(0.025, (0.3, 0.3 + 0.002 * (step % 40)))
        digest.update(world.scan().tobytes())
        digest.update(repr((world.time_ns, world.pose, world.odometry(), world.line_state())).encode())
        if step % 5 == 0:
            digest.update(world.camera().tobytes())
    return digest.hexdigest()


def test_a_seed_gives_the_same_bytes_everywhere() -> None:
    assert history(5) == GOLDEN


def test_another_process_sees_the_same_bytes() -> None:
    script = "import test_world; print(test_world.history(7))"
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(__file__.rpartition('/')[0])!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == history(7)


def test_other_seeds_give_other_worlds() -> None:
    assert len({World(seed).camera().tobytes() for seed in range(5)}) == 5


def test_reading_sensors_changes_nothing() -> None:
    read, unread = World(1), World(1)
    for _ in range(20):
        for _ in range(3):
            read.camera(), read.scan(), read.odometry(), read.line_state()
        read.step(0.025, (0.3, 0.3))
        unread.step(0.025, (0.3, 0.3))
    assert read.camera().tobytes() == unread.camera().tobytes()
    assert (read.pose, read.odometry()) == (unread.pose, unread.odometry())


def test_sensors_have_the_promised_types() -> None:
    world = World(0, camera=Camera(width=320, height=240), boxes=False)
    image = world.camera()
    assert (image.shape, image.dtype, image.flags.c_contiguous) == ((240, 320, 3), np.uint8, True)
    scan = world.scan()
    assert (scan.shape, scan.dtype) == ((24,), np.float32)
    assert (scan == world.lidar.range_max).all()
    assert world.line_state().as_array().dtype == np.float32


def test_odometry_measures_the_motion() -> None:
    world = World(0, boxes=False)
    for _ in range(80):
        world.step(0.025, (0.3, 0.3))
    odometry = world.odometry()
    assert odometry.v == pytest.approx(0.3, abs=0.005)
    assert odometry.pose.x == pytest.approx(world.distance, abs=0.01)
    assert world.time_ns == 2_000_000_000


def test_a_box_on_the_line_is_measured_and_stops_a_blind_robot() -> None:
    world = World(0, boxes=False)
    world.place_box(0.7)
    assert 0.4 < float(world.scan().min()) < 0.75
    for _ in range(200):
        world.step(0.025, (0.3, 0.3))
    assert world.collided
    assert 0.0 <= world.clearance() < 0.02
    for _ in range(40):
        world.step(0.025, (-0.3, -0.3))
    assert world.clearance() > 0.05


def test_boxes_come_and_go_by_the_schedule() -> None:
    world = World(0, times=BoxTimes(first=1.0, every=4.0, jitter=0.0, stay=2.0))
    beside = len(world.boxes)
    seen = []
    for _ in range(300):
        world.step(0.025, (0.0, 0.0))
        seen.append(world.box_on_line is not None)
        assert len(world.boxes) == beside + seen[-1]
    changes = [(step + 1) * 0.025 for step in range(1, 300) if seen[step] != seen[step - 1]]
    assert changes == pytest.approx([1.0, 3.0, 5.0, 7.0])


def test_without_boxes_there_are_none() -> None:
    world = World(0, boxes=False)
    for _ in range(400):
        world.step(0.025, (0.0, 0.0))
    assert world.boxes == ()
    assert world.clearance() == math.inf


@pytest.mark.parametrize("seed", range(6))
def test_boxes_beside_leave_the_track_free(seed: int) -> None:
    world = World(seed)
    for box in world.boxes:
        gap = min(box.distance(float(x), float(y)) for x, y in world.track.points)
        assert gap > 0.3 > Chassis().radius


def test_off_track_is_seen() -> None:
    world = World(0, boxes=False)
    pose = world.pose
    assert not world.off_track
    left = (pose.x - 0.35 * math.sin(pose.theta), pose.y + 0.35 * math.cos(pose.theta))
    world.place_robot(Pose(*left, pose.theta))
    assert world.off_track


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ConfigError, match="seed"):
        World(-1)
