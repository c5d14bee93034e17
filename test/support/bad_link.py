"""Two network namespaces with a bad link between them: frames are lost and late, as `tc netem` would have them.

The link is a TAP device on each side and a thread that carries frames across, because kernels without sch_netem are
common where tests run. Needs root and /dev/net/tun.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_TUNSETIFF, _TAP, _NO_INFO = 0x400454CA, 0x0002, 0x1000


def unavailable() -> str:
    """Why there can be no such link here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        subprocess.run(["ip", "netns", "list"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no TAP devices or network namespaces here: {error}"
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Link:
    """The two ends' namespaces, and how many frames went across and were lost."""

    def __init__(self, loss: float, delay_s: float, seed: int) -> None:
        tag = f"{os.getpid():x}"
        self.names = (f"og{tag}a", f"og{tag}b")
        self.carried = self.lost = 0
        self._loss, self._delay, self._random = loss, delay_s, random.Random(seed)
        self._stopped = False
        self._ends = []
        for number, name in enumerate(self.names):
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP | _NO_INFO))
            self._ends.append(end)
            _ip("netns", "add", name)
            _ip("link", "set", name, "netns", name)
            _ip("-n", name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", name)
            _ip("-n", name, "link", "set", name, "up")
            _ip("-n", name, "link", "set", "lo", "up")
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def run_in(self, end: int, arguments: list[str]) -> list[str]:
        """The command that runs another one at an end."""
        return ["ip", "netns", "exec", self.names[end], *arguments]

    def close(self) -> None:
        self._stopped = True
        self._thread.join()
        for end in self._ends:
            os.close(end)
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", name)

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []
        count = 0
        while not self._stopped:
            pause = min(0.05, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.05
            readable, _, _ = select.select(self._ends, [], [], pause)
            for end in readable:
                frame = os.read(end, 65_536)
                count += 1
                if self._random.random() < self._loss:
                    self.lost += 1
                else:
                    heapq.heappush(waiting, (time.monotonic() + self._delay, count, 1 - self._ends.index(end), frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, frame = heapq.heappop(waiting)
                with contextlib.suppress(OSError):  # the receiver's queue is full: one more loss
                    os.write(self._ends[to], frame)
                    self.carried += 1


@contextmanager
def bad_link(loss: float, delay_s: float, seed: int = 1) -> Iterator[Link]:
    """Make a link that is taken away in the end; `delay_s` is one way."""
    link = Link(loss, delay_s, seed)
    try:
        yield link
    finally:
        link.close()
