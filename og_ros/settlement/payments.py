"""What a robot paid: each payment is on the disk, and counted, before it leaves; one for a checkpoint, at most."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from og_ros.errors import SettlementError
from og_ros.log.schema import transaction

DAY_NS: Final = 24 * 3600 * 10**9
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS payments (number INTEGER PRIMARY KEY, backend TEXT NOT NULL, checkpoint BLOB NOT NULL,"
    " network TEXT NOT NULL, asset TEXT NOT NULL, pay_to TEXT NOT NULL, amount TEXT NOT NULL, made_ns INTEGER NOT NULL,"
    " signed_ns INTEGER NOT NULL, valid_before INTEGER NOT NULL, authorization TEXT NOT NULL,"
    " taken INTEGER NOT NULL DEFAULT 0, response TEXT NOT NULL DEFAULT '', UNIQUE (backend, checkpoint)) STRICT"
)
_COLUMNS: Final = (
    "backend, checkpoint, network, asset, pay_to, amount, made_ns, signed_ns, valid_before, authorization, taken,"
    " response"
)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment: for which checkpoint of which backend; network (CAIP-2), asset and recipient (addresses), amount in
    the asset's smallest unit; when it was signed first and last (Unix, ns); until when it can be executed (Unix, s);
    the signed authorization as it is sent; whether the endpoint took it, and its receipt (JSON, the endpoint's word;
    empty: none).
    """

    backend: str
    checkpoint: bytes
    network: str
    asset: str
    pay_to: str
    amount: int
    made_ns: int
    signed_ns: int
    valid_before: int
    authorization: str
    taken: bool = False
    response: str = ""


class Payments:
    """The payments in an outbox's database; the outbox is there, and its lock is held. Raises SettlementError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._database: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close it."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def find(self, backend: str, checkpoint: bytes) -> Payment | None:
        """Return the payment for a checkpoint; there is at most one, ever."""
        found = self._select("backend = ? AND checkpoint = ?", (backend, checkpoint))
        return found[0] if found else None

    def put(self, payment: Payment, per_day: int) -> None:
        """Take a payment, counted against what may be paid of its asset in 24 hours; raises SettlementError above it.

        It takes the place of one for the same checkpoint, and both count as one, the larger: they have one nonce, so at
        most one of them can be executed. Payments count from the moment they are signed, executed or not; one from the
        future counts too, so that a clock that was put back opens no purse.
        """
        with self._guarded("count a payment") as database, transaction(database, "IMMEDIATE"):
            earlier = _read(database, "backend = ? AND checkpoint = ?", (payment.backend, payment.checkpoint))
            amount = max([payment.amount, *(one.amount for one in earlier)])
            others = _read(
                database,
                "backend = ? AND network = ? AND asset = ? AND signed_ns > ? AND checkpoint != ?",
                (payment.backend, payment.network, payment.asset, payment.signed_ns - DAY_NS, payment.checkpoint),
            )
            spent = sum(one.amount for one in others)
            if spent + amount > per_day:
                raise SettlementError(f"{amount} more would be above the cap of {per_day} a day: {spent} went in 24 h")
            database.execute(
                f"INSERT INTO payments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')"
                " ON CONFLICT (backend, checkpoint) DO UPDATE SET pay_to = excluded.pay_to, amount ="
                " excluded.amount, signed_ns = excluded.signed_ns, valid_before = excluded.valid_before,"
                " authorization = excluded.authorization, taken = 0",
                (
                    payment.backend, payment.checkpoint, payment.network, payment.asset, payment.pay_to,
                    str(amount), payment.made_ns, payment.signed_ns, payment.valid_before, payment.authorization,
                ),
            )  # fmt: skip

    def done(self, backend: str, checkpoint: bytes, response: str) -> None:
        """Note that the endpoint took the checkpoint with its payment; a receipt that is there is kept."""
        with self._guarded("note a payment") as database:
            database.execute(
                "UPDATE payments SET taken = 1, response = CASE WHEN response = '' THEN ? ELSE response END"
                " WHERE backend = ? AND checkpoint = ?",
                (response, backend, checkpoint),
            )

    def _select(self, where: str, values: tuple[object, ...]) -> list[Payment]:
        with self._guarded("read payments") as database:
            return _read(database, where, values)

    @contextlib.contextmanager
    def _guarded(self, doing: str) -> Iterator[sqlite3.Connection]:
        try:
            if self._database is None:
                # Never made here: the outbox would take a file with other tables for no outbox.
                uri = f"{self._file.absolute().as_uri()}?mode=rw"
                self._database = sqlite3.connect(uri, uri=True, isolation_level=None)
                self._database.execute("PRAGMA synchronous = FULL")
                self._database.execute(_SCHEMA)
            yield self._database
        except (sqlite3.Error, OSError, ValueError) as error:
            raise SettlementError(f"{self._file}: cannot {doing}: {error}") from error


def read_payments(file: Path) -> list[Payment]:
    """Return all payments in an outbox's database, oldest first; none where nothing was ever paid. Only reads."""
    try:
        database = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(database):
            if not database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'payments'").fetchone():
                return []
            return _read(database, "1", ())
    except (sqlite3.Error, OSError, ValueError) as error:
        raise SettlementError(f"{file}: cannot read payments: {error}") from error


def _read(database: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[Payment]:
    rows = database.execute(f"SELECT {_COLUMNS} FROM payments WHERE {where} ORDER BY number", values)
    found = []
    for backend, name, network, asset, pay_to, amount, made, signed, until, header, taken, response in rows.fetchall():
        terms = (backend, name, network, asset, pay_to, int(amount))
        found.append(Payment(*terms, made, signed, until, header, bool(taken), response))
    return found
