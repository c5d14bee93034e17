"""Judge a policy in the closed loop: does it stay on unseen tracks, and does it stop before a box?"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from og_ros.errors import OgError
from og_ros.sim.policy import MODELS, ExpertPolicy, ModelPolicy, Policy
from og_ros.sim.world import World

STEP = 0.025
"""Simulated time between two states, s; the policy acts at every second one."""

UNSEEN = 1000
"""First seed of the tracks that are judged; training draws its seeds elsewhere."""

_STANDS = 0.02


@dataclass(frozen=True)
class DriveReport:
    """One drive: offsets in m, distance in m; `left` if the track was ever left, `collided` if a box was hit."""

    seed: int
    mean_offset: float
    max_offset: float
    distance: float
    left: bool
    collided: bool


@dataclass(frozen=True)
class BoxReport:
    """One box on the line: gap between rim and box when the robot stood, m (infinite if it never did).

    Attributes:
        seed: of the track.
        stopped: it stood before the box for the last second, less than 0.6 m from it and without touching it.
        gap: m.
        resumed: after the box was taken away it drove on for half a metre within 5 s.
    """

    seed: int
    stopped: bool
    gap: float
    resumed: bool


class Loop:
    """A policy in the loop with a world, at 20 Hz, its commands reaching the wheels `delay` steps of `STEP` late."""

    def __init__(self, world: World, policy: Policy, delay: int = 1) -> None:
        self.world = world
        self._policy = policy
        self._queue: list[tuple[float, float]] = [(0.0, 0.0)] * delay
        self._command = (0.0, 0.0)
        self._ticks = 0

    def tick(self) -> None:
        """Advance by one `STEP`."""
        if self._ticks % 2 == 0:
            self._command = self._policy(self.world)
        self._queue.append(self._command)
        self.world.step(STEP, self._queue.pop(0))
        self._ticks += 1

    def run(self, seconds: float) -> None:
        """Advance by `seconds` of simulated time."""
        for _ in range(round(seconds / STEP)):
            self.tick()


def drive(policy: Policy, seed: int, seconds: float = 60.0, *, boxes: bool = True, delay: int = 1) -> DriveReport:
    """Drive `seconds` of simulated time on the track of `seed`, with boxes coming and going if `boxes`."""
    world = World(seed, boxes=boxes)
    loop = Loop(world, policy, delay)
    offsets = []
    left = False
    for _ in range(round(seconds / STEP)):
        loop.tick()
        offsets.append(abs(world.line_state().offset))
        left = left or world.off_track
    mean = sum(offsets) / len(offsets)
    return DriveReport(seed, mean, max(offsets), world.distance, left, world.collided)


def stop_before_box(policy: Policy, seed: int, *, ahead: float = 1.4, delay: int = 1) -> BoxReport:
    """Drive 3 s, put a box on the line `ahead` metres on, watch for 8 s, take it away and watch for 5 s."""
    world = World(seed, boxes=False)
    loop = Loop(world, policy, delay)
    loop.run(3.0)
    box = world.place_box(ahead)
    loop.run(7.0)
    standing = True
    for _ in range(round(1.0 / STEP)):
        loop.tick()
        standing = standing and abs(world.wheels.left) < _STANDS and abs(world.wheels.right) < _STANDS
    gap = world.clearance() if standing else math.inf
    stopped = standing and not world.collided and not world.off_track and gap < 0.6
    world.remove_box(box)
    before = world.distance
    loop.run(5.0)
    return BoxReport(seed, stopped, gap, world.distance - before > 0.5)


def _policy(name: str, folder: Path) -> Policy:
    return ExpertPolicy() if name == "expert" else ModelPolicy(folder, blind=name == "blind")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 if every drive stayed on its track and every box was stopped for, 1 if not, 2 if not judged."""
    parser = argparse.ArgumentParser(prog="python -m og_ros.sim.evaluate", description=__doc__)
    parser.add_argument("--policy", choices=("models", "expert", "blind"), default="models")
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of the three .onnx files")
    parser.add_argument("--seeds", type=int, default=12, help="number of tracks")
    parser.add_argument("--first-seed", type=int, default=UNSEEN)
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated time of each drive")
    parser.add_argument("--delay", type=int, default=1, help="steps of 25 ms from sensor to wheel")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.seconds < STEP or options.delay < 0:
        parser.error("give one seed or more, a time, and no negative delay: nothing judged is no pass")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    try:
        policy = _policy(options.policy, options.models)
    except (OgError, ImportError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    drives = [drive(policy, seed, options.seconds, delay=options.delay) for seed in seeds]
    stops = [stop_before_box(policy, seed, delay=options.delay) for seed in seeds]
    for report, stop in zip(drives, stops, strict=True):
        gap = f"{stop.gap:.3f} m" if math.isfinite(stop.gap) else "-"
        print(
            f"seed {report.seed}: |e| mean {report.mean_offset:.3f} max {report.max_offset:.3f} m, "
            f"{report.distance:.1f} m{', LEFT' if report.left else ''}{', HIT A BOX' if report.collided else ''}; "
            f"box: {'stopped' if stop.stopped else 'DID NOT STOP'}, gap {gap}, "
            f"{'resumed' if stop.resumed else 'DID NOT RESUME'}"
        )
    count = len(drives)
    print(
        f"{options.policy}: left {sum(d.left for d in drives)}/{count}, hit a box {sum(d.collided for d in drives)}"
        f"/{count}, |e| mean {sum(d.mean_offset for d in drives) / count:.3f} m, "
        f"max {max(d.max_offset for d in drives):.3f} m, stopped before box {sum(s.stopped for s in stops)}/{count}, "
        f"resumed {sum(s.resumed for s in stops)}/{count}"
    )
    good = not any(d.left or d.collided for d in drives) and all(s.stopped and s.resumed for s in stops)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
