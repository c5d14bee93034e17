"""Tampering with a ledger: the triggers abort it, and where they are got round, the self-check names it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError
from og_ros.log import Checkpoint, Ledger, TileReader, leaf_hash, sign_checkpoint, verify_tiles
from og_ros.log.schema import SCHEMA

ORIGIN = "example.com/robot-7"


@pytest.fixture
def closed(ledger: Ledger) -> Path:
    """A ledger of 600 leaves with checkpoints at 300 and 520, closed."""
    ledger.append([b"leaf %d" % n for n in range(300)])
    ledger.checkpoint()
    ledger.append([b"leaf %d" % n for n in range(300, 520)])
    ledger.checkpoint()
    ledger.append([b"leaf %d" % n for n in range(520, 600)])
    ledger.close()
    return ledger.directory


def vkey_of(directory: Path) -> str:
    with Ledger.open(directory) as ledger:
        return ledger.vkey


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE leaves SET data = x'00' WHERE id = 3",
        "UPDATE OR REPLACE leaves SET id = 4 WHERE id = 3",
        "DELETE FROM leaves WHERE id = 599",
        "DELETE FROM leaves",
        "INSERT OR REPLACE INTO leaves SELECT 3, hash, received_ns, x'00' FROM leaves WHERE id = 3",
        "REPLACE INTO leaves SELECT 599, hash, received_ns, data FROM leaves WHERE id = 3",
        "INSERT INTO leaves SELECT 601, hash, received_ns, data FROM leaves WHERE id = 3",
        "INSERT INTO leaves (hash, received_ns, data) SELECT hash, received_ns, data FROM leaves WHERE id = 3",
        "INSERT INTO leaves SELECT 600, x'00', received_ns, data FROM leaves WHERE id = 3",
        "INSERT INTO leaves SELECT 600, hash, received_ns, zeroblob(65536) FROM leaves WHERE id = 3",
        "INSERT INTO leaves SELECT 600, hash, received_ns, 'text' FROM leaves WHERE id = 3",
        "INSERT INTO leaves VALUES (3, zeroblob(32), 0, x'00') ON CONFLICT (id) DO UPDATE SET data = x'00'",
        "UPDATE checkpoints SET size = 1",
        "DELETE FROM checkpoints WHERE id = 1",
        "REPLACE INTO checkpoints SELECT 1, size, root, signed_ns, note FROM checkpoints WHERE id = 0",
        "UPDATE nodes SET hash = zeroblob(32)",
        "DELETE FROM nodes",
        "REPLACE INTO nodes VALUES (1, 0, zeroblob(32))",
        "UPDATE log SET origin = 'example.com/other'",
        "DELETE FROM log",
        "REPLACE INTO log VALUES (0, 'a', 'b', 0)",
    ],
)
def test_the_database_refuses_to_be_altered(closed: Path, statement: str) -> None:
    database = sqlite3.connect(closed / "log.db")
    with pytest.raises(sqlite3.IntegrityError):
        database.execute(statement)
    database.close()
    with Ledger.open(closed) as ledger:
        assert ledger.verify().size == 600


def alter(directory: Path, *statements: str) -> None:
    """Change the database as somebody who takes its triggers off and puts them back."""
    database = sqlite3.connect(directory / "log.db", isolation_level=None)
    triggers = [name for name, sql in SCHEMA.items() if sql.startswith("CREATE TRIGGER")]
    for name in triggers:
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    for name in triggers:
        database.execute(SCHEMA[name])
    database.close()


LEAF_HASH = f"x'{leaf_hash(b'forged').hex()}'"


@pytest.mark.parametrize(
    ("statements", "reason"),
    [
        (["UPDATE leaves SET data = CAST('forged' AS BLOB) WHERE id = 7"], "leaf 7: its bytes do not match"),
        ([f"UPDATE leaves SET hash = {LEAF_HASH} WHERE id = 7"], "leaf 7: its bytes do not match"),
        (
            [f"UPDATE leaves SET data = CAST('forged' AS BLOB), hash = {LEAF_HASH} WHERE id = 7"],
            "node 0 of level 1 does not match",
        ),
        (
            [f"UPDATE leaves SET data = CAST('forged' AS BLOB), hash = {LEAF_HASH} WHERE id = 515"],
            "do not give the root of the checkpoint of 520",
        ),
        (["DELETE FROM leaves WHERE id = 9"], "leaf 9 is missing"),
        (["DELETE FROM leaves WHERE id > 500"], "checkpoint of 520 was signed"),
        (["UPDATE nodes SET hash = zeroblob(32) WHERE id = 1"], "node 1 of level 1 does not match"),
        (["DELETE FROM nodes WHERE id = 1"], "node 1 of level 1 does not match"),
        (["INSERT INTO nodes VALUES (1, 2, zeroblob(32))"], "3 nodes, its leaves make 2"),
        (["UPDATE checkpoints SET size = 299 WHERE id = 0"], "another size or root"),
        (["UPDATE checkpoints SET root = zeroblob(32) WHERE id = 0"], "another size or root"),
        (["UPDATE checkpoints SET note = replace(note, '520', '521') WHERE id = 1"], "is wrong"),
        (["UPDATE checkpoints SET note = 'noise' WHERE id = 1"], "checkpoint 1"),
        (
            ["UPDATE checkpoints SET id = -id", "UPDATE checkpoints SET id = 2 WHERE id = 0"],
            "smaller than the one before",
        ),
        (["DELETE FROM checkpoints WHERE id = 1"], "never signed"),
        (["DELETE FROM log"], "does not say which log"),
        (["UPDATE log SET vkey = 'noise'"], "verifier key"),
        (["UPDATE log SET origin = 'example.com/other'"], "speaks for"),
        (["CREATE TABLE more (a)"], "schema was altered"),
        (["DROP INDEX leaves_by_hash"], "schema was altered"),
        (["PRAGMA user_version = 9"], "version 9"),
    ],
)
def test_verify_names_what_was_altered(closed: Path, statements: list[str], reason: str) -> None:
    alter(closed, *statements)
    with pytest.raises(LogError, match=reason), Ledger.open(closed) as ledger:
        ledger.verify()


@pytest.mark.parametrize("name", [name for name, sql in SCHEMA.items() if sql.startswith("CREATE TRIGGER")])
def test_a_missing_trigger_is_noticed_at_opening(closed: Path, key: Ed25519PrivateKey, name: str) -> None:
    database = sqlite3.connect(closed / "log.db")
    database.execute(f"DROP TRIGGER {name}")
    database.close()
    for signing_key in (None, key):
        with pytest.raises(LogError, match=f"schema was altered: {name}"):
            Ledger.open(closed, signing_key)


def test_a_whole_rewrite_fails_under_the_trusted_key(closed: Path, tmp_path: Path) -> None:
    trusted = vkey_of(closed)
    with Ledger.create(tmp_path / "forged", ORIGIN, Ed25519PrivateKey.generate()) as forged:
        forged.append([b"another history"])
        forged.checkpoint()
        forged.verify()
        with pytest.raises(LogError, match="not by the expected"):
            forged.verify(trusted)
        with pytest.raises(LogError, match="is not signed by"):
            verify_tiles(forged.directory, trusted)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


TILE_FILES = [
    "tile/0/000",
    "tile/0/001",
    "tile/0/002.p/8",
    "tile/1/000.p/2",
    "tile/entries/000",
    "tile/entries/001",
    "tile/entries/002.p/8",
]


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-1])])
@pytest.mark.parametrize("name", [*TILE_FILES, "checkpoint"])
def test_altered_files_are_named(closed: Path, name: str, damage: Callable[[Path], None]) -> None:
    vkey = vkey_of(closed)
    assert verify_tiles(closed, vkey).size == 520
    damage(closed / name)
    with Ledger.open(closed) as ledger, pytest.raises(LogError, match=name.partition(".")[0]):
        ledger.verify()
    with pytest.raises(LogError):
        verify_tiles(closed, vkey)


@pytest.mark.parametrize("tile", ["tile/0/000.p/9", "tile/entries/000.p/9", "tile/0/000.p/80", "tile/0/000.p/200"])
def test_partial_tiles_of_older_checkpoints_are_checked_as_long_as_they_are_there(ledger: Ledger, tile: str) -> None:
    for size in (9, 80, 200):
        ledger.append([b"leaf %d" % n for n in range(ledger.size, size)])
        ledger.checkpoint()
    ledger.close()
    file = ledger.directory / tile
    data = file.read_bytes()
    with Ledger.open(ledger.directory) as opened:
        assert opened.verify().size == 200
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(LogError, match=f"{tile}: does not match the leaves"):
            opened.verify()
        file.unlink()
        if tile.endswith("200"):
            with pytest.raises(LogError):
                opened.verify()
        else:
            assert opened.verify().size == 200


def test_swapped_tiles_and_a_signed_lie_are_refused(closed: Path, key: Ed25519PrivateKey) -> None:
    vkey = vkey_of(closed)
    good = (closed / "checkpoint").read_text()
    (closed / "checkpoint").write_text(sign_checkpoint(Checkpoint(ORIGIN, 520, bytes(32)), key))
    with pytest.raises(LogError, match="partial tiles give the root"):
        verify_tiles(closed, vkey)
    with Ledger.open(closed) as ledger, pytest.raises(LogError, match="never signed"):
        ledger.verify()
    (closed / "checkpoint").write_text(good)
    for kind in ("0", "entries"):
        first, second = closed / f"tile/{kind}/000", closed / f"tile/{kind}/001"
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two)
        second.write_bytes(one)
    with pytest.raises(LogError, match="does not hash to its parent"):
        list(TileReader(closed, vkey).entries(300, 301))


def test_random_damage_to_the_database_never_escapes(closed: Path, tmp_path: Path) -> None:
    with Ledger.open(closed) as ledger:
        leaves = [leaf.data for leaf in ledger.leaves()]
    original = (closed / "log.db").read_bytes()
    shuffled = random.Random(5)
    for _ in range(60):
        damaged = bytearray(original)
        for _ in range(shuffled.choice((1, 1, 20))):
            damaged[shuffled.randrange(len(damaged))] = shuffled.randrange(256)
        if shuffled.random() < 0.1:
            del damaged[shuffled.randrange(len(damaged)) :]
        (closed / "log.db").write_bytes(damaged)
        try:
            with Ledger.open(closed) as ledger:
                ledger.verify()
                after = [leaf.data for leaf in ledger.leaves()]
        except LogError:
            continue
        assert after[:520] == leaves[:520]  # the damage hit nothing that a checkpoint covers
    shutil.rmtree(closed)
