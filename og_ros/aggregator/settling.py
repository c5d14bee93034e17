"""Signs a checkpoint of the fleet's log once an interval is over, settles it, and keeps the receipts for the robots."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from og_ros.aggregator.store import Store
from og_ros.errors import OgError, SettlementError
from og_ros.settlement.backend import Backend
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.settler import Due, Settler

_AT_ONCE = Due(1, 0.0)


class Settling:
    """The way of a fleet's log to its backends, of which the first gives the robots' receipts. Used by one thread.

    `due`: a checkpoint is signed after so many robots' checkpoints, or so many seconds. Raises SettlementError where
    the storage does not have what the outbox has sent.
    """

    def __init__(
        self, store: Store, outbox: Outbox, backends: Sequence[Backend], due: Due, tell: Callable[[str], None]
    ) -> None:
        self._store, self._outbox, self._backends, self._due, self._tell = store, outbox, backends, due, tell
        self._settler = Settler(store.opened, outbox, backends, _AT_ONCE, tell)
        self._copied = outbox.number_of(backends[0].name, store.settled)
        self._problem = ""
        self._signed_s = float("-inf")
        latest = store.latest_checkpoint()
        for backend in backends:
            sent = outbox.newest(backend.name)
            if sent is not None and (latest is None or latest.size < sent.size or store.root(sent.size) != sent.root):
                raise SettlementError(
                    f"the storage does not have the {sent.size} checkpoints that were sent to {backend.name}: it was"
                    " rewound; restore it, or start another fleet's log with another origin, storage and state"
                )

    def step(self, ending: bool = False) -> None:
        """Do what is due; `ending`: whatever is there is due."""
        try:
            self._sign(ending)
            self._settler.step(ending)
            self._copy()
        except OgError as error:
            if str(error) != self._problem:
                self._tell(f"{error}; trying on")
            self._problem = str(error)
        else:
            self._problem = ""

    def unsettled(self) -> list[str]:
        """Return what is not final yet, a line for each backend that has such."""
        return self._settler.unsettled()

    def _sign(self, ending: bool) -> None:
        latest = self._store.latest_checkpoint()
        covered = latest.size if latest is not None else 0
        count, now_s = self._store.size - covered, time.monotonic()
        age_s = now_s - self._signed_s
        if count and (ending or count >= self._due.every_leaves or age_s >= self._due.every_seconds):
            self._store.sign()
            self._signed_s = now_s

    def _copy(self) -> None:
        """Take over the receipts of what is final, in order."""
        for row in self._outbox.rows(self._backends[0].name, self._copied):
            if not (row.dead or row.receipt):
                return
            if row.receipt:
                self._store.settle(row.item.size, row.receipt)
            self._copied = row.item.number
