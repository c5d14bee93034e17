"""The inferences that wait for their signature: bounded in number and in age, and who adds one waits for both."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

# By default no output stays unsigned for longer while its stage makes others. An auditor accuses an output whose
# attestation has not come after two seconds.
LAG_MS: Final = 500


class SigningQueue(Generic[T]):
    """A queue between the thread that publishes outputs and the thread that signs them.

    `put` returns once at most `capacity` wait beside the one that is being signed, the oldest of all has waited for
    less than `lag_ns`, and the newest is not to wait for longer, by what signatures took lately. So whatever holds the
    signing up (a disk that takes no write, a machine without a free core) slows the stage down instead of leaving
    outputs without attestations behind it.
    """

    def __init__(self, capacity: int, lag_ns: int) -> None:
        self._capacity, self._lag_ns = capacity, lag_ns
        self._waiting: deque[tuple[int, T]] = deque()
        self._lock = threading.Lock()
        self._added = threading.Condition(self._lock)
        self._signed = threading.Condition(self._lock)
        self._closed = False
        self._begun_ns = 0
        self._cost_ns = 0.0  # of a signature: half of it the last one's, a quarter the one's before, and so on

    def put(self, item: T) -> int:
        """Add an item, and wait for room; returns for how long it waited because of the age of the oldest, ns."""
        began = time.monotonic_ns()
        late_ns = 0
        with self._lock:
            self._waiting.append((began, item))
            self._added.notify()
            now = began
            while self._waiting and (len(self._waiting) > self._capacity + 1 or self._late(now)):
                late = self._late(now)
                self._signed.wait()
                since, now = now, time.monotonic_ns()
                late_ns += (now - since) if late else 0
        return late_ns

    def first(self) -> T | None:
        """Wait for the oldest item, which stays until `done`; None once the queue is closed and empty."""
        with self._lock:
            while not self._waiting:
                if self._closed:
                    return None
                self._added.wait()
            self._begun_ns = time.monotonic_ns()
            return self._waiting[0][1]

    def done(self) -> None:
        """Remove the oldest item: it is signed and published, or cannot be."""
        with self._lock:
            self._waiting.popleft()
            took_ns = time.monotonic_ns() - self._begun_ns
            self._cost_ns = (self._cost_ns + took_ns) / 2 if self._cost_ns else took_ns
            self._signed.notify_all()

    def join(self) -> None:
        """Wait until nothing waits."""
        with self._lock:
            while self._waiting:
                self._signed.wait()

    def close(self) -> None:
        """Let `first` return None once everything is done."""
        with self._lock:
            self._closed = True
            self._added.notify()

    def _late(self, now_ns: int) -> bool:
        # The age alone would let any number in at once, as inputs that waited while the stage did.
        awaited_ns = (len(self._waiting) - 1) * self._cost_ns
        return now_ns - self._waiting[0][0] >= self._lag_ns or awaited_ns >= self._lag_ns
