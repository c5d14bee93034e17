"""Takes checkpoints in: refuses forks and rewinds, and answers once a checkpoint is on the disk, many in one commit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from og_ros.aggregator.admission import Refusal
from og_ros.aggregator.store import Accepted, Arrival, Fork, Store
from og_ros.errors import OgError

MAX_BATCH: Final = 2_000
_AGAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    origin: str
    arrival: Arrival
    done: Future[Accepted]


class Intake:
    """A thread that appends what arrives to a store; while one commit is on its way, the next batch gathers.

    `limit`: how many may wait. `tell(line)` hears of contradictions, and of a storage that fails.
    """

    def __init__(self, store: Store, limit: int, tell: Callable[[str], None]) -> None:
        self._store, self._tell = store, tell
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(limit)
        self._newest: dict[bytes, Accepted | None] = {}
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="intake")
        self._thread.start()

    def submit(self, origin: str, arrival: Arrival) -> Future[Accepted]:
        """Hand a checkpoint in; the future has it once it is on the disk, or why not. Raises Refusal: too many wait."""
        waiting = _Waiting(origin, arrival, Future())
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise Refusal(503, "too many checkpoints wait to be stored", _AGAIN_S) from None
        return waiting.done

    def is_new(self, arrival: Arrival) -> bool:
        """Say whether a checkpoint is larger than all of its log that are known here: only its key makes such."""
        newest = self._newest.get(arrival.log)
        return newest is None or arrival.size > newest.size

    def close(self) -> None:
        """Store what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while len(batch) < MAX_BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            ended = None in batch
            # Of who does not wait any more nothing is stored: it will ask again.
            given = [one for one in batch if one is not None and one.done.set_running_or_notify_cancel()]
            left = given
            try:
                while left:
                    left = self._take(left)
                if self._problem:
                    self._tell("the storage answers again")
                self._problem = ""
            except Exception as error:  # whatever it is, who waits must hear of it, and the thread go on
                self._newest.clear()  # it is not known what the storage has: ask it
                text = str(error) if isinstance(error, OgError) else f"{type(error).__name__}: {error}"
                if text != self._problem:
                    self._tell(text)
                self._problem = text
                for one in given:
                    if not one.done.done():
                        one.done.set_exception(Refusal(503, "the storage does not answer", _AGAIN_S))

    def _take(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Append those of a batch that may be, then answer; return those that have to be held against these first."""
        appended: list[_Waiting] = []
        forks: list[Fork] = []
        known: list[tuple[_Waiting, Accepted]] = []
        refused: list[tuple[_Waiting, str]] = []
        later: list[_Waiting] = []
        arriving: dict[bytes, Arrival] = {}
        for one in batch:
            arrival = one.arrival
            if arrival.log in arriving:
                later.append(one)
                continue
            if arrival.log not in self._newest:
                self._newest[arrival.log] = self._store.newest_of(arrival.log)
            newest = self._newest[arrival.log]
            if newest is None or arrival.size > newest.size:
                arriving[arrival.log] = arrival
                appended.append(one)
                continue
            same = newest if arrival.size == newest.size else self._store.of_size(arrival.log, arrival.size)
            if same is None:
                refused.append((one, f"the log had {newest.size} leaves before: it was rewound"))
            elif same.root != arrival.root:
                forks.append(Fork(arrival.log, one.origin, same.note, arrival.note, time.time_ns()))
                refused.append((one, f"the log signed another checkpoint of {arrival.size} leaves: it was forked"))
            elif same.id != arrival.id:
                refused.append((one, f"the log's checkpoint of {arrival.size} leaves had other extensions"))
            else:
                known.append((one, same))
        if appended or forks:
            accepted = self._store.append([one.arrival for one in appended], forks)
            for one, made in zip(appended, accepted, strict=True):
                self._newest[made.log] = made
                one.done.set_result(made)
        for fork in forks:
            self._tell(f"log {fork.origin}: signed two checkpoints of one size with different roots")
        for one, same in known:
            one.done.set_result(same)
        for one, text in refused:
            one.done.set_exception(Refusal(409, text))
        return later
