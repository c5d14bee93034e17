"""nav_msgs/msg/Odometry: chosen fields of pose and twist as an input vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.cdr import CdrReader
from og_ros.stages.adapters.adapter import Sample, no_output
from og_ros.stages.adapters.header import MAX_FRAME_ID, read_doubles, read_header
from og_ros.stages.adapters.vector import check_fields, check_vector, select
from og_ros.stages.model import Tensor

FIELDS: Final = (
    "pose.position.x", "pose.position.y", "pose.position.z",
    "pose.orientation.x", "pose.orientation.y", "pose.orientation.z", "pose.orientation.w",
    "twist.linear.x", "twist.linear.y", "twist.linear.z", "twist.angular.x", "twist.angular.y", "twist.angular.z",
)  # fmt: skip
_POSE_SIZE: Final = 7
_TWIST_SIZE: Final = 6
_COVARIANCE_SIZE: Final = 36


@dataclass(frozen=True)
class OdometryAdapter:
    """Vector of `fields` of an odometry (m, m/s, rad/s, quaternion), float32. Input only.

    Attributes:
        fields: of FIELDS, in the order of the tensor.
        batch: put a dimension of 1 in front.
    """

    name: ClassVar[str] = "odometry"
    message_type: ClassVar[str] = "nav_msgs/msg/Odometry"
    stamped: ClassVar[bool] = True

    fields: tuple[str, ...] = ("twist.linear.x", "twist.angular.z")
    batch: bool = False

    def __post_init__(self) -> None:
        check_fields(self.fields, FIELDS)

    def check_input(self, tensor: Tensor) -> None:
        """See Adapter."""
        check_vector(self.name, len(self.fields), self.batch, tensor)

    def check_output(self, tensor: Tensor) -> None:
        """See Adapter."""
        raise no_output(self.name)

    def decode(self, payload: bytes | memoryview) -> Sample:
        """See Adapter."""
        reader = CdrReader(payload)
        stamp_ns, frame_id = read_header(reader)
        reader.text(MAX_FRAME_ID)  # child_frame_id
        pose = read_doubles(reader, _POSE_SIZE)
        read_doubles(reader, _COVARIANCE_SIZE)
        twist = read_doubles(reader, _TWIST_SIZE)
        read_doubles(reader, _COVARIANCE_SIZE)
        reader.end()
        return Sample(select(np.concatenate([pose, twist]), FIELDS, self.fields, self.batch), stamp_ns, frame_id)

    def encode(self, array: NDArray[Any], stamp_ns: int, frame_id: str) -> bytes:
        """Refuse: see Adapter."""
        raise no_output(self.name)
