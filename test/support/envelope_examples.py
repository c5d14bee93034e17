"""Envelopes, keys and command messages for the tests of the gate."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
from rosbags.typesys import Stores, get_typestore

from og_ros.attest import keys
from og_ros.attest.signer import SoftwareSigner
from og_ros.gate import envelope_format
from og_ros.gate.delegation import Chain, Owner, open_chain
from og_ros.gate.envelope import Envelope

NOW: Final = 1_772_450_000 * 10**9
"""2026-03-02 11:13:20 UTC, a Monday."""
MS: Final = 10**6
TWIST: Final = "geometry_msgs/msg/Twist"
BASE: Final = """
name: base
version: 3
not_before: 2026-01-01T00:00:00Z
not_after: 2027-01-01T00:00:00Z
robots: [r1, r2]
hours: [{days: [mon, tue], from: 06:00, to: 20:00}]
topics:
  /cmd_vel:
    type: geometry_msgs/msg/Twist
    free: [linear.z, angular.x, angular.y]
    bounds:
      - {field: linear.x, min: -1, max: 1, max_rise: 2, jitter: 0.05}
      - {field: linear.y, min: -0.5, max: 0.5}
      - {field: angular.z, min: -1, max: 1, max_rate: 4}
      - {field: linear.x, min: -0.2, max: 0.2, when: near}
      - {field: linear.x, min: -0.4, max: 0.4, when: slow_corner}
      - {magnitude_of: [linear.x, linear.y], max: 1.05}
  /lift:
    type: std_msgs/msg/Float64
    bounds: [{field: data, min: 0, max: 2}]
conditions:
  near: {topic: /near, type: std_msgs/msg/Float32, field: data, below: 2, stale_after: 0.5}
pose: {topic: /odom, type: nav_msgs/msg/Odometry, frame: odom, stale_after: 0.5}
zones:
  hall: {kind: allowed, polygon: [[0, 0], [10, 0], [10, 10], [0, 10]]}
  pit: {kind: forbidden, polygon: [[8, 8], [9, 8], [9, 9], [8, 9]]}
  slow_corner: {kind: slow, polygon: [[0, 0], [2, 0], [2, 2], [0, 2]]}
delegates: {site: {key_file: site, depth: 1}}
stop: {authorities: {floor: {key_file: floor}}, release: {a: {key_file: a}, b: {key_file: b}}, release_needs: 2}
"""
SITE: Final = """
name: site
version: 1
not_before: 2026-02-01T00:00:00Z
not_after: 2026-12-01T00:00:00Z
robots: [r1]
hours: [{days: [mon], from: 08:00, to: 18:00}]
topics:
  /cmd_vel:
    type: geometry_msgs/msg/Twist
    bounds: [{field: linear.x, min: -0.5, max: 0.5}]
delegates: {shift: {key_file: shift}}
"""
SHIFT: Final = """
name: shift
version: 1
not_before: 2026-03-01T00:00:00Z
not_after: 2026-03-08T00:00:00Z
robots: [r1]
topics:
  /cmd_vel:
    type: geometry_msgs/msg/Twist
    bounds: [{field: linear.x, min: 0, max: 0.3}]
"""


@cache
def key(name: str) -> SoftwareSigner:
    """Return the key of somebody, the same one each time."""
    return SoftwareSigner(keys.generate())


def pem(name: str) -> str:
    """Return somebody's public key."""
    return keys.public_pem(key(name).public_key)


def owner() -> Owner:
    """Trust the key `owner`."""
    return Owner.of_key(key("owner").public_key)


def envelope(text: str = BASE, parent: str = "", **changes: Any) -> Envelope:
    """Read an envelope from YAML, with some fields changed."""
    return replace(envelope_format.read_yaml(text.encode(), "it.yaml", NOW, parent, pem), **changes)


def digest_of(data: bytes) -> str:
    """Return what a child names a signed envelope by."""
    return envelope_format.parse(data, "it").digest


def sign_all(*made: tuple[Envelope, str]) -> list[tuple[str, bytes]]:
    """Sign envelopes, each as the child of the one before it, with the key of somebody."""
    files: list[tuple[str, bytes]] = []
    for one, who in made:
        parent = digest_of(files[-1][1]) if files else ""
        files.append((one.name, envelope_format.sign(replace(one, parent=parent), key(who))))
    return files


def chain(*texts: str) -> Chain:
    """Return the chain of BASE, SITE and SHIFT, or as many of them as are asked for."""
    made = [(envelope(text), who) for text, who in zip(texts, ("owner", "site", "shift"), strict=False)]
    return open_chain(sign_all(*made), owner())


@cache
def store() -> Any:
    """Return the types of ROS 2 Jazzy, by rosbags: another reader and writer of CDR than the product's."""
    return get_typestore(Stores.ROS2_JAZZY)


def cdr(message: Any, little_endian: bool = True) -> bytes:
    """Return a message's CDR payload."""
    return bytes(store().serialize_cdr(message, message.__msgtype__, little_endian=little_endian))


def twist(x: float = 0.0, y: float = 0.0, turn: float = 0.0, z: float = 0.0) -> bytes:
    """Return a geometry_msgs/msg/Twist."""
    vector = store().types["geometry_msgs/msg/Vector3"]
    return cdr(store().types[TWIST](vector(x, y, z), vector(0.0, 0.0, turn)))


def number(value: float, type: str = "std_msgs/msg/Float32") -> bytes:
    """Return a message of one number."""
    return cdr(store().types[type](value))


def odometry(x: float, y: float, frame: str = "odom") -> bytes:
    """Return a nav_msgs/msg/Odometry."""
    t = store().types
    header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](1, 2), frame)
    pose = t["geometry_msgs/msg/Pose"](
        t["geometry_msgs/msg/Point"](x, y, 0.0), t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
    )
    vector = t["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    return cdr(
        t["nav_msgs/msg/Odometry"](
            header, "base",
            t["geometry_msgs/msg/PoseWithCovariance"](pose, np.zeros(36)),
            t["geometry_msgs/msg/TwistWithCovariance"](t[TWIST](vector, vector), np.zeros(36)),
        )
    )  # fmt: skip
