"""A bad network between an honest robot and its recorder: what QoS may lose, and what it may delay."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence

from og_ros.audit.records import Record

MS = 1_000_000


def recorded_through(records: Sequence[Record], seed: int) -> list[Record]:
    """Return what a recorder behind a bad network would have of a run.

    Of each topic up to 3 % of the messages are lost, and each is late by up to 30 ms, in the order of its topic.
    The recorder hears each topic from some moment of the run's first half second on, and starts and stops at any time
    in its first and last second.
    """
    rng = random.Random(seed)
    topics = defaultdict(list)
    for record in records:
        topics[record.topic].append(record)
    # The robot's own time: the auditor's status is published long before anything drives.
    driving = [r.received_ns for r in records if r.topic == "/camera/image"]
    start = min(driving) + rng.randrange(1000) * MS
    stop = max(driving) - rng.randrange(1000) * MS
    arrived: list[Record] = []
    for heard in topics.values():
        since = start + rng.choice((0, 0, rng.randrange(500))) * MS
        lost = set(rng.sample(range(len(heard)), round(len(heard) * rng.uniform(0.0, 0.03))))
        at, delay = 0, rng.randrange(10 * MS)
        for number, record in enumerate(heard):
            at = max(at, record.received_ns + delay + rng.randrange(20 * MS))
            if number not in lost and since <= at <= stop:
                arrived.append(dataclasses.replace(record, received_ns=at))
    return sorted(arrived, key=lambda record: record.received_ns)
