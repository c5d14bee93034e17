"""What was seen lately, by topic and digest: bounded in time and number for each topic, so that none crowds another."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by (topic, digest). The newest of a topic is kept however old it is: a map is published once."""

    def __init__(self, time_ns: int, size: int, topics: int = 256) -> None:
        self._time_ns, self._size, self._topics = time_ns, size, topics
        self._kept: OrderedDict[str, OrderedDict[bytes, list[tuple[int, V]]]] = OrderedDict()

    def add(self, topic: str, digest: bytes, value: V, now_ns: int) -> None:
        """Remember a value beside others of the same digest, and forget what is too old or too much."""
        kept = self._kept.get(topic)
        if kept is None:
            while len(self._kept) >= self._topics:
                self._kept.popitem(last=False)
            kept = self._kept[topic] = OrderedDict()
        values = kept.setdefault(digest, [])
        values.append((now_ns, value))
        if len(values) > self._size:
            del values[0]
        kept.move_to_end(digest)
        while len(kept) > self._size or (len(kept) > 1 and self._stale(kept, now_ns)):
            kept.popitem(last=False)

    def get(self, topic: str, digest: bytes) -> list[tuple[int, V]]:
        """Return what is remembered under a digest, oldest first, each with its time of arrival."""
        kept = self._kept.get(topic)
        return kept.get(digest, []) if kept is not None else []

    def has(self, topic: str, digest: bytes) -> bool:
        """Return whether anything is remembered under a digest."""
        return bool(self.get(topic, digest))

    def newest(self, topic: str) -> tuple[int, V] | None:
        """Return the newest value of a topic."""
        kept = self._kept.get(topic)
        return next(reversed(kept.values()))[-1] if kept else None

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    def _stale(self, kept: OrderedDict[bytes, list[tuple[int, V]]], now_ns: int) -> bool:
        oldest = next(iter(kept.values()))
        while len(oldest) > 1 and now_ns - oldest[0][0] > self._time_ns:
            del oldest[0]
        return now_ns - oldest[-1][0] > self._time_ns
