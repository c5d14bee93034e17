"""What a settlement backend is: it prepares a checkpoint, sends it as often as need be, and says how far it came."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from og_ros.log import StoredCheckpoint
from og_ros.log.log_keys import KeyHistory
from og_ros.settlement.receipt import Level


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to send a checkpoint: its bytes, what it is found by, and what the backend must know of it (JSON).

    It is stored before it is sent: after a crash the same bytes go out again, so nothing settles twice.
    """

    payload: bytes
    reference: bytes
    detail: str


@dataclass(frozen=True, slots=True)
class Item:
    """A checkpoint on its way: row in the outbox, size and root, how far it came, its attempts, oldest first."""

    number: int
    size: int
    root: bytes
    level: Level
    attempts: tuple[Attempt, ...]
    made_ns: int


@dataclass(frozen=True, slots=True)
class Seen:
    """How far a checkpoint came. `dead` says why it can never arrive any more; `receipt` is there once it is final."""

    level: Level
    dead: str = ""
    receipt: str = ""


class Log(Protocol):
    """What settles: a ledger, or the log of a fleet. Methods raise OgError."""

    @property
    def size(self) -> int: ...
    def keys(self) -> KeyHistory:
        """Return which keys sign its checkpoints."""

    def root(self, size: int | None = None) -> bytes:
        """Return the root over the first `size` leaves."""

    def latest_checkpoint(self) -> StoredCheckpoint | None:
        """Return the newest signed checkpoint, None before the first."""


OpenLog: TypeAlias = Callable[[], AbstractContextManager[Log]]
"""Opens the log as it is now, for reading."""


class Backend(Protocol):
    """Where checkpoints become final. Methods raise SettlementError; BackendUnreachable is worth another try."""

    @property
    def name(self) -> str: ...

    def covered(self) -> tuple[int, bytes | None]:
        """Leaves under the newest checkpoint that the backend has, and what it calls that one (None: none)."""

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        """Make what is to be sent; `before` is the newest item of the outbox that is alive."""

    def send(self, attempt: Attempt) -> None:
        """Send it; sending it twice does what sending it once does."""

    def look(self, item: Item) -> Seen:
        """Find out how far an item came."""

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        """Make another attempt for an item that is stuck, in the place of those before; None to wait on."""

    def close(self) -> None:
        """Let go of connections."""
