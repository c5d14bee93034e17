"""A robot's stages over real DDS for a gate under test, and ears for what the gate passes and says."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ros_peer import Peer, until
from scenario import TYPES, Run, certify_all, honest_run, honest_ticks

from og_ros.attest import ATTESTATION_TYPE, SoftwareSigner, keys
from og_ros.audit.records import Record
from og_ros.nodes.topics import attestation_qos
from og_ros.registry import RegistryWriter

GATE = "og_ros.nodes.gate"
OUTPUT = "/wheels/safe"
ARRAY = TYPES["/wheel_command"]
VERDICT = "og_ros/msg/Verdict"
NO_POLICY = hashlib.sha256().digest()
Change = Callable[[Record], list[Record]]


class Robot:
    """Publishes the sensor messages, outputs and attestations of an honest run in real time, unless told otherwise."""

    def __init__(self, peer: Peer, directory: Path) -> None:
        self.run: Run = honest_run(1)
        self.gate_key = keys.generate()
        keys.save_private(self.gate_key, directory / "gate.pem")
        self.run.write_registry(directory / "registry", self._certify)
        self.directory = directory
        self.change: Change = lambda record: [record]
        self.commands: list[bytes] = []
        self.publishers: dict[str, Any] = {}
        for topic, kind in TYPES.items():
            self.publishers[topic] = peer.publisher(topic, kind)
            if topic not in ("/camera/image", "/scan", "/odom"):
                name = f"{topic}/attestation"
                self.publishers[name] = peer.publisher(name, ATTESTATION_TYPE, attestation_qos())
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def parameters(self, **changes: object) -> dict[str, object]:
        sensors = [f"{topic}:{TYPES[topic]}" for topic in ("/camera/image", "/scan", "/odom")]
        return {
            "robot": "demo",
            "registry": self.directory / "registry",
            "key": self.directory / "gate.pem",
            "input": "/wheel_command",
            "output": OUTPUT,
            "type": TYPES["/wheel_command"],
            "sensors": f"[{', '.join(sensors)}]".replace(":", ":")
            .replace("[", "['")
            .replace(", ", "', '")
            .replace("]", "']"),
            "stages": "['perception', 'planning', 'control']",
            "deadline": 0.3,
            "max_command_age": 1.0,
            "stall": 2.0,
            **changes,
        }

    def start(self) -> None:
        """Publish from now on; a robot that stopped goes on in its sessions."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _play(self) -> None:
        salt = time.time_ns() & 0xFFFFFFFF
        for record in honest_ticks(self.run, 10_000, time.time_ns() + 20_000_000, salt << 20):
            delay = record.received_ns - time.time_ns()
            if self._stop.wait(max(0.0, delay / 1e9)):
                return
            for changed in self.change(record):
                if changed.topic == "/wheel_command":
                    self.commands.append(bytes(changed.payload))
                self.publishers[changed.topic].publish(bytes(changed.payload))

    def _certify(self, writer: RegistryWriter, run: Run) -> None:
        certify_all(writer, run)
        signer = SoftwareSigner(self.gate_key)
        writer.certify_model("gate", "1", NO_POLICY, stages=("gate",), not_before_ns=10**9)
        writer.certify_key(signer.public_key, robot="demo", stage="gate", vendor="test", not_before_ns=10**9)


class Ears:
    """What the gate says and passes."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.output = peer.hear(OUTPUT, TYPES["/wheel_command"], 1000)
        self._verdicts = peer.hear("/gate/verdict", VERDICT, 1000)
        self.attestations = peer.hear_attestations("/gate/verdict/attestation")

    @property
    def verdicts(self) -> list[Any]:
        from rclpy.serialization import deserialize_message

        from og_ros.msg import Verdict

        return [deserialize_message(payload, Verdict) for payload in list(self._verdicts)]

    def reasons(self) -> set[str]:
        return {kind for verdict in self.verdicts for kind in verdict.reasons}

    def reset(self) -> tuple[bool, str]:
        from std_srvs.srv import Trigger

        client = self._peer.node.create_client(Trigger, "/gate/reset")
        assert client.wait_for_service(10.0)
        answer = client.call_async(Trigger.Request())
        until(answer.done, "the answer to a reset")
        self._peer.node.destroy_client(client)
        return answer.result().success, answer.result().message


def listening(robot: Robot) -> None:
    """Wait until the gate hears all that it is to hear: no output between the stages."""
    for topic, publisher in robot.publishers.items():
        if topic not in ("/perception/line", "/planning/reference"):
            until(lambda p=publisher: p.get_subscription_count() >= 1, f"the gate on {topic}")
    time.sleep(0.2)


def padded(payload: bytes) -> bytes:
    return payload + bytes(-len(payload) % 4)
