"""Sends an emergency stop or a release again and again, so that a gate that joins late or loses packets hears it."""

from __future__ import annotations

import time

import rclpy
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from og_ros.gate.estop import TOPIC
from og_ros.msg import EmergencyStop
from og_ros.nodes.topics import wait_until_heard

_PERIOD_S = 0.1
_LINGER_S = 1.0


def stop_qos() -> QoSProfile:
    """Return the QoS of emergency stops, for who sends and who listens."""
    return QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def send(payload: bytes, wait_s: float) -> int:
    """Publish a payload, ten times a second, until a second after the first listener was seen, or `wait_s` without one.

    Returns the greatest number of listeners seen.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("og_ros_stop_sender", context=context)
        publisher = node.create_publisher(EmergencyStop, TOPIC, stop_qos())
        end, heard = time.monotonic() + wait_s, 0
        while True:
            seen = publisher.get_subscription_count()
            if seen and not heard:
                end = time.monotonic() + _LINGER_S
            heard = max(heard, seen)
            publisher.publish(payload)  # the very bytes that were signed
            if time.monotonic() >= end:
                break
            time.sleep(_PERIOD_S)
        wait_until_heard([publisher])
        node.destroy_node()
        return heard
    finally:
        rclpy.shutdown(context=context)
