"""The demo's nodes, with gate and recorder, as the ROS graph shows them while they run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from domains import claimed_domain
from sros2 import Allowed

from og_ros.nodes.demo import prepare

NODES = ("perception", "planning", "control", "auditor", "gate", "recorder")
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Graph:
    """What each node has, and the QoS profiles that are offered on each topic."""

    nodes: dict[str, Allowed]
    offered: dict[str, list[Any]]


def demo_graph(directory: Path) -> Graph:
    """Run the demo's nodes, without its world, until their graph no longer changes."""
    files = prepare(directory / "demo", gate=True)
    with claimed_domain() as domain, _onlooker(domain) as node:
        env = {**os.environ, "ROS_DOMAIN_ID": str(domain)}
        verb = ["-m", "og_ros.cli.main", "run", str(files.pipeline), "--record", str(directory / "bag")]
        with open(directory / "log", "wb") as log:
            running = subprocess.Popen([sys.executable, *verb], env=env, stdout=log, stderr=log, cwd=directory)
        try:
            end = time.monotonic() + DEADLINE_S
            last, since = _seen(node), time.monotonic()
            # The auditor asks the stages' journals, and the recorder adds topics, some time after the start.
            while time.monotonic() < end and (not _complete(last) or time.monotonic() < since + 3):
                assert running.poll() is None, (directory / "log").read_text()
                time.sleep(0.2)
                if (now := _seen(node)) != last:
                    last, since = now, time.monotonic()
            offered = {
                topic: [end.qos_profile for end in node.get_publishers_info_by_topic(topic)]
                for topic in sorted(set().union(*(seen.publish for seen in last.values())))
            }
        finally:
            running.terminate()
            running.wait(40)
    return Graph(last, offered)


@contextlib.contextmanager
def _onlooker(domain: int) -> Iterator[Any]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("onlooker", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _complete(nodes: dict[str, Allowed]) -> bool:
    return all(seen.publish and seen.reply for seen in nodes.values()) and bool(nodes["auditor"].request)


def _seen(node: Any) -> dict[str, Allowed]:
    return {name: _of_node(node, name) for name in NODES}


def _of_node(node: Any, name: str) -> Allowed:
    found = Allowed(name)
    with contextlib.suppress(rclpy.node.NodeNameNonExistentError):
        found.publish = {topic for topic, _ in node.get_publisher_names_and_types_by_node(name, "/")}
        found.subscribe = {topic for topic, _ in node.get_subscriber_names_and_types_by_node(name, "/")}
        found.reply = {service for service, _ in node.get_service_names_and_types_by_node(name, "/")}
        found.request = {service for service, _ in node.get_client_names_and_types_by_node(name, "/")}
    return found
