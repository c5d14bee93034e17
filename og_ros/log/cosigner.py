"""Gets a ledger's checkpoints cosigned by several witnesses, beside the auditor, which it does not hold up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import LogError
from og_ros.log.cosigned import CosignedCheckpoints
from og_ros.log.note import NoteSignature
from og_ros.log.rows import StoredCheckpoint
from og_ros.log.store import Ledger
from og_ros.log.witness_client import Endpoint, WitnessAhead, WitnessRefused, WitnessUnreachable
from og_ros.log.witness_protocol import AddCheckpoint

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
_TRIES: Final = 3  # another cosigner of the same log may move the witness between two requests


@dataclass
class _Course:
    """How a witness fares: the size that it cosigned last as we know, failures in a row, when it is tried again."""

    endpoint: Endpoint
    size: int = 0
    failures: int = 0
    again_at: float = 0.0
    problem: str = ""
    refused: bool = False


class Cosigner:
    """Takes the newest checkpoint of a ledger to each of its witnesses; used by one thread.

    `tell(line)` hears what happens. What a witness gave is on the disk before the next step.
    """

    def __init__(
        self, ledger: Path, witnesses: Sequence[Endpoint], tell: Callable[[str], None], every_s: float = 0.0
    ) -> None:
        """`every_s`: a witness that cosigned is left alone so long. Raises LogError for what is kept and unreadable."""
        self._ledger, self._tell, self._every_s = ledger, tell, every_s
        self._kept = CosignedCheckpoints(ledger)
        sizes = self._kept.newest(witness.key for witness in witnesses)
        self._courses = [_Course(witness, sizes[witness.key]) for witness in witnesses]

    def step(self) -> None:
        """Ask every witness that lacks the newest checkpoint and is not backing off. Raises LogError for the disk."""
        now = time.monotonic()
        due = [course for course in self._courses if now >= course.again_at]
        with Ledger.open(self._ledger) as ledger:
            newest = ledger.latest_checkpoint()
            if newest is None or newest.size == 0:
                return
            due = [course for course in due if course.size != newest.size]
            if not due:
                return
            with ThreadPoolExecutor(len(due)) as pool:
                lines = list(pool.map(lambda course: self._ask(course, ledger, newest), due))
        given = [line for line in lines if line is not None]
        if given:
            self._kept.add(newest.size, newest.note, given)

    def missing(self) -> list[str]:
        """What the newest checkpoint lacks, a line for each witness that has not cosigned it."""
        with Ledger.open(self._ledger) as ledger:
            newest = ledger.latest_checkpoint()
        if newest is None or newest.size == 0:
            return [f"{self._ledger}: has no checkpoint of any leaf yet"]
        behind = (course for course in self._courses if course.size != newest.size)
        return [course.problem or f"witness {course.endpoint.name}: was not asked yet" for course in behind]

    @property
    def refused(self) -> bool:
        """Whether a witness refused the newest checkpoint that it was shown: it may have seen another log."""
        return any(course.refused for course in self._courses)

    def note(self) -> str | None:
        """The newest checkpoint as it is kept, with its cosignatures."""
        with Ledger.open(self._ledger) as ledger:
            newest = ledger.latest_checkpoint()
        return self._kept.at(newest.size) if newest is not None else None

    def _ask(self, course: _Course, ledger: Ledger, newest: StoredCheckpoint) -> NoteSignature | None:
        """Ask one witness, from the size that it has; None where it did not cosign, and then it backs off."""
        try:
            line = self._cosigned(course, ledger, newest)
        except WitnessUnreachable as error:
            self._fail(course, str(error), refused=False)
            return None
        except LogError as error:
            self._fail(course, str(error), refused=True)
            return None
        self._tell(f"witness {course.endpoint.name}: cosigned {newest.size} leaves")
        course.size, course.failures, course.problem, course.refused = newest.size, 0, "", False
        course.again_at = time.monotonic() + self._every_s
        return line

    def _cosigned(self, course: _Course, ledger: Ledger, newest: StoredCheckpoint) -> NoteSignature:
        old = min(course.size, newest.size)
        for _ in range(_TRIES):
            proof = ledger.consistency_proof(old, newest.size)
            try:
                return course.endpoint.cosign(AddCheckpoint(old, tuple(proof), newest.note))
            except WitnessAhead as error:
                name = course.endpoint.name
                if error.size == old:
                    what = f"has another root at {old} leaves: the log was forked"
                    raise WitnessRefused(f"witness {name}: {what}") from error
                if error.size > newest.size:
                    latest = ledger.latest_checkpoint()
                    if latest is not None and latest.size >= error.size:
                        break  # somebody else took it a newer one, which is our turn too at the next step
                    what = f"cosigned {error.size} leaves, and this checkpoint has {newest.size}"
                    raise WitnessRefused(f"witness {name}: {what}: the log was rewound, or a copy is ahead") from error
                old = error.size
        raise WitnessUnreachable(f"witness {course.endpoint.name}: is moved on by somebody else at every try")

    def _fail(self, course: _Course, problem: str, *, refused: bool) -> None:
        """Back off: twice as long each time, with jitter, so that a fleet does not come back all at once."""
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(course.failures, 16)) * random.uniform(0.5, 1.0)
        if problem != course.problem:
            self._tell(f"{problem}; trying on")
        course.failures += 1
        course.problem, course.again_at, course.refused = problem, time.monotonic() + pause, refused
