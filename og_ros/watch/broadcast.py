"""Hands events to any number of slow listeners without ever waiting for one: Server-Sent Events in bounded queues."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

MAX_LISTENERS: Final = 16
QUEUE_EVENTS: Final = 256
# A comment now and then lets the browser, and what stands between, see that the connection lives.
KEEP_ALIVE_S: Final = 2.0
_KEEP_ALIVE: Final = b": alive\n\n"


def encode_event(name: str, data: Any) -> bytes:
    """Return one Server-Sent Event (WHATWG HTML, 9.2) with JSON data; NaN becomes null."""
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False, separators=(',', ':'))}\n\n".encode()


class Listener:
    """One browser's queue; where the browser is too slow it is emptied, and a snapshot takes its place."""

    def __init__(self, snapshot: Callable[[], list[bytes]]) -> None:
        self._queue: queue.Queue[bytes] = queue.Queue(QUEUE_EVENTS)
        self._snapshot = snapshot
        self._lagging = threading.Event()
        self._lagging.set()  # the first thing that a listener hears is a snapshot

    def offer(self, event: bytes) -> None:
        """Queue an event; never waits."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self._lagging.set()

    def next(self, timeout_s: float = KEEP_ALIVE_S) -> bytes:
        """Return what to send next, after at most `timeout_s`."""
        if self._lagging.is_set():
            with self._queue.mutex:
                self._queue.queue.clear()
            self._lagging.clear()
            return b"".join(self._snapshot())
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return _KEEP_ALIVE


class Broadcast:
    """Every listener gets every event from its snapshot on."""

    def __init__(self, snapshot: Callable[[], list[bytes]]) -> None:
        """`snapshot` returns the events that tell the present state; it is called by the listeners' threads."""
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()

    def send(self, name: str, data: Any) -> None:
        """Offer an event to all."""
        with self._lock:
            listeners = tuple(self._listeners)
        if listeners:
            event = encode_event(name, data)
            for listener in listeners:
                listener.offer(event)

    @contextmanager
    def listening(self) -> Iterator[Listener | None]:
        """Give a listener, or None when there are too many."""
        listener = Listener(self._snapshot)
        with self._lock:
            full = len(self._listeners) >= MAX_LISTENERS
            if not full:
                self._listeners.add(listener)
        try:
            yield None if full else listener
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)
