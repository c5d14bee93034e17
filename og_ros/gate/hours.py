"""Shift hours: the minutes of the week, in UTC, during which a robot may move."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.errors import EnvelopeError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_MINUTE_NS: Final = 60 * 10**9
_TIME: Final = re.compile(r"([01]\d|2[0-4]):([0-5]\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hours:
    """A time of day on some days of the week, in minutes after midnight UTC: from `start`, until before `stop`."""

    days: tuple[str, ...]
    start: int
    stop: int

    def minutes(self) -> set[int]:
        """Return the minutes of the week, from 0 at Monday 00:00."""
        return {DAYS.index(day) * _DAY + minute for day in self.days for minute in range(self.start, self.stop)}


def parse_time_of_day(text: str) -> int:
    """Read "06:00" to "24:00" as minutes after midnight; raises EnvelopeError."""
    match = _TIME.fullmatch(text)
    minutes = int(match[1]) * 60 + int(match[2]) if match else _DAY + 1
    if minutes > _DAY:
        raise EnvelopeError(f"{text[:20]!a} is no time of day from 00:00 to 24:00")
    return minutes


def format_time_of_day(minutes: int) -> str:
    """Return minutes after midnight as "06:00"."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def minute_of_week(wall_ns: int) -> int:
    """Return the minute of the week of a time in ns since 1970 UTC, which was a Thursday."""
    return (wall_ns // _MINUTE_NS + 3 * _DAY) % (7 * _DAY)


def minutes_of(hours: Sequence[Hours]) -> frozenset[int]:
    """Return the minutes of the week that some hours allow together."""
    return frozenset().union(*(window.minutes() for window in hours))
