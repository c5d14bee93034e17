"""A settler under test, with its outbox and what it said."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from anvil import wait_for

from og_ros.log import Ledger
from og_ros.settlement.backend import Backend
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.settler import Due, Settler

AT_ONCE = Due(1, 1e9)


class Run:
    """A settler with its outbox, and what it said."""

    def __init__(self, ledger: Ledger, folder: Path, backends: list[Backend], due: Due = AT_ONCE) -> None:
        self.outbox = Outbox(folder / "state")
        self.said: list[str] = []
        self.settler = Settler(partial(Ledger.open, ledger.directory), self.outbox, backends, due, self.said.append)

    def levels(self, backend: str = "evm") -> list[str]:
        return [f"{row.item.size} {row.item.level.name.lower()}" for row in self.outbox.rows(backend) if not row.dead]

    def until(self, *levels: str) -> None:
        def reached() -> bool:
            self.settler.step()
            return self.levels() == list(levels)

        wait_for(reached, f"{levels}, not {self.levels()}; said {self.said}", 30)
