"""The engine on dask.distributed: an embedded cluster of processes, or a scheduler that runs already."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from og_ros import __version__
from og_ros.audit.fleet.task import Outcome, Task, audit_recording, failed
from og_ros.errors import ConfigError

POLL_S: Final = 5.0
CONNECT_S: Final = 15.0
NO_WORKERS_S: Final = 60.0
"""How long to wait for a worker when there is none, before giving up; the state can be taken up again."""


def audit_all(
    tasks: Sequence[Task], address: str, workers: int, no_workers_s: float = NO_WORKERS_S
) -> Generator[tuple[Task, Outcome], None, None]:
    """Audit recordings on dask workers; yields each as it is done.

    `address` is "host:port" or a URL of a scheduler, or empty for an embedded cluster of `workers` processes. Workers
    read recordings, registry and ledger by the same paths, and must have this very version of og_ros. A recording
    that killed its workers (dask: `allowed-failures`), or that dask cancelled, is tried once more, alone, when all
    others are done.
    Raises ConfigError when dask is not installed, or when there is no scheduler or no worker.
    """
    with _client(address, workers) as client:
        _check_versions(client)
        doubtful: list[Task] = []
        for task, outcome in _run(client, tasks, no_workers_s):
            if outcome is None:
                doubtful.append(task)
            else:
                yield task, outcome
        for task in doubtful:
            for _, outcome in _run(client, [task], no_workers_s):
                yield task, outcome or failed(
                    task, "its audit killed every worker it ran on, or dask cancelled it, also when it ran alone"
                )


def _check_versions(client: Any) -> None:
    try:
        others = {version for version in client.run(_version).values() if version != __version__}
    except Exception as error:  # whatever a worker raises that cannot even import this module
        raise ConfigError(f"the dask workers cannot use og_ros: {type(error).__name__}: {error}") from error
    if others:
        raise ConfigError(f"the dask workers have og_ros {', '.join(sorted(others))}, and this is {__version__}")


def _run(client: Any, tasks: Sequence[Task], no_workers_s: float) -> Iterator[tuple[Task, Outcome | None]]:
    """Run tasks, as many at a time as there are worker threads; one that killed its workers or was cancelled has None.

    No more are handed out, since dask suspects every task that waits on a worker when that worker dies.
    """
    waiting = deque(tasks)
    running: dict[Any, Task] = {}
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    seen = time.monotonic()
    try:
        while waiting or running:
            slots = sum(client.nthreads().values())
            if slots:
                seen = time.monotonic()
            elif time.monotonic() - seen > no_workers_s:
                raise ConfigError(f"the dask scheduler had no workers for {no_workers_s:g} s: start some, then again")
            while waiting and len(running) < max(slots, 1):
                task = waiting.popleft()
                future = client.submit(audit_recording, task, pure=False, retries=0)
                running[future] = task
                future.add_done_callback(done.put)
            try:
                future = done.get(timeout=POLL_S)
            except queue.Empty:
                continue
            task = running.pop(future)
            yield task, _outcome(client, task, future)
    finally:
        client.cancel(list(running))


def _outcome(client: Any, task: Task, future: Any) -> Outcome | None:
    import distributed

    if future.status == "finished":
        outcome = future.result()
        if isinstance(outcome, Outcome) and outcome.data["og_ros"] == __version__:
            return outcome
        return failed(task, "its dask worker has another version of og_ros")
    if future.status == "error":
        error = future.exception()
        if isinstance(error, distributed.KilledWorker):
            return None
        return failed(task, f"its dask worker failed: {type(error).__name__}: {error}"[:2000])
    if client.status == "running":  # dask cancelled it, and is there: it is tried again, alone
        return None
    raise ConfigError("the dask scheduler was lost: start it, then again")


@contextmanager
def _client(address: str, workers: int) -> Iterator[Any]:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise ConfigError("the engine dask needs the extra `fleet`: pip install 'og_ros[fleet]'") from error
    for name in ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what a death of a worker means is said by the outcome
    with ExitStack() as stack:
        # A recording that kills its worker twice is set aside and tried alone; dask's own default is four times.
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": 1}))
        try:
            if address:
                url = address if "://" in address else f"tcp://{address}"
                client = distributed.Client(url, timeout=CONNECT_S, set_as_default=False)
            else:
                cluster = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None,
                    silence_logs=logging.CRITICAL,
                )  # fmt: skip
                stack.callback(cluster.close)
                client = distributed.Client(cluster, set_as_default=False)
            stack.callback(client.close)
            client.wait_for_workers(1, timeout=NO_WORKERS_S)
        except (OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:  # two errors before Python 3.11
            raise ConfigError(f"no dask worker could be had ({address or 'embedded'}): {error}") from error
        yield client


def _version() -> str:
    return __version__
