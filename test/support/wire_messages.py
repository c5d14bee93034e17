"""ROS messages as bytes, written and read by rosbags: an encoder that og_ros did not write."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)


def make(name: str, **fields: Any) -> Any:
    return STORE.types[name](**fields)


def serialize(message: Any, little_endian: bool = True) -> bytes:
    return bytes(STORE.serialize_cdr(message, message.__msgtype__, little_endian=little_endian))


def deserialize(payload: bytes, name: str) -> Any:
    return STORE.deserialize_cdr(payload, name)


def header(stamp_ns: int = 1_500_000_002, frame_id: str = "camera") -> Any:
    time = make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return make("std_msgs/msg/Header", stamp=time, frame_id=frame_id)


def image(
    pixels: np.ndarray, encoding: str, *, padding: int = 0, big_endian: bool = False, frame_id: str = "camera"
) -> Any:
    """An Image of [h, w, c]; `padding` bytes are put at the end of each row."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    data = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<")).view(np.uint8).reshape(height, -1)
    data = np.pad(data, ((0, 0), (0, padding)), constant_values=0xAA)
    return make(
        "sensor_msgs/msg/Image",
        header=header(frame_id=frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=data.shape[1],
        data=data.reshape(-1),
    )


def scan(ranges: list[float], **limits: float) -> Any:
    fields = {
        "angle_min": 0.0, "angle_max": 0.0, "angle_increment": 0.1, "time_increment": 0.0, "scan_time": 0.1,
        "range_min": 0.1, "range_max": 10.0, **limits,
    }  # fmt: skip
    return make(
        "sensor_msgs/msg/LaserScan",
        header=header(frame_id="laser"),
        **fields,
        ranges=np.array(ranges, dtype=np.float32),
        intensities=np.zeros(0, dtype=np.float32),
    )


def vector(x: float, y: float, z: float) -> Any:
    return make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def twist(linear: tuple[float, float, float], angular: tuple[float, float, float]) -> Any:
    return make("geometry_msgs/msg/Twist", linear=vector(*linear), angular=vector(*angular))


def twist_stamped(linear: tuple[float, float, float], angular: tuple[float, float, float]) -> Any:
    return make("geometry_msgs/msg/TwistStamped", header=header(frame_id="base"), twist=twist(linear, angular))


def odometry(pose: tuple[float, ...], linear: tuple[float, float, float], angular: tuple[float, float, float]) -> Any:
    covariance = np.zeros(36)
    position = make("geometry_msgs/msg/Point", **dict(zip("xyz", pose[:3], strict=True)))
    orientation = make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", pose[3:], strict=True)))
    where = make("geometry_msgs/msg/Pose", position=position, orientation=orientation)
    return make(
        "nav_msgs/msg/Odometry",
        header=header(frame_id="odom"),
        child_frame_id="base_link",
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=where, covariance=covariance),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist(linear, angular), covariance=covariance),
    )


def floats(values: np.ndarray, sizes: tuple[int, ...] = (), offset: int = 0) -> Any:
    dims = [make("std_msgs/msg/MultiArrayDimension", label="d", size=size, stride=0) for size in sizes]
    layout = make("std_msgs/msg/MultiArrayLayout", dim=dims, data_offset=offset)
    return make("std_msgs/msg/Float32MultiArray", layout=layout, data=values.astype(np.float32).reshape(-1))
