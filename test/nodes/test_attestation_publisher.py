"""The signing queue: in order, bounded by waiting, and complete when it closes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

from og_ros.attest import (
    Clock,
    ModelReference,
    Runtime,
    Session,
    SoftwareSigner,
    decode_attestation,
    digest,
    keys,
)
from og_ros.errors import AttestationError
from og_ros.nodes.attestation_publisher import AttestationPublisher, Inference, Message


def session() -> Session:
    model, runtime = ModelReference("m", "1", b"m" * 32), Runtime("test", "1")
    signer = SoftwareSigner(keys.generate())
    return Session(robot="r", stage="s", node="/n", model=model, runtime=runtime, signer=signer)


def inference(number: int, size: int = 8) -> Inference:
    payload = b"\0\1\0\0" + number.to_bytes(4, "big") + bytes(size)
    inputs = (Message("/in", "std_msgs/msg/Header", payload),)
    return Inference(inputs, (Message("/out", "std_msgs/msg/Header", payload),), number, Clock.SYSTEM, number, 1)


def test_order_and_completeness_from_a_slow_publisher() -> None:
    published: list[bytes] = []

    def slow(payload: bytes) -> None:
        time.sleep(0.002)
        published.append(payload)

    faults: list[str] = []
    queue = AttestationPublisher(session(), slow, lambda kind, error: faults.append(f"{kind}: {error}"), capacity=4)
    for number in range(50):
        item = inference(number, size=20_000)
        if number % 2:
            item.inputs[0].hash_beside(queue.pool)
        queue.submit(item)
    queue.drain()
    assert len(published) == 50
    queue.close()
    queue.close()
    statements = [decode_attestation(p).statement for p in published]
    assert [s.start_ns for s in statements] == list(range(50))
    assert [s.inputs[0].digest for s in statements] == [
        digest(inference(n, 20_000).inputs[0].payload) for n in range(50)
    ]
    assert faults == []
    with pytest.raises(AttestationError, match="after the session ended"):
        queue.submit(inference(51))


def test_a_full_queue_makes_the_stage_wait() -> None:
    gate = threading.Event()
    published: list[bytes] = []

    def publish(payload: bytes) -> None:
        gate.wait()
        published.append(payload)

    queue = AttestationPublisher(session(), publish, lambda kind, error: None, capacity=2)
    submitted: list[int] = []

    def submit() -> None:
        for number in range(6):
            queue.submit(inference(number))
            submitted.append(number)

    thread = threading.Thread(target=submit)
    thread.start()
    time.sleep(0.3)
    assert len(submitted) == 3, "one at the signer, two in the queue"
    gate.set()
    thread.join(10)
    queue.close()
    assert len(published) == 6


def test_what_cannot_be_signed_is_reported_and_leaves_no_gap() -> None:
    published: list[bytes] = []
    faults: list[str] = []
    queue = AttestationPublisher(session(), published.append, lambda kind, error: faults.append(str(error)), capacity=9)
    queue.submit(inference(0))
    bad = inference(1)
    bad.inputs[0].topic = "x" * 300
    queue.submit(bad)
    queue.submit(replace(inference(2), outputs=()))
    queue.submit(inference(3))
    queue.close()
    assert [decode_attestation(p).statement.sequence for p in published] == [0, 1]
    assert len(faults) == 2
    assert "topic is 300 bytes long" in faults[0]


def test_upstream_attestation_is_named_when_it_has_arrived() -> None:
    upstream: list[bytes] = []
    first = AttestationPublisher(session(), upstream.append, lambda kind, error: None, capacity=9)
    made = inference(7)
    first.submit(made)
    first.close()
    published: list[bytes] = []
    faults: list[str] = []
    second = AttestationPublisher(session(), published.append, lambda kind, error: faults.append(kind), capacity=9)
    read = (Message("/out", "std_msgs/msg/Header", made.outputs[0].payload),)
    other = (Message("/other", "std_msgs/msg/Header", read[0].payload),)
    second.arrived("/out", b"malformed")
    second.arrived("/out", upstream[0])
    repeated = (Message("/out", "std_msgs/msg/Header", read[0].payload),)
    for inputs in (read, other, repeated):
        second.submit(replace(inference(8), inputs=inputs))
    second.close()
    named = [decode_attestation(p).statement.inputs[0].attestation for p in published]
    # The repeated message has the same bytes, and came after the attestation: that one is not its own.
    assert named == [decode_attestation(upstream[0]).digest, b"", b""]
    assert faults == ["attestation of /out"]
