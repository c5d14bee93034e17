"""Checkpoints signed with Ed25519 and ML-DSA-65, and changes of a log's keys on record in the log."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from hybrid_logs import ORIGIN, edit_notes, pair, stripped
from hypothesis import given, settings
from hypothesis import strategies as st

from og_ros.attest import keys, ml_dsa
from og_ros.errors import KeyChangeError, KeyFileError, LogError, SignatureMissing
from og_ros.log import Ledger, VerifierKey, open_checkpoint, schema
from og_ros.log.log_keys import KeyChange, LogSigner, parse_change, read_history, sign_change
from og_ros.log.note import NoteSignature, SignedNote, parse_note
from og_ros.log.post_quantum import CONTEXT, SIGNATURE_TYPE, PostQuantumKey

OLD, NEW, THIRD = pair(1, hybrid=False), pair(2), pair(3)
BOUND = {k.keys(ORIGIN).classical: k.keys(ORIGIN).post_quantum for k in (NEW, THIRD)}


def make(directory: Path, *signers: LogSigner, leaves: int = 3) -> Path:
    """Make a ledger that has each of the keys in turn, with some leaves and a checkpoint under each."""
    first, *others = signers
    with Ledger.create(directory, ORIGIN, first.classical, first.post_quantum) as ledger:
        for number, signer in enumerate([first, *others]):
            if number:
                ledger.change_keys(signer.classical, signer.post_quantum)
            ledger.append([f"leaf {number} {n}".encode() for n in range(leaves)])
            ledger.checkpoint()
    return directory


def rewrite(directory: Path, index: int, leaf: bytes) -> None:
    """Put other bytes at a leaf's place; that its hash is wrong then comes after what they say."""
    with sqlite3.connect(directory / "log.db") as database:
        database.execute("DROP TRIGGER leaves_no_update")
        database.execute("UPDATE leaves SET data = ? WHERE id = ?", (leaf, index))
        database.execute(schema.SCHEMA["leaves_no_update"])
    database.close()


def test_a_verifier_that_knows_one_key_accepts_the_note(tmp_path: Path) -> None:
    with Ledger.open(make(tmp_path / "log", NEW)) as ledger:
        newest = ledger.latest_checkpoint()
        assert newest is not None
        assert len(parse_note(newest.note).signatures) == 2
        assert open_checkpoint(newest.note, ledger.vkey).size == 3
        assert ledger.verify(post_quantum=BOUND).checkpoints == 1


def test_the_second_signature_is_ml_dsa_over_the_text() -> None:
    """As documented: type 0xff and an identifier, key id by signed-note's rule, FIPS 204 with a context string."""
    note = NEW.sign("text\n", ORIGIN)
    line, key = note.signatures[1], NEW.keys(ORIGIN).post_quantum
    assert key is not None
    assert NEW.post_quantum is not None
    assert (line.name, line.key_id, len(line.signature)) == (ORIGIN, key.key_id, 3309)
    NEW.post_quantum.public_key().verify(line.signature, b"text\n", b"og-ros/signed-note")
    assert SIGNATURE_TYPE == b"\xffog-ros/ml-dsa-65"
    assert PostQuantumKey.parse(key.format()) == key


@pytest.mark.parametrize("damage", ["name", "id", "type", "short", "base64"])
def test_malformed_vkeys_are_refused(damage: str) -> None:
    key = NEW.keys(ORIGIN).post_quantum
    assert key is not None
    name, identity, data = key.format().split("+", 2)
    vkey = {
        "name": f"other+{identity}+{data}",
        "id": f"{name}+00000000+{data}",
        "type": VerifierKey.of(ORIGIN, NEW.classical).format(),
        "short": f"{name}+{identity}+{data[:400]}",
        "base64": f"{name}+{identity}+{data}!",
    }[damage]
    with pytest.raises(LogError):
        PostQuantumKey.parse(vkey)


