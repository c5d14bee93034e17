"""Several model processes side by side: the next inferences are fetched while the ones before run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from og_ros.attest import Statement
from og_ros.audit.recording.payloads import Key
from og_ros.audit.reexecution.model_process import ModelProcess
from og_ros.audit.reexecution.reexecuted import Reexecution

T = TypeVar("T")


class ModelPool:
    """`jobs` processes that `make` makes; use it in a `with` block."""

    def __init__(self, make: Callable[[], ModelProcess], jobs: int = 1) -> None:
        self._processes = [make() for _ in range(jobs)]
        self._idle: SimpleQueue[ModelProcess] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="models")

    def __enter__(self) -> ModelPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()  # whatever still runs is of no use any more
        self._threads.shutdown()
        for process in self._processes:
            process.close()

    def run(self, requests: Iterable[tuple[T, Statement, Mapping[Key, bytes]]]) -> Iterator[tuple[T, Reexecution]]:
        """Yield each request's name with what running it again showed, in the order of the requests.

        Holds the messages of two requests a process. Raises ConfigError when no process can be started.
        """
        waiting: deque[tuple[T, Future[Reexecution]]] = deque()
        for name, statement, payloads in requests:
            waiting.append((name, self._threads.submit(self._run, statement, payloads)))
            if len(waiting) >= 2 * len(self._processes):
                yield _first(waiting)
        while waiting:
            yield _first(waiting)

    def _run(self, statement: Statement, payloads: Mapping[Key, bytes]) -> Reexecution:
        process = self._idle.get()
        try:
            return process.reexecute(statement, payloads)
        finally:
            self._idle.put(process)


def _first(waiting: deque[tuple[T, Future[Reexecution]]]) -> tuple[T, Reexecution]:
    name, future = waiting.popleft()
    return name, future.result()
