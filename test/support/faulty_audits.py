"""Audits that go wrong as a crashing parser or a dying machine would make them; workers import them by name."""

from __future__ import annotations

import os
import signal
import time

from og_ros.audit.fleet.task import Outcome, Task, audit_recording


def die_if_killer(task: Task) -> Outcome:
    """Audit a recording, but end the process as a crash does when the path says so."""
    if "killer" in str(task.recording):
        os.kill(os.getpid(), signal.SIGKILL)
    return audit_recording(task)


def wait_on_the_victim(task: Task) -> Outcome:
    """Audit a recording; the dask worker named "victim" never gets to it, and waits to be killed instead."""
    import distributed

    if distributed.get_worker().name == "victim":
        time.sleep(60)
    return audit_recording(task)
