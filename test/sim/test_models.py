"""The committed models take what ROS messages hold, and fail towards a standing robot."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from og_ros.errors import ModelError
from og_ros.sim import Pose, World
from og_ros.sim.policy import MODEL_NAMES, MODELS, ModelPolicy

ort = pytest.importorskip("onnxruntime")

FREE = np.full(24, 4.0, dtype=np.float32)
ON_LINE = np.zeros(3, dtype=np.float32)
SIGNATURES = {
    "line_perception": ({"image": ("tensor(uint8)", [120, 160, 3])}, {"line": ("tensor(float)", [3])}),
    "line_planning": (
        {"line": ("tensor(float)", [3]), "ranges": ("tensor(float)", [24])},
        {"reference": ("tensor(float)", [2])},
    ),
    "wheel_control": (
        {"reference": ("tensor(float)", [2]), "measured": ("tensor(float)", [2])},
        {"wheels": ("tensor(float)", [2])},
    ),
}


@pytest.fixture(scope="module")
def models() -> ModelPolicy:
    return ModelPolicy()


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_signature(name: str) -> None:
    session = ort.InferenceSession((MODELS / f"{name}.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    inputs = {item.name: (item.type, item.shape) for item in session.get_inputs()}
    outputs = {item.name: (item.type, item.shape) for item in session.get_outputs()}
    assert (inputs, outputs) == SIGNATURES[name]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_format_is_old_enough_for_onnxruntime_1_17(name: str) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(MODELS / f"{name}.onnx")
    assert model.ir_version <= 9
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_perception_sees_the_line_on_unseen_floors(models: ModelPolicy) -> None:
    errors = []
    for seed in range(2000, 2010):
        world = World(seed)
        for index in range(0, len(world.track.points), 40):
            (x, y), (tx, ty) = world.track.points[index], world.track.tangents[index]
            shift = 0.08 * math.sin(index)
            pose = Pose(float(x - shift * ty), float(y + shift * tx), math.atan2(ty, tx) + 0.15 * math.cos(3 * index))
            world.place_robot(pose)
            errors.append(np.abs(models.perceive(world.camera()) - world.line_state().as_array()))
    mean = np.mean(errors, axis=0)
    assert mean[0] < 0.02
    assert mean[1] < 0.07
    assert mean[2] < 0.25


def test_infinite_ranges_are_free_beams(models: ModelPolicy) -> None:
    free = models.plan(ON_LINE, FREE)
    assert free[0] > 0.3
    assert (models.plan(ON_LINE, np.full(24, np.inf, dtype=np.float32)) == free).all()


@pytest.mark.parametrize("beam", [0, 11, 23])
def test_a_range_that_is_no_number_stands_the_robot(models: ModelPolicy, beam: int) -> None:
    ranges = FREE.copy()
    ranges[beam] = np.nan
    assert (models.plan(ON_LINE, ranges) == 0.0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_line_state_that_is_no_number_stands_the_robot(models: ModelPolicy, value: float) -> None:
    for place in range(3):
        line = ON_LINE.copy()
        line[place] = value
        assert (models.plan(line, FREE) == 0.0).all()


def test_plans_stay_within_their_limits_whatever_comes_in(models: ModelPolicy) -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        line = (rng.normal(size=3) * 10.0 ** rng.integers(-2, 6)).astype(np.float32)
        ranges = (rng.random(24) * 10.0 ** rng.integers(-2, 6) - 0.1).astype(np.float32)
        v, omega = models.plan(line, ranges)
        assert 0.0 <= v <= 0.5
        assert abs(omega) <= 3.5 * v + 1e-6


def test_a_wall_before_the_robot_stands_it(models: ModelPolicy) -> None:
    assert (models.plan(ON_LINE, np.full(24, 0.2, dtype=np.float32)) == 0.0).all()


def test_control_is_finite_and_limited(models: ModelPolicy) -> None:
    for value in (np.nan, np.inf, -np.inf, 1e30):
        wheels = models.control(np.full(2, value, dtype=np.float32), np.full(2, -value, dtype=np.float32))
        assert (np.abs(wheels) <= np.float32(0.8)).all()


def test_a_standing_reference_stands_the_wheels(models: ModelPolicy) -> None:
    wheels = models.control(np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.float32))
    assert (np.abs(wheels) < 0.01).all()  # below the drive's deadband


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"line_perception\.onnx"):
        ModelPolicy(tmp_path)
