"""trajectory_msgs/msg/JointTrajectory, both ways: what MoveIt plans, and what a policy's chunk of actions becomes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import NS_PER_SECOND, CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters import joints as rules
from og_ros.stages.adapters.adapter import Sample, mismatch
from og_ros.stages.adapters.header import read_header, write_header
from og_ros.stages.model import Tensor

MAX_POINTS: Final = 10_000


@dataclass(frozen=True)
class JointTrajectoryAdapter:
    """Positions [points, joints] (rad or m), float32.

    Attributes:
        joints: their names, in the order of the tensor. An input's are found by name.
        points: how many points an input gives; one that has fewer repeats its last. None: as many as there are.
        dt_s: s between two points of an output; the first is due after one.
        batch: put a dimension of 1 in front of an input's shape; an output may always have one.
    """

    name: ClassVar[str] = "joint_trajectory"
    message_type: ClassVar[str] = "trajectory_msgs/msg/JointTrajectory"
    stamped: ClassVar[bool] = True
    modules: ClassVar[tuple[ModuleType, ...]] = (rules,)

    joints: tuple[str, ...] = ()
    points: int | None = None
    dt_s: float = 0.05
    batch: bool = False

    def __post_init__(self) -> None:
        rules.check_joints(self.joints)
        if self.points is not None and not 1 <= self.points <= MAX_POINTS:
            raise ConfigError(f"points is {self.points}; it must be from 1 to {MAX_POINTS}")
        if not 1e-6 <= self.dt_s <= 3600:
            raise ConfigError(f"dt_s is {self.dt_s:g}; it must be from 0.000001 to 3600 s")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        shape: tuple[int | None, ...] = (self.points, len(self.joints))
        shape = (1, *shape) if self.batch else shape
        if not tensor.fits(shape) or tensor.dtype != "float32":
            raise mismatch(self.name, shape, "float32", tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        fits = tensor.fits((None, len(self.joints))) or tensor.fits((1, None, len(self.joints)))
        if not fits or tensor.dtype not in ("float32", "float64", "float16"):
            raise mismatch(self.name, (None, len(self.joints)), "float32", tensor)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        names = rules.read_names(reader)
        count = reader.number("I", 4)
        if not 1 <= count <= MAX_POINTS:
            raise AttestationError(f"the trajectory has {count} points; 1 to {MAX_POINTS} are taken")
        rows = []
        for _ in range(count):
            positions = rules.read_values(reader)
            for _ in ("velocities", "accelerations", "effort"):
                rules.read_values(reader)
            reader.number("i", 4)
            reader.number("I", 4)
            if positions.size != len(names):
                raise AttestationError(f"a point has {positions.size} positions of {len(names)} joints")
            rows.append(positions)
        reader.end()
        places = rules.places_of(names, self.joints)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite to the model
            found = np.stack(rows)[:, places].astype(np.float32)
        if self.points is not None:
            found = found[np.minimum(np.arange(self.points), count - 1)]
        return Sample(found[np.newaxis] if self.batch else found, stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; raises AttestationError for another shape, and for a number that is not finite."""
        values = rules.finite(array, "a joint position")
        if values.ndim == 3 and values.shape[0] == 1:
            values = values[0]
        if values.ndim != 2 or values.shape[1] != len(self.joints) or not 1 <= values.shape[0] <= MAX_POINTS:
            raise AttestationError(f"the model gave {list(array.shape)}, which is no trajectory of {len(self.joints)}")
        writer = CdrWriter()
        write_header(writer, stamp_ns, frame_id)
        writer.number("I", 4, len(self.joints))
        for joint in self.joints:
            writer.text(joint)
        writer.number("I", 4, values.shape[0])
        for index, row in enumerate(values, 1):
            writer.number("I", 4, row.size)
            writer.raw(row.astype("<f8").tobytes(), 8)
            for _ in ("velocities", "accelerations", "effort"):
                writer.number("I", 4, 0)
            seconds, nanoseconds = divmod(round(index * self.dt_s * NS_PER_SECOND), NS_PER_SECOND)
            writer.number("i", 4, seconds)
            writer.number("I", 4, nanoseconds)
        return writer.payload()
