"""What waits for the gate: records that callbacks leave for its worker thread, bounded, in order."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from enum import IntEnum
from typing import Any, TypeAlias


class Kind(IntEnum):
    """What a record is."""

    COMMAND, ATTESTATION, MESSAGE, CONDITION, CLEAR, RESET, STOP, INPUT, EMERGENCY, EVIDENCE = range(10)


Record: TypeAlias = tuple[Kind, Any, Any]


class Inbox:
    """Records in the order in which they were left. A record that finds no room is dropped and counted."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._records: deque[Record] = deque()
        self._dropped = 0
        self._nudged = False
        self._changed = threading.Condition()

    def put(self, record: Record) -> None:
        """Leave a record, or count it as dropped."""
        with self._changed:
            if len(self._records) >= self._size:
                self._dropped += 1
            else:
                self._records.append(record)
                self._changed.notify_all()

    def drop(self) -> None:
        """Count a record as dropped that did not get so far."""
        with self._changed:
            self._dropped += 1

    def insist(self, kind: Kind, one: Any = None, timeout_s: float = 10.0) -> None:
        """Leave what must not be dropped; raises queue.Full."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while len(self._records) >= self._size:
                left = end - time.monotonic()
                if left <= 0:
                    raise queue.Full
                self._changed.wait(left)
            self._records.append((kind, one, None))
            self._changed.notify_all()

    def nudge(self) -> None:
        """Let `wait` return."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Wait until there is a record, somebody nudges, or the time is over."""
        with self._changed:
            if not self._records and not self._nudged:
                self._changed.wait(timeout_s)
            self._nudged = False

    def take(self) -> Record | None:
        """Return the oldest record; None when there is none."""
        if not self._records:
            return None
        with self._changed:
            record = self._records.popleft()
            self._changed.notify_all()
            return record

    def take_dropped(self) -> bool:
        """Return whether anything was dropped since the last call."""
        if not self._dropped:
            return False
        with self._changed:
            self._dropped = 0
        return True

    def __len__(self) -> int:
        return len(self._records)
