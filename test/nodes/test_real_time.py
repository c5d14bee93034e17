"""Pauses stay out of callbacks: garbage goes in idle moments, and memory that was freed stays with the process."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
from og_ros.nodes import real_time


class Knot:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.self = self


def test_garbage_goes_in_idle_moments_and_not_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    before = gc.get_threshold()
    monkeypatch.setattr(real_time, "IDLE_SECONDS", 0.0)
    collection = real_time.IdleCollection()
    try:
        assert gc.get_freeze_count() > 1000
        lost = weakref.ref(Knot())
        kept = [[] for _ in range(5 * before[0])]  # so many new objects would start Python's own collection
        assert lost() is not None
        assert kept
        collection.idle()
        assert lost() is None
    finally:
        collection.close()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_the_whole_heap_is_collected_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "FULL_SECONDS", 0.0)
    collection = real_time.IdleCollection()
    try:
        knot = Knot()
        lost = weakref.ref(knot)
        gc.collect(0)
        gc.collect(1)  # it is old now
        del knot
        gc.collect(0)
        assert lost() is not None
        collection.idle()
        assert lost() is None
    finally:
        collection.close()


PROGRAM = """
import resource, sys
from og_ros.nodes.real_time import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    raise SystemExit("another C library")
held = b""
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    held = bytes(bytearray(b"x") * 921_600)
began = faults()
for _ in range(200):
    held = bytes(bytearray(b"x") * 921_600)
print(faults() - began)
"""


def test_memory_that_was_freed_is_not_fetched_again_page_by_page() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
        if "another C library" in done.stderr:
            pytest.skip("the C library is not glibc")
        return int(done.stdout)

    assert faults("keep") < 200  # an image has 225 pages
