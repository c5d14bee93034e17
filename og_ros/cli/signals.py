"""How a command that runs until it is stopped hears of that: SIGINT and SIGTERM end it in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def until_stopped() -> Iterator[Callable[[], bool]]:
    """Give a function that says whether a signal came; the handlers from before are put back."""
    came = [False]

    def stop(number: int, frame: Any) -> None:
        came[0] = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
