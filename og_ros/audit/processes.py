"""How an audit uses processes: workers that start fast and import nothing from where the user stands, and less GC."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext

_PRELOADED = ["og_ros.audit.stream"]


def worker_context() -> ForkServerContext:
    """Return the context to make worker processes with; the first call starts the server that forks them.

    Python puts the working directory first on a new interpreter's path, and an auditor may well stand in a directory
    that a stranger gave; so the server starts in the root directory. Absolute paths must be handed to workers.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir("/")
        forkserver.ensure_running()
    finally:
        os.fchdir(here)
        os.close(here)
    return context


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let the cycle collector run rarely: an audit makes many objects that live for a while, and no cycles of them."""
    thresholds = gc.get_threshold()
    gc.set_threshold(max(thresholds[0], 100_000), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
