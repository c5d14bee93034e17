"""The embedded backend: the ledger's own signed checkpoint is the receipt. To an audit it is no more than `logged`."""

from __future__ import annotations

from og_ros.errors import SettlementError
from og_ros.log import StoredCheckpoint
from og_ros.settlement.backend import Attempt, Item, OpenLog, Seen
from og_ros.settlement.receipt import Level


class LocalBackend:
    """Keeps each checkpoint's note in the outbox, as a copy that a rewound ledger can be held against."""

    def __init__(self, name: str, open_log: OpenLog) -> None:
        self.name = name
        self._open_log = open_log

    def covered(self) -> tuple[int, bytes | None]:
        """Nothing but the outbox knows."""
        return 0, None

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        """Take the note."""
        return Attempt(checkpoint.note.encode(), checkpoint.root, "{}")

    def send(self, attempt: Attempt) -> None:
        """The outbox has it."""

    def look(self, item: Item) -> Seen:
        """Check the note, and that the ledger still has these leaves; raises SettlementError where it has others."""
        with self._open_log() as log:
            note = item.attempts[-1].payload.decode()
            head = log.keys().open_checkpoint(note)
            if head.size > log.size or log.root(head.size) != head.root:
                raise SettlementError(f"the ledger does not have the {head.size} leaves whose checkpoint it signed")
        return Seen(Level.FINAL, receipt=note)

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        """There is nothing to renew."""
        return None

    def close(self) -> None:
        """There is nothing to close."""
