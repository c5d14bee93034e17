"""Worker processes that start fast, and that never import anything from the directory where the user stands."""

from __future__ import annotations

import os
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
