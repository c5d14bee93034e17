"""Merges what was recorded in several places into the order of arrival; in memory is what overlaps in time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.audit.records import Record
from og_ros.errors import BagError

MAX_LOADED: Final = 512 * 2**20
"""Bytes that may be in memory at once because they overlap in time."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a recording: its first and last time of arrival in ns, its size in memory, and how to read it.

    `read` yields records in order of arrival, none outside `first_ns` and `last_ns`.
    """

    first_ns: int
    last_ns: int
    size: int
    read: Callable[[], Iterator[Record]]


def in_time_order(spans: Sequence[Span]) -> Iterator[Record]:
    """Yield the records of all spans in order of arrival; equal times in the order of the spans, then as in the span.

    So the order of two records never depends on which part of a recording is read. Raises BagError when spans of more
    than `MAX_LOADED` bytes overlap.
    """
    waiting = sorted(range(len(spans)), key=lambda index: (spans[index].first_ns, index))
    # Open spans by their next record: (time, index of the span, record, the rest of the span).
    heap: list[tuple[int, int, Record, Iterator[Record]]] = []
    loaded = 0
    for place, index in enumerate(waiting):
        span = spans[index]
        while heap and (heap[0][0], heap[0][1]) < (span.first_ns, index):
            record = heap[0][2]
            loaded -= _advance(heap, spans)
            yield record
        following = waiting[place + 1] if place + 1 < len(waiting) else None
        if not heap and (following is None or (span.last_ns, index) < (spans[following].first_ns, following)):
            yield from span.read()
            continue
        loaded += span.size
        if loaded > MAX_LOADED:
            raise BagError(f"more than {MAX_LOADED} bytes of it lie side by side in time; sort it by time to audit it")
        rest = span.read()
        first = next(rest, None)
        if first is None:
            loaded -= span.size
        else:
            heapq.heappush(heap, (first.received_ns, index, first, rest))
    while heap:
        record = heap[0][2]
        _advance(heap, spans)
        yield record


def _advance(heap: list[tuple[int, int, Record, Iterator[Record]]], spans: Sequence[Span]) -> int:
    """Put the next record of the first span in its place; returns the bytes that are free when there is none."""
    _, index, _, rest = heap[0]
    record = next(rest, None)
    if record is None:
        heapq.heappop(heap)
        return spans[index].size
    heapq.heapreplace(heap, (record.received_ns, index, record, rest))
    return 0
