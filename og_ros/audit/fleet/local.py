"""The engine without dask: each recording in a process of its own, some at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from og_ros.audit.fleet.task import Outcome, Task, audit_recording, failed

ATTEMPTS: Final = 2
"""How often a recording may end its process (a crash in a parser, no memory left) before it is given up."""


@dataclass
class _Running:
    task: Task
    attempt: int
    process: BaseProcess


def audit_all(tasks: Sequence[Task], workers: int) -> Generator[tuple[Task, Outcome], None, None]:
    """Audit recordings in at most `workers` processes at a time; yields each as it is done.

    A process that dies takes nothing with it but its own recording, which is tried again once. Closing the iterator
    ends the processes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([audit_recording.__module__])
    waiting = deque((task, 1) for task in tasks)
    running: dict[Connection, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                task, attempt = waiting.popleft()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(theirs, audit_recording, task), daemon=True)
                process.start()
                theirs.close()
                running[ours] = _Running(task, attempt, process)
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                one = running.pop(connection)
                outcome = _receive(connection)
                one.process.join()
                if outcome is not None:
                    yield one.task, outcome
                elif one.attempt < ATTEMPTS:
                    waiting.append((one.task, one.attempt + 1))
                else:
                    code = one.process.exitcode
                    yield one.task, failed(one.task, f"its audit ended the process {ATTEMPTS} times (exit code {code})")
    finally:
        for connection, one in running.items():
            one.process.kill()
            one.process.join()
            connection.close()


def _child(connection: Connection, audit: Callable[[Task], Outcome], task: Task) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    connection.send(audit(task))
    connection.close()


def _receive(connection: Connection) -> Outcome | None:
    with contextlib.closing(connection):
        try:
            outcome = connection.recv()
        except (EOFError, OSError):
            return None
    return outcome if isinstance(outcome, Outcome) else None
