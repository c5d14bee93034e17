"""A peer for nodes under test: real DDS, a domain of this process's own, waits instead of sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from domains import claim_domain
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor

from og_ros.attest import Attestation, decode_attestation
from og_ros.nodes.topics import attestation_qos, message_class

DOMAIN = claim_domain()
DEADLINE_S = 60.0


def environment() -> dict[str, str]:
    return {**os.environ, "ROS_DOMAIN_ID": str(DOMAIN), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


class Process:
    """A node in a process of its own; its stderr is collected."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.output or self._process.poll() is not None, f"{text!r} in {self.output}")
        assert text in self.output, self.output

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self._process.send_signal(number)
        return self.join()

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal; `join` waits for the end."""
        self._process.send_signal(number)

    def join(self) -> int:
        code = self._process.wait(DEADLINE_S)
        self._reader.join(5)
        return code

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    """Run `python ARGUMENTS` until the end of the block."""
    process = Process(arguments)
    try:
        yield process
    finally:
        process.kill()


def node(module: str, name: str, **parameters: object) -> list[str]:
    """Arguments that run a node module with parameters."""
    arguments = ["-m", module, "--ros-args", "-r", f"__node:={name}"]
    for key, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        arguments += ["-p", f"{key}:={text}"]
    return arguments


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition; fails the test, saying what did not come, after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"did not come: {what}"
        time.sleep(0.01)


class Peer:
    """Publishes and hears raw messages in a thread of its own."""

    def __init__(self, name: str = "peer") -> None:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list[bytes]] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def hear(self, topic: str, kind: str, qos: Any = 100) -> list[bytes]:
        """Subscribe and return the list that messages are added to."""
        heard = self.heard.setdefault(topic, [])
        self.node.create_subscription(message_class(kind), topic, heard.append, qos, raw=True)
        self.executor.wake()
        return heard

    def hear_attestations(self, topic: str) -> Callable[[], list[Attestation]]:
        """Subscribe to attestations and return a function that gives those that came."""
        heard = self.hear(topic, "og_ros/msg/Attestation", attestation_qos())
        return lambda: [decode_attestation(payload) for payload in list(heard)]

    def publisher(self, topic: str, kind: str, qos: Any = 100) -> Any:
        return self.node.create_publisher(message_class(kind), topic, qos)

    def wait_for_publishers(self, *topics: str, count: int = 1) -> None:
        for topic in topics:
            until(lambda t=topic: self.node.count_publishers(t) >= count, f"{count} publishers of {topic}")

    def close(self) -> None:
        self.executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except Exception:
            if self.context.ok():
                raise


def delivered(*publishers: Any) -> None:
    """Wait until reliable subscribers have everything: Fast DDS repairs a loss at its next heartbeat, within 3 s."""
    for publisher in publishers:
        assert publisher.wait_for_all_acked(Duration(seconds=DEADLINE_S)), publisher.topic_name


def matched(publisher: Any, count: int = 1) -> None:
    """Wait until a publisher has subscribers, on both sides of the match."""
    until(lambda: publisher.get_subscription_count() >= count, f"{count} subscribers of {publisher.topic_name}")
    time.sleep(0.2)