def test_a_stripped_signature_is_missed(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", NEW)
    edit_notes(directory, stripped)
    with Ledger.open(directory) as ledger:
        ledger.verify()  # who does not know of the second key cannot miss it
        with pytest.raises(SignatureMissing, match="not signed by the ML-DSA-65 key"):
            ledger.verify(post_quantum=BOUND)


def test_a_wrong_second_signature_is_refused(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", NEW)
    assert THIRD.post_quantum is not None
    other = THIRD.post_quantum

    def swap(note: SignedNote) -> SignedNote:
        first, second = note.signatures
        return SignedNote(note.text, (first, replace(second, signature=other.sign(note.text.encode(), CONTEXT))))

    edit_notes(directory, swap)
    with Ledger.open(directory) as ledger, pytest.raises(LogError, match=r"signature of the ML-DSA-65 key .* is wrong"):
        ledger.verify(post_quantum=BOUND)


def test_a_signature_under_another_context_does_not_count() -> None:
    assert NEW.post_quantum is not None
    key = NEW.keys(ORIGIN).post_quantum
    assert key is not None
    for signature in (NEW.post_quantum.sign(b"text\n"), NEW.post_quantum.sign(b"text\n", b"other"), b"", b"\0" * 3309):
        with pytest.raises(LogError):
            key.verify(SignedNote("text\n", (NoteSignature(ORIGIN, key.key_id, signature or b"\0"),)))


def test_keys_change_in_mid_log(tmp_path: Path) -> None:
    """From Ed25519 alone to a pair, and on to another pair: each checkpoint is held against the keys of its size."""
    with Ledger.open(make(tmp_path / "log", OLD, NEW, THIRD)) as ledger:
        history = ledger.keys()
        assert [epoch.first_size for epoch in history.epochs] == [0, 4, 8]
        assert [epoch.keys for epoch in history.epochs] == [k.keys(ORIGIN) for k in (OLD, NEW, THIRD)]
        report = ledger.verify(VerifierKey.of(ORIGIN, OLD.classical), BOUND)
        assert (report.size, report.uncovered) == (11, 0)
        assert ledger.key == THIRD.keys(ORIGIN).classical
        by_size = {stored.size: len(parse_note(stored.note).signatures) for stored in ledger.checkpoints()}
        assert by_size == {3: 1, 4: 2, 7: 2, 8: 2, 11: 2}
        with pytest.raises(LogError, match="not by the expected"):
            ledger.verify(VerifierKey.of(ORIGIN, pair(9, hybrid=False).classical))


def test_a_log_that_says_so_misses_a_stripped_signature_by_itself(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", OLD, NEW)
    edit_notes(directory, stripped)
    with Ledger.open(directory) as ledger, pytest.raises(SignatureMissing):
        ledger.verify()


def test_an_unannounced_key_is_named(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", OLD)
    edit_notes(directory, lambda note: NEW.sign(note.text, ORIGIN))
    with Ledger.open(directory) as ledger, pytest.raises(KeyChangeError, match="the log records no change to that key"):
        ledger.verify()


def change(index: int, after: LogSigner, origin: str = ORIGIN) -> KeyChange:
    return KeyChange(origin, index, 1_800_000_000 * 10**9, after.keys(origin))


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (sign_change(change(1, NEW), THIRD, NEW), "not signed by the key before"),
        (sign_change(change(1, NEW), OLD, THIRD), "not signed by the key new"),
        (sign_change(change(2, NEW), OLD, NEW), "speaks of leaf 2"),
        (sign_change(change(1, NEW, "other"), OLD, NEW), "of the log 'other'"),
        (sign_change(change(1, OLD), OLD, OLD), "that it had before"),
        (sign_change(change(1, NEW), OLD, LogSigner(NEW.classical)), "not signed by the key new"),
        (b"og-ros log keys\nnot a change\n\n\xe2\x80\x94 a AAAAAAA=\n", "is no change"),
    ],
    ids=["another-key-signs", "new-key-unproven", "other-leaf", "other-log", "same-key", "half-unproven", "malformed"],
)
def test_changes_that_do_not_hold_are_refused(leaf: bytes, reason: str) -> None:
    with pytest.raises(KeyChangeError, match=f"leaf 1 .*{reason}"):
        read_history(ORIGIN, OLD.keys(ORIGIN).classical, [(1, leaf)])


def test_both_keys_of_a_pair_must_sign_a_change() -> None:
    """Whoever breaks Ed25519 alone does not get the log."""
    half = sign_change(change(1, THIRD), LogSigner(NEW.classical), THIRD)
    with pytest.raises(KeyChangeError, match="not signed by the key before"):
        read_history(ORIGIN, NEW.keys(ORIGIN).classical, [(1, half)], BOUND)
    whole = sign_change(change(1, THIRD), NEW, THIRD)
    history = read_history(ORIGIN, NEW.keys(ORIGIN).classical, [(1, whole)], BOUND)
    assert history.at(1) == NEW.keys(ORIGIN)
    assert history.at(2) == THIRD.keys(ORIGIN)


def test_a_changed_leaf_is_found(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", OLD, NEW)
    rewrite(directory, 3, sign_change(change(3, THIRD), THIRD, THIRD))
    with Ledger.open(directory) as ledger, pytest.raises(KeyChangeError, match="leaf 3"):
        ledger.verify()


def test_a_writer_must_have_the_keys_of_now(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", OLD, NEW)
    cases = (
        (OLD, "made with another signing key"),
        (LogSigner(NEW.classical), "signed with an ML-DSA-65 key too"),
        (LogSigner(NEW.classical, THIRD.post_quantum), "signed with an ML-DSA-65 key too"),
    )
    for signer, reason in cases:
        with pytest.raises(LogError, match=reason):
            Ledger.open(directory, signer.classical, signer.post_quantum)
    Ledger.open(directory, NEW.classical, NEW.post_quantum).close()


def test_a_pair_is_neither_halved_nor_begun_in_silence(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="has a second signature of the log"):
        Ledger.open(make(tmp_path / "hybrid", NEW), NEW.classical)
    with pytest.raises(LogError, match="so that the change is on record"):
        Ledger.open(make(tmp_path / "classical", OLD), OLD.classical, NEW.post_quantum)


def test_a_crash_between_change_and_checkpoint_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make(tmp_path / "log", OLD)
    with Ledger.open(directory, OLD.classical) as ledger:
        monkeypatch.setattr(Ledger, "checkpoint", lambda self: "")
        ledger.change_keys(NEW.classical, NEW.post_quantum)
    monkeypatch.undo()
    with Ledger.open(directory, NEW.classical, NEW.post_quantum) as ledger:
        ledger.checkpoint()
        assert ledger.verify().uncovered == 0


def test_a_ledger_of_the_version_before_is_read_and_brought_up_to_date(tmp_path: Path) -> None:
    directory = make(tmp_path / "log", OLD)
    with sqlite3.connect(directory / "log.db") as database:
        database.execute("DROP INDEX key_changes")
        database.execute("PRAGMA user_version = 1")
    database.close()
    with Ledger.open(directory) as ledger:
        assert ledger.verify().size == 3
    with Ledger.open(directory, OLD.classical) as ledger:
        ledger.change_keys(NEW.classical, NEW.post_quantum)
        assert ledger.verify().size == 4
    with sqlite3.connect(directory / "log.db") as database:
        plan = database.execute(f"EXPLAIN QUERY PLAN SELECT id FROM leaves WHERE {schema.KEY_CHANGES}").fetchall()
        assert "key_changes" in plan[0][-1]
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
    database.close()


def test_key_files(tmp_path: Path) -> None:
    key = ml_dsa.generate()
    ml_dsa.save_private(key, tmp_path / "pq.pem")
    assert ml_dsa.load_private(tmp_path / "pq.pem").private_bytes_raw() == key.private_bytes_raw()
    keys.save_private(keys.generate(), tmp_path / "other.pem")
    with pytest.raises(KeyFileError, match="is no ML-DSA-65 key"):
        ml_dsa.load_private(tmp_path / "other.pem")
    with pytest.raises(KeyFileError, match="MLDSA65"):
        keys.load_private(tmp_path / "pq.pem")
    with pytest.raises(KeyFileError):
        ml_dsa.parse_public(keys.public_pem(keys.generate().public_key()))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 12_000), st.integers(0, 3), st.binary(max_size=3))
def test_mutated_changes_raise_nothing_but_log_errors(place: int, cut: int, patch: bytes) -> None:
    place %= len(LEAF)
    with contextlib.suppress(LogError):
        parse_change(LEAF[:place] + patch + LEAF[place + cut :])
    with contextlib.suppress(LogError):
        read_history(ORIGIN, OLD.keys(ORIGIN).classical, [(1, LEAF[:place] + patch + LEAF[place + cut :])])


LEAF = sign_change(change(1, NEW), OLD, NEW)
