"""The settler: watches a ledger, sends checkpoints by count, age and a session's end, and follows them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from og_ros.errors import OgError
from og_ros.log import StoredCheckpoint
from og_ros.settlement.backend import Backend, Item, OpenLog
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.receipt import Level

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Due:
    """When a checkpoint leaves: once so many leaves came since the one before, or so many seconds passed."""

    every_leaves: int = 10_000
    every_seconds: float = 60.0


@dataclass
class _Course:
    """How a backend fares: failures in a row, when it is tried again (monotonic s), what it said last."""

    backend: Backend
    failures: int = 0
    again_at: float = 0.0
    problem: str = ""


class Settler:
    """Moves the checkpoints of one log through one outbox to several backends, each on its own.

    While a checkpoint waits for its inclusion, newer ones wait; then the newest goes, since it covers all before it.
    `tell(line)` hears what happens. Used by one thread.
    """

    def __init__(
        self, open_log: OpenLog, outbox: Outbox, backends: Sequence[Backend], due: Due, tell: Callable[[str], None]
    ) -> None:
        self._open_log, self._outbox, self._due, self._tell = open_log, outbox, due, tell
        self._problem = ""
        self._courses = [_Course(backend) for backend in backends]

    def step(self, ending: bool = False) -> None:
        """Do once what is due now, for every backend that is not backing off; `ending`: whatever is there is due."""
        try:
            with self._open_log() as log:
                newest = log.latest_checkpoint()
        except OgError as error:
            if str(error) != self._problem:
                self._tell(f"{error}; waiting")
            self._problem = str(error)
            return
        self._problem = ""
        for course in self._courses:
            if time.monotonic() < course.again_at:
                continue
            try:
                self._advance(course.backend, newest, ending)
            except OgError as error:
                self._fail(course, str(error))
            else:
                if course.failures:
                    self._tell(f"{course.backend.name}: answers again")
                course.failures, course.problem = 0, ""

    def unsettled(self) -> list[str]:
        """Return what is not final yet, a line for each backend that has such."""
        lines = []
        try:
            with self._open_log() as log:
                newest = log.latest_checkpoint()
        except OgError as error:
            return [str(error)]
        for course in self._courses:
            name = course.backend.name
            last, waiting = self._outbox.newest(name), self._outbox.open_items(name)
            behind = newest is not None and newest.size > (last.size if last is not None else 0)
            if waiting or behind:
                why = f": {course.problem}" if course.problem else ""
                unsent = ", the newest not sent" if behind else ""
                lines.append(f"{name}: {len(waiting)} sent and not final{unsent}{why}")
        return lines

    def _advance(self, backend: Backend, newest: StoredCheckpoint | None, ending: bool) -> None:
        waiting = [item for item in self._outbox.open_items(backend.name) if self._follow(backend, item)]
        if newest is None or newest.size == 0 or any(item.level < Level.INCLUDED for item in waiting):
            return
        last = self._outbox.newest(backend.name)
        covered = last.size if last is not None else 0
        age_s = (time.time_ns() - last.made_ns) / 1e9 if last is not None else float("inf")
        count = newest.size - covered
        if count <= 0 or not (ending or count >= self._due.every_leaves or age_s >= self._due.every_seconds):
            return
        if last is None and backend.covered()[0] == newest.size:
            return  # an outbox that was lost: the backend has it
        attempt = backend.prepare(newest, last)
        item = self._outbox.add(backend.name, newest, attempt, time.time_ns())
        backend.send(attempt)
        self._tell(f"{backend.name}: sent a checkpoint of {newest.size} leaves, {attempt.reference.hex()[:16]}")
        self._follow(backend, item)

    def _follow(self, backend: Backend, item: Item) -> Item | None:
        """Find out about an item, note what changed, push it on; returns it as it is now, None once it is dead."""
        seen = backend.look(item)
        if seen.dead:
            self._outbox.update(item, Level.NONE, dead=seen.dead)
            self._tell(f"{backend.name}: the checkpoint of {item.size} leaves did not settle: {seen.dead}")
            return None
        if seen.level != item.level:
            if seen.level < item.level:
                self._tell(f"{backend.name}: a reorganisation took the checkpoint of {item.size} leaves out again")
            else:
                self._tell(f"{backend.name}: the checkpoint of {item.size} leaves is {seen.level.name.lower()}")
            self._outbox.update(item, seen.level, seen.receipt)
        elif seen.level is Level.SUBMITTED and (another := backend.renew(item, time.time_ns())) is not None:
            self._outbox.add_attempt(item, another)
            backend.send(another)
            self._tell(f"{backend.name}: pays more for the checkpoint of {item.size} leaves")
        if seen.level is Level.SUBMITTED:
            backend.send(item.attempts[-1])  # a node forgets what it was given; known bytes do nothing twice
        return Item(item.number, item.size, item.root, seen.level, item.attempts, item.made_ns)

    def _fail(self, course: _Course, problem: str) -> None:
        """Back off: twice as long each time, with jitter, so that a fleet does not come back all at once."""
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(course.failures, 16)) * random.uniform(0.5, 1.0)
        if problem != course.problem:
            self._tell(f"{course.backend.name}: {problem}; trying on")
        course.failures += 1
        course.problem, course.again_at = problem, time.monotonic() + pause
