"""ROS domains of tests: each is one process's alone on this machine, so that no test hears another's nodes."""

from __future__ import annotations

import fcntl
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Domain 0 is everybody's default; the ports of those above 101 meet the ports of outgoing connections.
DOMAINS = range(1, 102)
WAIT_S = 120.0


def _claim() -> tuple[int, int]:
    """Return a domain and the locked file descriptor that holds it; waits while there is none."""
    directory = Path(tempfile.gettempdir(), f"og_ros_domains_{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        # In random order: nodes of the last holder may take a moment to end.
        for domain in random.sample(DOMAINS, len(DOMAINS)):
            held = os.open(directory / str(domain), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(held)
            else:
                return domain, held
        time.sleep(0.5)
    raise RuntimeError(f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use")


def claim_domain() -> int:
    """Return a domain that is this process's until it ends."""
    return _claim()[0]


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Give a domain that is this process's until the end of the block."""
    domain, held = _claim()
    try:
        yield domain
    finally:
        os.close(held)
