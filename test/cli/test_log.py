"""The verb og-ros log, run in this process: results, exit codes, and what it refuses."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from attest_examples import attestation_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.attest import Attestation, cose
from og_ros.cli import log
from og_ros.errors import OgError
from og_ros.log import Ledger, VerifierKey, parse_proof, verify_consistency, verify_proof
from og_ros.log.note import decode_base64

ORIGIN = "example.com/robot-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = VerifierKey.of(ORIGIN, KEY).format()
OTHER_VKEY = VerifierKey.of(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32))).format()
COVERED, SIZE = 9, 11

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def attestations() -> list[Attestation]:
    return [attestation_of(sequence=number + 1) for number in range(SIZE)]


@pytest.fixture
def ledger(tmp_path: Path, attestations: list[Attestation]) -> Path:
    """Checkpoints at 4 and 9 leaves, and two leaves after them."""
    directory = tmp_path / "ledger"
    with Ledger.create(directory, ORIGIN, KEY) as made:
        made.append([attestation.cose for attestation in attestations[:4]])
        made.checkpoint(1_790_000_000 * 10**9)
        made.append([attestation.cose for attestation in attestations[4:COVERED]])
        made.checkpoint()
        made.append([attestation.cose for attestation in attestations[COVERED:]])
    return directory


@pytest.fixture
def og(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `og-ros log ...` as main does: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        parser = argparse.ArgumentParser(prog="og-ros")
        log.add_parser(parser.add_subparsers(dest="verb"))
        try:
            code = log.run(parser.parse_args(["log", *map(str, arguments)]))
        except OgError as error:
            print(f"og-ros log: {error}", file=sys.stderr)
            code = 2
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def spoil(directory: Path, statement: str, *values: object) -> None:
    """Change the database as who has its file can: without the triggers, which are put back."""
    database = sqlite3.connect(directory / "log.db")
    triggers = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        database.execute(f"DROP TRIGGER {name}")
    database.execute(statement, values)
    for _, sql in triggers:
        database.execute(sql)
    database.commit()
    database.close()


@pytest.mark.parametrize("action", ["", "show", "verify", "prove", "check", "leaf", "consistency"])
def test_help_has_an_example(og: Run, action: str) -> None:
    code, out, _ = og(*action.split(), "--help")
    assert code == 0
    assert f"og-ros log {action or 'prove'} " in out.partition("example")[2]


def test_show(og: Run, ledger: Path) -> None:
    code, out, err = og("show", ledger)
    assert code == 0
    for expected in (ORIGIN, VKEY, f"{SIZE} leaves", "2, the newest of 9 leaves", "2 leaves came after"):
        assert expected in out
    assert "Nothing was verified" in err


def test_show_json(og: Run, ledger: Path) -> None:
    code, out, _ = og("show", ledger, "--json")
    shown = json.loads(out)
    with Ledger.open(ledger) as opened:
        assert (code, shown["origin"], shown["vkey"]) == (0, ORIGIN, VKEY)
        assert (shown["size"], shown["root"], shown["uncovered"]) == (SIZE, opened.root().hex(), SIZE - COVERED)
    first, second = shown["checkpoints"]
    assert (first["size"], first["signed_ns"]) == (4, 1_790_000_000 * 10**9)
    assert second["note"].startswith(f"{ORIGIN}\n{COVERED}\n")


def test_show_of_an_empty_ledger(og: Run, tmp_path: Path) -> None:
    Ledger.create(tmp_path / "new", ORIGIN, KEY).close()
    code, out, _ = og("show", tmp_path / "new")
    assert code == 0
    assert "0 leaves" in out
    assert og("verify", tmp_path / "new", "--key", VKEY)[0] == 0


def test_verify_with_the_trusted_key(og: Run, ledger: Path) -> None:
    code, out, err = og("verify", ledger, "--key", VKEY)
    assert (code, err) == (0, "")
    assert "holds: 11 leaves, 2 checkpoints" in out
    assert "no signature covers them yet" in out


def test_verify_without_a_key_says_whose_word_it_took(og: Run, ledger: Path) -> None:
    code, out, err = og("verify", ledger, "--json")
    assert code == 0
    assert json.loads(out)["key_trusted"] is False
    assert "ledger's own word" in err


def test_verify_names_a_log_of_another_key(og: Run, ledger: Path) -> None:
    code, out, _ = og("verify", ledger, "--key", OTHER_VKEY)
    assert code == 1
    assert "does not hold" in out
    assert "is signed by" in out


@pytest.mark.parametrize(
    ("statement", "values", "named"),
    [
        ("UPDATE leaves SET data = ? WHERE id = 3", (b"x",), "leaf 3"),
        ("UPDATE leaves SET hash = ? WHERE id = 3", (bytes(32),), "leaf 3"),
        ("DELETE FROM leaves WHERE id = 3", (), "leaf 3 is missing"),
        ("DELETE FROM leaves WHERE id >= 8", (), "leaves are lost"),
        ("UPDATE checkpoints SET root = ? WHERE id = 1", (bytes(32),), "checkpoint 1"),
        ("UPDATE checkpoints SET note = replace(note, '9', '8')", (), "checkpoint"),
    ],
)
def test_verify_names_a_defect(og: Run, ledger: Path, statement: str, values: tuple[object, ...], named: str) -> None:
    spoil(ledger, statement, *values)
    code, out, _ = og("verify", ledger, "--key", VKEY, "--json")
    result = json.loads(out)
    assert (code, result["holds"]) == (1, False)
    assert named in result["message"]


def test_verify_names_a_spoilt_tile(og: Run, ledger: Path) -> None:
    tile = ledger / "tile/0/000.p/9"
    data = bytearray(tile.read_bytes())
    data[40] ^= 1
    tile.write_bytes(data)
    code, out, _ = og("verify", ledger, "--key", VKEY)
    assert code == 1
    assert "tile/0/000.p/9" in out


@pytest.mark.parametrize("action", [["show"], ["verify"], ["leaf", "--out", "/dev/null"]])
@pytest.mark.parametrize("content", [None, b"", b"not a database", bytes(4096)])
def test_what_is_no_ledger_could_not_be_read(og: Run, tmp_path: Path, action: list[str], content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "log.db").write_bytes(content)
    name, *rest = action
    code, out, err = og(name, tmp_path, *(["0"] if rest else []), *rest)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "log.db" in err


@pytest.mark.parametrize("key", ["", "robot-7", VKEY[:-4], VKEY.replace("+", "-", 1), f"{ORIGIN}+00000000+AAAA"])
def test_a_malformed_key_could_not_be_checked(og: Run, ledger: Path, key: str) -> None:
    code, out, err = og("verify", ledger, "--key", key)
    assert (code, out, err.count("\n")) == (2, "", 1)


# ---- leaf, prove, check ----------------------------------------------------------------------------------------------


def test_leaf_prove_check_from_files_alone(
    og: Run, ledger: Path, tmp_path: Path, attestations: list[Attestation]
) -> None:
    leaf, proof = tmp_path / "decision.cose", tmp_path / "decision.tlog-proof"
    assert og("leaf", ledger, 6, "--out", leaf)[0] == 0
    assert cose.decode(leaf.read_bytes()) == attestations[6]
    assert og("prove", ledger, "--cose", leaf, "--out", proof)[0] == 0
    for file in sorted(ledger.rglob("*"), reverse=True):  # the proof needs no ledger
        file.rmdir() if file.is_dir() else file.unlink()
    code, out, _ = og("check", proof, "--leaf", leaf, "--key", VKEY)
    assert code == 0
    assert f"is leaf 6 of {ORIGIN}\nby its checkpoint of 9 leaves\n" in out
    assert verify_proof(leaf.read_bytes(), proof.read_bytes(), VKEY).size == COVERED


@pytest.mark.parametrize("index", range(COVERED))
def test_prove_by_index_prints_the_proof(og: Run, ledger: Path, attestations: list[Attestation], index: int) -> None:
    code, out, _ = og("prove", ledger, "--index", index)
    assert code == 0
    assert parse_proof(out).index == index
    verify_proof(attestations[index].cose, out, VKEY)


def test_check_json(og: Run, ledger: Path, tmp_path: Path, attestations: list[Attestation]) -> None:
    leaf, proof = tmp_path / "leaf", tmp_path / "proof"
    leaf.write_bytes(attestations[0].cose)
    og("prove", ledger, "--index", 0, "--out", proof)
    code, out, _ = og("check", proof, "--leaf", leaf, "--key", VKEY, "--json")
    with Ledger.open(ledger) as opened:
        root = opened.root(COVERED).hex()
    assert (code, json.loads(out)) == (
        0, {"holds": True, "origin": ORIGIN, "index": 0, "size": COVERED, "root": root},
    )  # fmt: skip


def test_prove_of_what_was_not_logged_says_so(og: Run, ledger: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.cose"
    stranger.write_bytes(attestation_of(robot="another").cose)
    code, out, err = og("prove", ledger, "--cose", stranger)
    assert (code, out) == (1, "")
    assert "is not a leaf" in err


@pytest.mark.parametrize("index", [COVERED, SIZE, 10**18])
def test_prove_of_what_no_checkpoint_covers_is_refused(og: Run, ledger: Path, index: int) -> None:
    code, out, err = og("prove", ledger, "--index", index)
    assert (code, out) == (2, "")
    assert "is not in the latest checkpoint, which covers 9" in err


def test_prove_from_a_damaged_ledger_gives_no_proof(og: Run, ledger: Path, tmp_path: Path) -> None:
    spoil(ledger, "UPDATE leaves SET data = ? WHERE id = 2", b"x")
    code, out, _ = og("prove", ledger, "--index", 2, "--out", tmp_path / "proof")
    assert (code, out) == (2, "")
    assert not (tmp_path / "proof").exists()


def test_check_refuses_forgeries(og: Run, ledger: Path, tmp_path: Path, attestations: list[Attestation]) -> None:
    leaf, proof = tmp_path / "leaf", tmp_path / "proof"
    leaf.write_bytes(attestations[5].cose)
    honest = og("prove", ledger, "--index", 5)[1]
    lines = honest.split("\n")

    def outcome(text: str, of: bytes, key: str = VKEY) -> int:
        proof.write_text(text)
        leaf.write_bytes(of)
        code, out, err = og("check", proof, "--leaf", leaf, "--key", key)
        assert code == 0 or (out + err).count("\n") == 1
        return code

    own = attestations[5].cose
    assert outcome(honest, own) == 0
    assert outcome(honest, attestations[4].cose) == 1
    assert outcome(honest, b"") == 1
    assert outcome(honest, own, OTHER_VKEY) == 1
    assert outcome(honest.replace("index 5", "index 4"), own) == 1
    assert outcome("\n".join([*lines[:2], lines[3], lines[2], *lines[4:]]), own) == 1
    assert outcome(honest.replace(f"\n{COVERED}\n", f"\n{COVERED + 1}\n"), own) == 1
    assert outcome(honest.replace("index 5", "index five"), own) == 2
    assert outcome(honest[:40], own) == 2
    assert outcome("", own) == 2
    assert outcome(honest, own, "nonsense") == 2


def test_files_that_cannot_be_read_or_written(og: Run, ledger: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(5_000_000)
    for arguments in (
        ("check", missing, "--leaf", missing, "--key", VKEY),
        ("check", tmp_path, "--leaf", tmp_path, "--key", VKEY),
        ("check", huge, "--leaf", huge, "--key", VKEY),
        ("prove", ledger, "--cose", missing),
        ("prove", ledger, "--index", 0, "--out", missing / "proof"),
        ("leaf", ledger, 0, "--out", tmp_path),
        ("leaf", ledger, SIZE, "--out", missing),
        ("consistency", ledger, 1, SIZE + 1),
        ("consistency", ledger, 3, 2),
    ):
        code, out, err = og(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
    assert not missing.exists()


@pytest.mark.parametrize(
    "arguments", [[], ["prove", "D"], ["prove", "D", "--index", "-1"], ["leaf", "D", "x"], ["check", "P"]]
)
def test_wrong_usage_exits_2(og: Run, arguments: list[str]) -> None:
    code, out, err = og(*arguments)
    assert (code, out) == (2, "")
    assert "usage:" in err


# ---- consistency -----------------------------------------------------------------------------------------------------


def test_consistency_of_all_sizes(og: Run, ledger: Path) -> None:
    for first in range(SIZE + 1):
        for second in (first, (first + SIZE) // 2, SIZE):
            code, out, _ = og("consistency", ledger, first, second, "--json")
            result = json.loads(out)
            assert code == 0
            verify_consistency(
                first,
                second,
                [decode_base64(value, "hash") for value in result["proof"]],
                bytes.fromhex(result["first"]["root"]),
                bytes.fromhex(result["second"]["root"]),
            )
            assert result["first"]["signed"] == (first in (4, COVERED))


def test_consistency_says_which_roots_are_signed(og: Run, ledger: Path) -> None:
    code, out, _ = og("consistency", ledger, 4, 7, "--key", VKEY)
    first, second, verdict = out.split("\n")[:3]
    assert code == 0
    assert first.endswith("signed")
    assert second.endswith("no checkpoint of this size")
    assert verdict.startswith("consistent: 7 leaves only append to 4")


def test_consistency_with_a_rewritten_history_does_not_hold(og: Run, ledger: Path) -> None:
    spoil(ledger, "UPDATE leaves SET hash = ? WHERE id = 1", bytes(32))
    for sizes in ((4, 7), (2, 9), (4, 9)):
        code, out, _ = og("consistency", ledger, *sizes, "--key", VKEY)
        assert code == 1
        assert "was rewritten" in out
    code, out, _ = og("consistency", ledger, 4, 9, "--key", OTHER_VKEY, "--json")
    assert (code, json.loads(out)["holds"]) == (1, False)
