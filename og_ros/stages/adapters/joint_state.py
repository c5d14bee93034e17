"""sensor_msgs/msg/JointState: chosen joints as a vector, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader, CdrWriter
from og_ros.errors import AttestationError, ConfigError
from og_ros.stages.adapters import joints as rules
from og_ros.stages.adapters.adapter import Sample
from og_ros.stages.adapters.header import read_header, write_header
from og_ros.stages.adapters.vector import check_count, check_vector
from og_ros.stages.model import Tensor

FIELDS: Final = ("position", "velocity", "effort")


@dataclass(frozen=True)
class JointStateAdapter:
    """Vector of `fields` of `joints`, float32: first one field of all joints, then the next (rad or m, /s, Nm or N).

    A driver may name the joints in any order, and more of them; they are found by name.

    Attributes:
        joints: their names, in the order of the tensor.
        fields: of position, velocity and effort.
        batch: put a dimension of 1 in front of an input's shape.
    """

    name: ClassVar[str] = "joint_state"
    message_type: ClassVar[str] = "sensor_msgs/msg/JointState"
    stamped: ClassVar[bool] = True
    modules: ClassVar[tuple[ModuleType, ...]] = (rules,)

    joints: tuple[str, ...] = ()
    fields: tuple[str, ...] = ("position",)
    batch: bool = False

    def __post_init__(self) -> None:
        rules.check_joints(self.joints)
        if not self.fields or len(set(self.fields)) != len(self.fields) or not set(self.fields) <= set(FIELDS):
            raise ConfigError(f"fields must be of {', '.join(FIELDS)}, none twice")

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        check_vector(self.name, len(self.joints) * len(self.fields), self.batch, tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        check_count(self.name, len(self.joints) * len(self.fields), tensor)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        names = rules.read_names(reader)
        values = {field: rules.read_values(reader) for field in FIELDS}
        reader.end()
        places = rules.places_of(names, self.joints)
        parts = []
        for field in self.fields:
            if values[field].size != len(names):
                raise AttestationError(f"the message has {values[field].size} {field} values of {len(names)} joints")
            parts.append(values[field][places])
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite to the model
            vector = np.concatenate(parts).astype(np.float32)
        return Sample(vector[np.newaxis] if self.batch else vector, stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """See Adapter; raises AttestationError for another count, and for a number that is not finite."""
        values = rules.finite(array, "a joint value").reshape(-1)
        if values.size != len(self.joints) * len(self.fields):
            raise AttestationError(f"the model gave {values.size} values for {len(self.joints)} joints")
        by_field = dict(zip(self.fields, values.reshape(len(self.fields), -1), strict=True))
        writer = CdrWriter()
        write_header(writer, stamp_ns, frame_id)
        writer.number("I", 4, len(self.joints))
        for joint in self.joints:
            writer.text(joint)
        for field in FIELDS:
            found = by_field.get(field)
            writer.number("I", 4, 0 if found is None else found.size)
            if found is not None:
                writer.raw(found.astype("<f8").tobytes(), 8)
        return writer.payload()
