"""Topics as the nodes share them: where attestations go, with which QoS, and how to listen to any publisher."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.impl.implementation_singleton import rclpy_implementation as rclpy_native
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from og_ros.errors import ConfigError
from og_ros.stages.pipeline import ATTESTATION_SUFFIX as ATTESTATION_SUFFIX

# What of an interface is a message, by its folder.
_PARTS: Final = {"msg": ("",), "srv": ("Request", "Response", "Event"), "action": ("Goal", "Result", "Feedback")}


def attestation_qos() -> QoSProfile:
    """Return the QoS of attestation topics.

    Reliable, so that a gap means more than a lost packet; 1000 deep, so that at 100 Hz a listener may be away for ten
    seconds.
    """
    return QoSProfile(depth=1000, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def matching_qos(node: Node, topic: str, depth: int = 100) -> QoSProfile:
    """Return the strongest QoS that every present publisher of a topic can serve.

    A reliable subscription hears no best-effort publisher, a transient-local one no volatile publisher.
    """
    publishers = node.get_publishers_info_by_topic(topic)
    reliable = all(p.qos_profile.reliability == ReliabilityPolicy.RELIABLE for p in publishers)
    latched = bool(publishers) and all(p.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in publishers)
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def wait_until_heard(publishers: Iterable[Any], seconds: float = 0.5) -> bool:
    """Wait until the present reliable subscribers have everything that was published; call it before a publisher ends.

    A publisher that is destroyed takes along what is still on its way. Returns False when the time ran out: Fast DDS
    collects acknowledgements every three seconds, so that is no proof of a loss.
    """
    end = time.monotonic() + seconds
    heard = [p.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic()))) for p in publishers]
    return all(heard)


@contextlib.contextmanager
def usable_names() -> Iterator[None]:
    """Turn what rcl and rclpy say of a name that no topic can have into a ConfigError of one line."""
    try:
        yield
    except (NameValidationException, rclpy_native.RCLError) as error:
        raise ConfigError(" ".join(str(error).split())) from error


def message_class(name: str) -> Any:
    """Return the Python class of an interface such as "sensor_msgs/msg/Image".

    That may be a part of a service or action, such as "std_srvs/srv/SetBool_Request": see og_ros.nodes.attested_calls.
    Raises ConfigError for a name of another form or a package that is not installed.
    """
    parts = name.split("/")
    if len(parts) != 3 or parts[1] not in _PARTS or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{name!r} is no message type; one looks like sensor_msgs/msg/Image")
    whole, _, part = parts[2].rpartition("_") if parts[1] != "msg" else (parts[2], "", "")
    if part not in _PARTS[parts[1]]:
        raise ConfigError(f"{name!r} is no message type; of a {parts[1]} those are {', '.join(_PARTS[parts[1]])}")
    try:
        found = getattr(importlib.import_module(f"{parts[0]}.{parts[1]}"), whole)
        return getattr(found, part) if part else found
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"message type {name} is not installed: install the package {parts[0]}") from error


def type_name(kind: Any) -> str:
    """Return the full name of a message class, such as sensor_msgs/msg/Image or std_srvs/srv/SetBool_Request."""
    package, folder = kind.__module__.split(".")[:2]
    return f"{package}/{folder}/{kind.__name__}"


def has_header(kind: Any) -> bool:
    """Return whether a message class begins with a std_msgs/Header."""
    first = next(iter(kind.get_fields_and_field_types().values()), "")
    return bool(first == "std_msgs/Header")


def publisher_problem(node: Node, topic: str, expected: str = "") -> str:
    """Return why a message on a topic may not be of the one publisher, of the node `expected`, that it should be of.

    Empty when nothing speaks against it. A message does not say who published it; a publisher is in the graph before
    the first message of it is here.
    """
    count = node.count_publishers(topic)
    if count > 1:
        return f"it has {count} publishers, and a message does not say of which it is"
    if expected:
        for info in node.get_publishers_info_by_topic(topic):
            name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
            if name != expected:
                return f"it is published by {name}, and not by {expected}"
    return ""
