"""When records arrived: wall time as it was at the start, carried on by the monotonic clock, so that it never jumps.

Waiting for a counterpart must not end early, nor never, because somebody set the clock. How far the wall clock has
moved away from it is told beside it, for holding signing times against.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class ArrivalClock:
    """Times in ns since 1970 that only go forward."""

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        self._anchor = wall() - monotonic()

    def now_ns(self) -> int:
        """Now."""
        return self._anchor + self._monotonic()

    def offset_ns(self) -> int:
        """How far the wall clock was set since the start."""
        return self._wall() - self.now_ns()
