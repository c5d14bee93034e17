"""Messages of other people's pipelines as bytes, written and read by rosbags."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import wire_messages as wire
from rosbags.typesys import get_types_from_msg

# vision_msgs 4.1 (Humble to Jazzy), without comments.
_VISION = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "vision_msgs/Point2D position\nfloat64 theta",
    "BoundingBox2D": "vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Detection2D": "std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n"
    "vision_msgs/BoundingBox2D bbox\nstring id",
    "Detection2DArray": "std_msgs/Header header\nvision_msgs/Detection2D[] detections",
}
for _name, _text in _VISION.items():
    wire.STORE.register(get_types_from_msg(_text, f"vision_msgs/msg/{_name}"))


def compressed(data: bytes, form: str) -> Any:
    return wire.make(
        "sensor_msgs/msg/CompressedImage", header=wire.header(), format=form, data=np.frombuffer(data, np.uint8)
    )


def compressed_depth(png: bytes, encoding: str = "16UC1", a: float = 0.0, b: float = 0.0) -> Any:
    return compressed(struct.pack("<iff", 0, a, b) + png, f"{encoding}; compressedDepth png")


def floats64(values: np.ndarray, sizes: tuple[int, ...] = (), offset: int = 0) -> Any:
    dims = [wire.make("std_msgs/msg/MultiArrayDimension", label="d", size=size, stride=0) for size in sizes]
    layout = wire.make("std_msgs/msg/MultiArrayLayout", dim=dims, data_offset=offset)
    return wire.make("std_msgs/msg/Float64MultiArray", layout=layout, data=np.asarray(values, float).reshape(-1))


def _pose(values: Sequence[float]) -> Any:
    position = wire.make("geometry_msgs/msg/Point", **dict(zip("xyz", values[:3], strict=True)))
    orientation = wire.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", values[3:], strict=True)))
    return wire.make("geometry_msgs/msg/Pose", position=position, orientation=orientation)


def grid(cells: np.ndarray) -> Any:
    info = wire.make(
        "nav_msgs/msg/MapMetaData",
        map_load_time=wire.header().stamp,
        resolution=0.05,
        width=cells.shape[1],
        height=cells.shape[0],
        origin=_pose((1, 2, 0, 0, 0, 0, 1)),
    )
    data = cells.astype(np.int8).reshape(-1)
    return wire.make("nav_msgs/msg/OccupancyGrid", header=wire.header(frame_id="map"), info=info, data=data)


def path(points: Sequence[tuple[float, float]]) -> Any:
    poses = [
        wire.make(
            "geometry_msgs/msg/PoseStamped",
            header=wire.header(5, "m" * index),
            pose=_pose((x, y, 0.5, 0, 0, 0, 1)),
        )
        for index, (x, y) in enumerate(points)
    ]
    return wire.make("nav_msgs/msg/Path", header=wire.header(frame_id="map"), poses=poses)


def joint_state(names: Sequence[str], position: Sequence[float], velocity: Sequence[float] = ()) -> Any:
    return wire.STORE.types["sensor_msgs/msg/JointState"](
        header=wire.header(frame_id="arm"),
        name=list(names),
        position=np.array(position, float),
        velocity=np.array(velocity, float),
        effort=np.zeros(0),
    )


def trajectory(names: Sequence[str], rows: Sequence[Sequence[float]]) -> Any:
    points = [
        wire.make(
            "trajectory_msgs/msg/JointTrajectoryPoint",
            positions=np.array(row, float),
            velocities=np.zeros(len(row)) if index % 2 else np.zeros(0),
            accelerations=np.zeros(0),
            effort=np.zeros(0),
            time_from_start=wire.make("builtin_interfaces/msg/Duration", sec=index, nanosec=5),
        )
        for index, row in enumerate(rows)
    ]
    header = wire.header(frame_id="arm")
    return wire.make("trajectory_msgs/msg/JointTrajectory", header=header, joint_names=list(names), points=points)
