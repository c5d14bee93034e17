"""Tells which sealed messages are missing or came twice: under one content key they are numbered without gaps."""

from __future__ import annotations

from dataclasses import dataclass, field

from og_ros.attest.sealed_wire import Sealed


@dataclass
class _Count:
    """Counters seen: all below `whole`, and those in `ahead`."""

    whole: int = 0
    ahead: set[int] = field(default_factory=set)


class SealOrder:
    """Takes the sealed messages of a whole recording, in whatever order; needs no key.

    Without the key the numbers are the recorder's word, as the digests are; who has the key finds each altered one.
    What was cut off at the end leaves no gap.
    """

    def __init__(self) -> None:
        self._counts: dict[tuple[bytes, int], _Count] = {}

    def add(self, sealed: Sealed) -> bool:
        """Take note of a message; returns False when its number was there before."""
        count = self._counts.setdefault((sealed.seal, sealed.key_number), _Count())
        if sealed.counter < count.whole or sealed.counter in count.ahead:
            return False
        count.ahead.add(sealed.counter)
        while count.whole in count.ahead:
            count.ahead.remove(count.whole)
            count.whole += 1
        return True

    def merge(self, other: SealOrder) -> bool:
        """Take note of what another saw of the same recording; returns False when a number was in both."""
        new = True
        for key, theirs in other._counts.items():
            mine = self._counts.setdefault(key, _Count())
            for counter in (*range(theirs.whole), *theirs.ahead):
                if counter < mine.whole or counter in mine.ahead:
                    new = False
                else:
                    mine.ahead.add(counter)
            while mine.whole in mine.ahead:
                mine.ahead.remove(mine.whole)
                mine.whole += 1
        return new

    def gaps(self) -> list[tuple[int, int]]:
        """Return how many messages are missing under which key number, as (key number, messages), where any are.

        A key number of which nothing was seen, though a later one of its seal was, counts as one message missing.
        """
        found = [
            (number, max(count.ahead) + 1 - count.whole - len(count.ahead))
            for (_, number), count in self._counts.items()
            if count.ahead
        ]
        for seal in {seal for seal, _ in self._counts}:
            numbers = {number for name, number in self._counts if name == seal}
            if len(numbers) <= max(numbers):
                missing = min(set(range(len(numbers) + 1)) - numbers)
                found.append((missing, 1))
        return sorted(found)
