"""Keeps pauses out of callbacks: memory that stays with the process, and no garbage collection while a message waits.

Freed memory. A stage holds an image until it is signed, so buffers are freed in another order than in a plain node, and
glibc gives the heap's end back to the system and gets it again, page by page, for the next image: up to 0.7 ms for
640x480. So a node keeps what it once used, up to KEPT_BYTES.

Garbage. Python's collector runs when enough objects were made, which is in a callback. What a node has once it is
configured lives as long as the node, so it is taken out of the collector's sight; and the collector runs in idle
moments instead.
"""

from __future__ import annotations

import ctypes
import gc
import time
from typing import Final

KEPT_BYTES: Final = 64 << 20
# glibc's malloc.h. The largest threshold for mmap that it takes on 64 bits is 32 MB.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MMAP_THRESHOLD: Final = 32 << 20
_TOP_PAD: Final = 8 << 20
# The youngest generation is swept in well under a millisecond; the whole heap is, behind `freeze`, what came since.
IDLE_SECONDS: Final = 0.5
FULL_SECONDS: Final = 60.0
# Between two sweeps no more objects than this can pile up: then Python's own collection runs, wherever it is.
LAST_RESORT: Final = 200_000


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for this process; returns False where the C library is another one."""
    try:
        libc = ctypes.CDLL(None)
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_M_MMAP_THRESHOLD, _MMAP_THRESHOLD), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_TOP_PAD, _TOP_PAD))
    return all(mallopt(name, value) == 1 for name, value in settings)


class IdleCollection:
    """Garbage collection when the executor had nothing to do; `close` gives back Python's own way."""

    def __init__(self) -> None:
        self._thresholds = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(LAST_RESORT, 10, 10)
        self._young = self._full = time.monotonic()

    def idle(self) -> None:
        """Collect if it is time to; call it when no message waits."""
        now = time.monotonic()
        if now - self._full >= FULL_SECONDS:
            gc.collect()
            self._young = self._full = time.monotonic()
        elif now - self._young >= IDLE_SECONDS:
            gc.collect(0)
            self._young = time.monotonic()

    def close(self) -> None:
        """Collect as Python does."""
        gc.set_threshold(*self._thresholds)
        gc.unfreeze()
