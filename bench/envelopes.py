"""What holding a command against its signed envelope costs, against the bare reading of its CDR by rosbags."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from envelope_examples import BASE, NOW, SHIFT, SITE, TWIST, cdr, chain, envelope, key, number, odometry, store, twist

from og_ros.attest.verifier import Verifier
from og_ros.gate import estop
from og_ros.gate.envelope_check import EnvelopeCheck
from og_ros.gate.stop_state import StopRules, StopState

Measure = Callable[..., tuple[float, float, float]]
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
_COUNT = 2000
_JOINTS = """
name: arm
version: 1
not_before: 2026-01-01T00:00:00Z
not_after: 2027-01-01T00:00:00Z
robots: [r1]
topics:
  /joints:
    type: trajectory_msgs/msg/JointTrajectory
    bounds:
      - {field: "points[*].positions[*]", min: -3, max: 3}
      - {field: "points[*].velocities[*]", min: -1, max: 1}
      - {field: "points[*].accelerations[*]", min: -5, max: 5}
      - {field: "points[*].effort[*]", min: -50, max: 50}
"""


def check_commands(measure: Measure) -> dict[str, tuple[float, float, float]]:
    """Checks of 2,000 commands against 2,000 readings by rosbags; seconds and ratio."""
    one, three = (EnvelopeCheck(chain(*t).envelopes, "r1", lambda: NOW) for t in ((BASE,), (BASE, SITE, SHIFT)))
    return {
        "check 2,000 Twists, 1 envelope (floor: rosbags reads them)": _twists(measure, one),
        "check 2,000 Twists, 3 envelopes (floor: rosbags reads them)": _twists(measure, three),
        "check 100 trajectories, 50 points x 7 joints (floor: rosbags reads them)": _trajectories(measure),
        "observe 2,000 scans of 720 beams (floor: rosbags reads them)": _scans(measure),
        "take 200 emergency stops (floor: their signatures)": _stops(measure),
    }


def _twists(measure: Measure, check: EnvelopeCheck) -> tuple[float, float, float]:
    payload = twist(0.1, 0.0, 0.3)
    check.observe("/odom", "nav_msgs/msg/Odometry", odometry(5.0, 5.0), 10**12)
    check.observe("/near", "std_msgs/msg/Float32", number(5.0), 10**12)
    assert check("/cmd_vel", TWIST, payload, 10**12) is None
    read = store().deserialize_cdr

    def actual() -> None:
        for _ in range(_COUNT):
            check("/cmd_vel", TWIST, payload, 10**12)
            check.forwarded("/cmd_vel", payload, 10**12)

    return measure(lambda: [read(payload, TWIST) for _ in range(_COUNT)], actual)


def _trajectories(measure: Measure) -> tuple[float, float, float]:
    t = store().types
    header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](1, 2), "base")
    row = np.full(7, 0.5)
    point = t["trajectory_msgs/msg/JointTrajectoryPoint"](
        row, row, row, row, t["builtin_interfaces/msg/Duration"](1, 2)
    )
    payload = cdr(t[TRAJECTORY](header, [f"joint_{n}" for n in range(7)], [point] * 50))
    check = EnvelopeCheck([envelope(_JOINTS)], "r1", lambda: NOW)
    assert check("/joints", TRAJECTORY, payload, 1) is None
    read = store().deserialize_cdr
    return measure(
        lambda: [read(payload, TRAJECTORY) for _ in range(100)],
        lambda: [check("/joints", TRAJECTORY, payload, 1) for _ in range(100)],
    )


def _scans(measure: Measure) -> tuple[float, float, float]:
    t = store().types
    kind = "sensor_msgs/msg/LaserScan"
    header = t["std_msgs/msg/Header"](t["builtin_interfaces/msg/Time"](1, 2), "laser")
    beams = np.full(720, 4.0, np.float32)
    payload = cdr(t[kind](header, 0.0, 6.28, 0.01, 0.0, 0.1, 0.1, 30.0, beams, np.array([], np.float32)))
    text = BASE.replace("std_msgs/msg/Float32, field: data", 'sensor_msgs/msg/LaserScan, field: "ranges[*]"')
    check = EnvelopeCheck([envelope(text)], "r1", lambda: NOW)
    read = store().deserialize_cdr
    return measure(
        lambda: [read(payload, kind) for _ in range(_COUNT)],
        lambda: [check.observe("/near", kind, payload, 1) for _ in range(_COUNT)],
    )


def _stops(measure: Measure) -> tuple[float, float, float]:
    signer = key("floor")
    verifier = Verifier(signer.public_key)
    messages = [estop.sign_stop("r1", signer, n, NOW, "smoke") for n in range(200)]
    payloads = [estop.encode(message) for message in messages]

    def actual() -> None:
        gate = StopState("r1", StopRules({signer.key_id: signer.public_key}, {}, 0))
        for payload in payloads:
            gate.take(payload)

    return measure(lambda: [verifier.verify_signature(m.signed_bytes(), m.signature) for m in messages], actual)
