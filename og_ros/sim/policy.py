"""Who drives: the expert with the truth, the three ONNX models with the sensors, or nobody's eyes at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from og_ros.errors import ModelError
from og_ros.sim.expert import Expert, control, plan, reference
from og_ros.sim.world import World

Policy = Callable[[World], tuple[float, float]]
"""Reads what it needs from the world and returns the wheel commands (left, right), m/s."""

MODELS = Path(__file__).parent / "models"
"""Folder of the models that come with the package."""

MODEL_NAMES = ("line_perception", "line_planning", "wheel_control")


class ExpertPolicy:
    """Drives by the scripted expert on the true line state."""

    def __init__(self, expert: Expert | None = None) -> None:
        self._expert = expert or Expert()

    def __call__(self, world: World) -> tuple[float, float]:
        """The expert's wheel commands (left, right), m/s."""
        wanted = reference(self._expert, plan(self._expert, world.lidar, world.line_state(), world.scan()))
        odometry = world.odometry()
        return control(self._expert, world.chassis, wanted, (odometry.v, odometry.omega))


class ModelPolicy:
    """Drives by the three ONNX models: image -> line -> reference -> wheels.

    Args:
        folder: where `<name>.onnx` lie.
        blind: put a line state of zeros in perception's place, to show that the tests can fail.

    Raises:
        ModelError: a model is missing or does not load.
    """

    def __init__(self, folder: Path = MODELS, *, blind: bool = False) -> None:
        import onnxruntime as ort  # the expert needs none

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._blind = blind
        sessions = []
        for name in MODEL_NAMES:
            path = folder / f"{name}.onnx"
            try:
                sessions.append(ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"]))
            except Exception as error:  # onnxruntime raises a family of its own, without a public base class
                raise ModelError(f"cannot load {path}: {error}; train it with tools/train_models.py") from error
        self._perception, self._planning, self._control = sessions

    def perceive(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Line state, float32 [3]: offset m, heading rad, curvature 1/m, of an rgb image uint8 [120, 160, 3]."""
        return np.asarray(self._perception.run(None, {"image": image})[0], dtype=np.float32)

    def plan(self, line: NDArray[np.float32], ranges: NDArray[np.float32]) -> NDArray[np.float32]:
        """Reference, float32 [2]: v m/s, omega rad/s, of a line state float32 [3] and ranges float32 [24], m."""
        return np.asarray(self._planning.run(None, {"line": line, "ranges": ranges})[0], dtype=np.float32)

    def control(self, reference: NDArray[np.float32], measured: NDArray[np.float32]) -> NDArray[np.float32]:
        """Wheel commands, float32 [2]: left and right, m/s, of reference and measured (v, omega), float32 [2] each."""
        return np.asarray(self._control.run(None, {"reference": reference, "measured": measured})[0], dtype=np.float32)

    def __call__(self, world: World) -> tuple[float, float]:
        """The models' wheel commands (left, right), m/s."""
        line = np.zeros(3, dtype=np.float32) if self._blind else self.perceive(world.camera())
        wanted = self.plan(line, world.scan())
        odometry = world.odometry()
        left, right = self.control(wanted, np.array([odometry.v, odometry.omega], dtype=np.float32))
        return float(left), float(right)
