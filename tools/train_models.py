#!/usr/bin/env python3
"""Train the three demo models from nothing by imitation of the scripted expert, the same to the byte every time.

    python tools/train_models.py             writes og_ros/sim/models/*.onnx
    python tools/train_models.py --check     trains again and compares with them: exit 1 on a difference

Needs numpy, opencv and onnx. See `training/exact.py` for why the CPU does not matter.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from training.data import Samples, Student, control_samples, on_policy_samples, perception_samples, planning_samples
from training.exact import Network, fit, new_network
from training.features import LINE_SCALE, PLAN_SCALE, WHEEL_SCALE
from training.graphs import line_perception, line_planning, wheel_control

from og_ros.sim.policy import MODELS

SEED = 2025
ROUNDS = 3
WORLDS_PER_ROUND = 10


def _say(started: float, text: str) -> None:
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


def _error(network: Network, samples: Samples, scale: object) -> str:
    """Mean absolute error of each output, in physical units."""
    error = np.abs(network(samples.inputs) - samples.targets).mean(axis=0) * scale
    return ", ".join(f"{value:.4f}" for value in error)


def train() -> dict[str, bytes]:
    """Train everything; the bytes of each model under its name."""
    started = time.monotonic()
    rngs = [np.random.Generator(np.random.PCG64(child)) for child in np.random.SeedSequence(SEED).spawn(6)]

    seen = perception_samples(200, 150, rngs[0])
    _say(started, f"{len(seen.inputs)} images")
    perception = new_network((768, 96, 48, 3), rngs[1])
    perception = fit(perception, seen.inputs, seen.targets, epochs=60, rate=2e-3, rng=rngs[1])
    _say(started, f"perception: training error {_error(perception, seen, LINE_SCALE)} (m, rad, 1/m)")

    wheels = control_samples(20_000, rngs[2])
    controller = fit(new_network((4, 16, 2), rngs[2]), wheels.inputs, wheels.targets, epochs=80, rate=5e-3, rng=rngs[2])
    _say(started, f"control: training error {_error(controller, wheels, WHEEL_SCALE)} (m/s)")

    situations = planning_samples(40_000, rngs[3])
    _say(started, f"{len(situations.inputs)} situations")
    planning = new_network((27, 64, 48, 2), rngs[4])
    for lap in range(ROUNDS + 1):
        epochs = 30 if lap == ROUNDS else 12
        planning = fit(planning, situations.inputs, situations.targets, epochs=epochs, rate=3e-3, rng=rngs[4])
        _say(started, f"planning {lap}: training error {_error(planning, situations, PLAN_SCALE)} (m/s, 1/m)")
        if lap < ROUNDS:
            student = Student(perception, planning, controller)
            met = on_policy_samples(student, 1000 + WORLDS_PER_ROUND * lap, WORLDS_PER_ROUND, 30.0)
            situations = situations.plus(met)
            _say(started, f"{len(met.inputs)} situations met by driving")
    return {
        "line_perception": line_perception(perception),
        "line_planning": line_planning(planning),
        "wheel_control": wheel_control(controller),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 if written or equal, 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=MODELS, help="folder to write to, or to compare with")
    parser.add_argument("--check", action="store_true", help="write nothing; compare sha256 with the files in --out")
    options = parser.parse_args(arguments)
    print(f"numpy {np.__version__}, opencv {cv2.__version__}, onnx {onnx.__version__}")
    different = False
    for name, data in train().items():
        path = options.out / f"{name}.onnx"
        digest = hashlib.sha256(data).hexdigest()
        if not options.check:
            options.out.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            print(f"{digest}  {path.name}  {len(data)} bytes")
            continue
        committed = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "missing"
        same = committed == digest
        different = different or not same
        print(f"{digest}  {path.name}  {'same' if same else f'DIFFERENT: committed is {committed}'}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
