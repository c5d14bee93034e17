"""Logs whose checkpoints are signed hybrid, made from fixed Ed25519 keys and fresh ML-DSA-65 ones, and their damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.attest import ml_dsa
from og_ros.log.log_keys import LogSigner
from og_ros.log.note import SignedNote, parse_note

ORIGIN = "example.com/robot-7"


@cache
def pair(number: int, hybrid: bool = True) -> LogSigner:
    """Return the keys of a log by a number: the same ones at every call."""
    classical = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    return LogSigner(classical, ml_dsa.generate() if hybrid else None)


def edit_notes(directory: Path, change: Callable[[SignedNote], SignedNote]) -> None:
    """Change every stored checkpoint of a ledger and the published one, as who has the directory could."""
    with sqlite3.connect(directory / "log.db") as database:
        triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}")
        for number, note in database.execute("SELECT id, note FROM checkpoints").fetchall():
            database.execute("UPDATE checkpoints SET note = ? WHERE id = ?", (edited(note, change), number))
        for _, definition in triggers:
            database.execute(definition)
    database.close()
    published = directory / "checkpoint"
    published.write_text(edited(published.read_text(), change))


def edited(note: str, change: Callable[[SignedNote], SignedNote]) -> str:
    return change(parse_note(note)).format()


def stripped(note: SignedNote) -> SignedNote:
    """Take off every signature but the first, which is the classical one."""
    return SignedNote(note.text, note.signatures[:1])
