"""Keeps verdicts by key: appraise once, renew before the end, and look up later what held at the time.

A file in SQLite, whose rows are EAR claims. An audit of an old recording must not judge evidence by today's
certificates and today's platforms: it takes the verdict that was valid when the key signed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final

from og_ros.errors import EvidenceError
from og_ros.evidence import ear
from og_ros.evidence.appraisal import Appraisal

RENEW_AT: Final = 0.75
"""Share of a verdict's life after which it is to be renewed."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS appraisals(
  key_id BLOB NOT NULL, policy TEXT NOT NULL, verified_at_ns INTEGER NOT NULL, valid_until_ns INTEGER NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (key_id, policy, verified_at_ns)
) WITHOUT ROWID;
"""


class AppraisalCache:
    """Verdicts in a file, each durable once `put` returns; to be used by one thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; raises EvidenceError."""
        self._path = path
        with self._errors():
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)

    def __enter__(self) -> AppraisalCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, appraisal: Appraisal) -> None:
        """Keep a verdict; one of the same key, policy and time is replaced. Raises EvidenceError."""
        body = json.dumps(ear.to_claims(appraisal), sort_keys=True)
        row = (_key_id(appraisal.key), appraisal.policy, appraisal.verified_at_ns, appraisal.valid_until_ns, body)
        with self._errors():
            self._database.execute("INSERT OR REPLACE INTO appraisals VALUES (?, ?, ?, ?, ?)", row)

    def at(self, key: bytes, policy: str, time_ns: int) -> Appraisal | None:
        """Return the newest verdict under a policy (its digest) that was valid at a time; raises EvidenceError.

        A verdict that came later says nothing of that time, and one that had ended then says nothing either.
        """
        with self._errors():
            row = self._database.execute(
                "SELECT body, verified_at_ns, valid_until_ns FROM appraisals WHERE key_id = ? AND policy = ?"
                " AND verified_at_ns <= ? AND valid_until_ns >= ? ORDER BY verified_at_ns DESC LIMIT 1",
                (_key_id(key), policy, time_ns, time_ns),
            ).fetchone()
        if row is None:
            return None
        appraisal = ear.from_claims(ear.load_json(row[0]))
        if (appraisal.key, appraisal.policy, appraisal.verified_at_ns, appraisal.valid_until_ns) != (
            key,
            policy,
            *row[1:],
        ):
            raise EvidenceError(f"{self._path} was altered: a verdict stands where another key's belongs")
        return appraisal

    def due(self, key: bytes, policy: str, now_ns: int) -> bool:
        """Whether to appraise now: there is no valid verdict, it is a refusal, or most of its life is over."""
        found = self.at(key, policy, now_ns)
        if found is None or found.level() == "none":
            return True
        life_ns = found.valid_until_ns - found.verified_at_ns
        return now_ns - found.verified_at_ns >= RENEW_AT * life_ns

    def forget(self, before_ns: int) -> int:
        """Drop verdicts that ended before a time; returns how many. Raises EvidenceError."""
        with self._errors():
            return self._database.execute("DELETE FROM appraisals WHERE valid_until_ns < ?", (before_ns,)).rowcount

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise EvidenceError(f"cannot use the verdicts in {self._path}: {error}") from error


def _key_id(key: bytes) -> bytes:
    return sha256(key).digest()
