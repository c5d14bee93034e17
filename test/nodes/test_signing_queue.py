"""The queue before the signer: what waits is bounded by number, by age, and by what signatures take."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")
from og_ros.nodes.signing_queue import SigningQueue

MS = 10**6


def serve(queue: SigningQueue[int], seconds: float, most: list[int], put: list[int]) -> threading.Thread:
    """Sign in a thread, each in so many seconds; note how many outputs were ahead of it."""

    def work() -> None:
        signed = 0
        while queue.first() is not None:
            time.sleep(seconds)
            most.append(len(put) - signed)
            signed += 1
            queue.done()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_slow_signer_is_not_run_ahead_of_by_a_burst() -> None:
    """Signatures of 20 ms and a lag of 200 ms: about ten may wait, however fast outputs come."""
    queue: SigningQueue[int] = SigningQueue(1000, 200 * MS)
    most: list[int] = []
    put: list[int] = []
    signer = serve(queue, 0.02, most, put)
    queue.put(0)
    put.append(0)
    queue.join()  # it is known by now what one takes
    late_ns = 0
    for number in range(1, 60):
        put.append(number)
        late_ns += queue.put(number)
    queue.close()
    signer.join()
    assert max(most) <= 13
    assert late_ns > 500 * MS


def test_a_quick_signer_holds_nothing_up() -> None:
    queue: SigningQueue[int] = SigningQueue(1000, 200 * MS)
    most: list[int] = []
    put: list[int] = []
    signer = serve(queue, 0.0, most, put)
    late_ns = 0
    for number in range(500):
        put.append(number)
        late_ns += queue.put(number)
    queue.close()
    signer.join()
    assert len(most) == 500
    assert late_ns == 0


def test_it_is_bounded_in_number() -> None:
    queue: SigningQueue[int] = SigningQueue(3, 10**12)
    most: list[int] = []
    put: list[int] = []
    signer = serve(queue, 0.01, most, put)
    for number in range(20):
        put.append(number)
        queue.put(number)
    queue.close()
    signer.join()
    assert max(most) <= 5
