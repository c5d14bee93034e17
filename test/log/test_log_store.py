"""The embedded ledger: appends, queries, checkpoints, locks, read-only opening, full disks, and repair."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.errors import LogError
from og_ros.log import (
    Ledger,
    MerkleTree,
    NoteSignature,
    VerifierKey,
    leaf_hash,
    open_checkpoint,
    parse_note,
    verify_consistency,
    verify_inclusion,
    verify_tiles,
)

ORIGIN = "example.com/robot-7"


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_append_find_read_and_prove(ledger: Ledger) -> None:
    leaves = [b"leaf %d" % n for n in range(700)]
    assert ledger.append(leaves[:1]) == [0]
    assert ledger.append(leaves[1:600], received_ns=17) == list(range(1, 600))
    assert ledger.append([]) == []
    assert ledger.append(leaves[600:]) == list(range(600, 700))
    tree = MerkleTree(leaves)
    assert (ledger.size, ledger.root()) == (700, tree.root())
    assert [leaf.data for leaf in ledger.leaves()] == leaves
    assert [leaf.index for leaf in ledger.leaves(250, 260)] == list(range(250, 260))
    assert (ledger.leaf(5).data, ledger.leaf(5).received_ns) == (leaves[5], 17)
    assert ledger.leaf(0).received_ns > 1_600_000_000_000_000_000
    assert ledger.find(leaf_hash(leaves[123])) == [123]
    assert ledger.find(bytes(32)) == []
    for size in (0, 1, 255, 256, 257, 512, 699):
        assert ledger.root(size) == tree.root(size)
    for index, size in ((0, 1), (0, 700), (255, 256), (256, 700), (699, 700), (300, 511)):
        path = ledger.inclusion_proof(index, size)
        assert path == tree.inclusion_proof(index, size)
        verify_inclusion(leaf_hash(leaves[index]), index, size, path, ledger.root(size))
    for first, second in ((1, 700), (256, 512), (255, 700), (512, 700), (0, 3), (700, 700)):
        proof = ledger.consistency_proof(first, second)
        assert proof == tree.consistency_proof(first, second)
        verify_consistency(first, second, proof, tree.root(first), tree.root(second))


def test_duplicates_are_kept_unless_unique(ledger: Ledger) -> None:
    assert ledger.append([b"a", b"b", b"a"]) == [0, 1, 2]
    assert ledger.append([b"c", b"a", b"c"], unique=True) == [3, 0, 3]
    assert ledger.find(leaf_hash(b"a")) == [0, 2]
    assert ledger.size == 4


def test_bounds_of_a_leaf(ledger: Ledger) -> None:
    assert ledger.append([b"", bytes(65535)]) == [0, 1]
    for bad in ([bytes(65536)], [b"ok", "text"], [None]):
        with pytest.raises(LogError):
            ledger.append(bad)  # type: ignore[arg-type]
    assert ledger.size == 2
    ledger.checkpoint()
    assert verify_tiles(ledger.directory, ledger.vkey).size == 2


def test_out_of_range_is_a_log_error(ledger: Ledger) -> None:
    ledger.append([b"a"])
    for call in (
        lambda: ledger.leaf(1),
        lambda: ledger.leaf(-1),
        lambda: ledger.leaf(2**70),
        lambda: ledger.root(2),
        lambda: ledger.inclusion_proof(1),
        lambda: ledger.consistency_proof(2),
        lambda: list(ledger.leaves(0, 2)),
    ):
        with pytest.raises(LogError):
            call()


def test_checkpoints_are_signed_stored_and_published(ledger: Ledger) -> None:
    assert ledger.latest_checkpoint() is None
    empty = ledger.checkpoint()
    assert open_checkpoint(empty, ledger.vkey).size == 0
    notes = [empty]
    for size in (1, 255, 256, 257, 600):
        ledger.append([b"%d" % n for n in range(ledger.size, size)])
        notes.append(ledger.checkpoint(signed_ns=size))
        assert ledger.checkpoint() == notes[-1]
        assert (ledger.directory / "checkpoint").read_text() == notes[-1]
        assert verify_tiles(ledger.directory, ledger.vkey).size == size
    assert [row.note for row in ledger.checkpoints()] == notes
    assert [row.signed_ns for row in ledger.checkpoints()][1:] == [1, 255, 256, 257, 600]
    latest = ledger.latest_checkpoint()
    assert latest is not None
    assert latest.note == notes[-1]
    ledger.append([b"uncovered"])
    report = ledger.verify()
    assert (report.size, report.checkpoints, report.uncovered) == (601, 6, 1)


def test_cosignatures_are_attached_and_published(ledger: Ledger) -> None:
    ledger.append([b"a"])
    note = ledger.checkpoint()
    cosigned = parse_note(note).with_signature(NoteSignature("witness.example", b"abcd", bytes(72))).format()
    ledger.attach(cosigned)
    assert (ledger.directory / "checkpoint").read_text() == cosigned == ledger.checkpoint()
    assert "witness.example" in ledger.export_proof(0)
    ledger.verify()
    ledger.append([b"b"])
    ledger.checkpoint()
    with pytest.raises(LogError, match="not the latest"):
        ledger.attach(cosigned)
    with pytest.raises(LogError):
        ledger.attach("noise")


def test_reopen_continues_the_tree(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    tree = MerkleTree()
    Ledger.create(tmp_path / "a" / "b", ORIGIN, key).close()
    for batch in (1, 254, 1, 1, 300):
        with Ledger.open(tmp_path / "a" / "b", key) as ledger:
            leaves = [b"%d" % n for n in range(tree.size, tree.size + batch)]
            ledger.append(leaves)
            for leaf in leaves:
                tree.append(leaf)
            ledger.checkpoint()
            assert ledger.root() == tree.root()
    with Ledger.open(tmp_path / "a" / "b") as reader:
        assert reader.verify().root == tree.root()


def test_wrong_key_missing_and_foreign_files(tmp_path: Path, key: Ed25519PrivateKey, ledger: Ledger) -> None:
    other = Ed25519PrivateKey.generate()
    with pytest.raises(LogError, match="not by the expected"):
        ledger.verify(VerifierKey.of(ORIGIN, other))
    ledger.close()
    with pytest.raises(LogError, match="another signing key"):
        Ledger.open(ledger.directory, other)
    with pytest.raises(LogError, match="here already"):
        Ledger.create(ledger.directory, ORIGIN, key)
    for signing_key in (None, key):
        with pytest.raises(LogError, match="no ledger here"):
            Ledger.open(tmp_path / "absent", signing_key)
    assert not (tmp_path / "absent").exists()
    with pytest.raises(LogError):
        Ledger.create(tmp_path / "x", "two words", key)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    sqlite3.connect(foreign / "log.db").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(LogError, match="not a ledger"):
        Ledger.open(foreign)
    (foreign / "log.db").write_bytes(b"no database" * 500)
    for signing_key in (None, key):
        with pytest.raises(LogError):
            Ledger.open(foreign, signing_key)


def test_creation_that_was_cut_off_is_taken_up(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    directory = tmp_path / "ledger"
    directory.mkdir()
    (directory / "log.db").touch()
    with pytest.raises(LogError, match="cut off"):
        Ledger.open(directory)
    with Ledger.create(directory, ORIGIN, key) as ledger:
        assert ledger.append([b"a"]) == [0]


def test_one_writer_many_readers(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    reader = Ledger.open(ledger.directory)
    assert reader.size == 0
    ledger.append([b"a"])
    ledger.checkpoint()
    assert reader.size == 1  # it notices the writer, though it opened the file as immutable
    assert reader.verify().size == 1
    with pytest.raises(LogError, match=f"process {os.getpid()}"):
        Ledger.open(ledger.directory, key)
    for call in (lambda: reader.append([b"x"]), reader.checkpoint, lambda: reader.attach(""), reader.repair_tiles):
        with pytest.raises(LogError, match="reading only"):
            call()
    reader.close()
    ledger.close()
    with pytest.raises(LogError):
        reader.find(bytes(32))
    with Ledger.open(ledger.directory, key) as again:
        assert again.append([b"b"]) == [1]


def test_a_reader_notices_a_writer_that_came_and_went(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    ledger.append([b"a"])
    ledger.close()
    with Ledger.open(ledger.directory) as reader:
        assert reader.size == 1
        for size in (2, 402):
            with Ledger.open(ledger.directory, key) as writer:
                writer.append([b"%d" % n for n in range(writer.size, size)])
                writer.checkpoint()
            assert reader.verify().size == reader.size == size


def test_auditing_beside_a_busy_writer(ledger: Ledger) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            ledger.append([os.urandom(1000) for _ in range(40)])
            ledger.checkpoint()

    writer = threading.Thread(target=write)
    with Ledger.open(ledger.directory) as reader:
        writer.start()
        try:
            sizes = [reader.verify().size for _ in range(15)]
        finally:
            stop.set()
            writer.join()
        assert sizes == sorted(sizes)
        assert reader.size == ledger.size > 0


def test_reading_makes_no_file(ledger: Ledger) -> None:
    ledger.append([b"a"] * 300)
    ledger.checkpoint()
    ledger.close()
    before = files_below(ledger.directory)
    with Ledger.open(ledger.directory) as reader:
        assert reader.verify().size == 300
        assert files_below(ledger.directory) == before
    assert files_below(ledger.directory) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs POSIX permissions")
def test_reads_from_a_read_only_directory(ledger: Ledger, tmp_path: Path) -> None:
    ledger.append([b"a"] * 300)
    ledger.checkpoint()
    ledger.close()
    for path in [ledger.directory, *ledger.directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if os.getuid() == 0:
        for path in (tmp_path, *tmp_path.parents):
            if path.stat().st_mode & 0o005 != 0o005:
                path.chmod(0o755)
    child = os.fork()
    if child == 0:  # in a process without root's right to write anywhere
        status = 1
        try:
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            with Ledger.open(ledger.directory) as reader:
                status = 0 if reader.verify().size == 300 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ledger.directory.chmod(0o755)


def test_a_full_disk_loses_nothing(ledger: Ledger) -> None:
    ledger.append([b"first"])
    pages = ledger._database.execute("PRAGMA page_count").fetchone()[0]
    ledger._database.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(LogError, match="full"):  # noqa: PT012  one of them
        for n in range(100):
            ledger.append([bytes([n]) * 5000])
    size = ledger.size
    assert 1 <= size < 100
    ledger._database.execute("PRAGMA max_page_count = 1000000")
    assert ledger.append([b"after"]) == [size]
    ledger.checkpoint()
    assert ledger.verify().size == size + 1


def test_a_disk_that_refuses_tiles_signs_nothing(ledger: Ledger) -> None:
    ledger.append([b"a"])
    (ledger.directory / "tile").write_text("in the way")
    with pytest.raises(LogError, match="tiles cannot be written"):
        ledger.checkpoint()
    assert ledger.checkpoints() == []
    (ledger.directory / "tile").unlink()
    ledger.checkpoint()
    ledger.verify()


def test_torn_and_missing_tiles_are_repaired(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    ledger.append([b"%d" % n for n in range(300)])
    ledger.checkpoint()
    ledger.close()
    for name in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000"):
        torn = ledger.directory / name
        torn.write_bytes(torn.read_bytes()[:-7])
    with Ledger.open(ledger.directory) as reader, pytest.raises(LogError, match="tile"):
        reader.verify()
    with Ledger.open(ledger.directory, key) as writer:
        writer.verify()
        writer.append([b"more"])
        writer.checkpoint()
        shutil.rmtree(ledger.directory / "tile")
        with pytest.raises(LogError, match="tile"):
            writer.verify()
        assert writer.repair_tiles() == 5
        writer.verify()
        assert verify_tiles(writer.directory, writer.vkey).size == 301


def test_checkpoint_file_is_published_again_after_a_crash(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    ledger.append([b"a"])
    first = ledger.checkpoint()
    ledger.append([b"b"])
    second = ledger.checkpoint()
    ledger.close()
    published = ledger.directory / "checkpoint"
    published.write_text(first)  # as if the process was killed between the database and the file
    with Ledger.open(ledger.directory) as reader:
        reader.verify()
    with Ledger.open(ledger.directory, key):
        assert published.read_text() == second
    published.unlink()
    with Ledger.open(ledger.directory) as reader, pytest.raises(LogError, match="is missing"):
        reader.verify()
    with Ledger.open(ledger.directory, key):
        assert published.read_text() == second


def test_a_rewound_database_is_refused(ledger: Ledger, key: Ed25519PrivateKey, tmp_path: Path) -> None:
    ledger.append([b"a"])
    ledger.checkpoint()
    ledger.close()
    shutil.copy(ledger.directory / "log.db", tmp_path / "backup")
    with Ledger.open(ledger.directory, key) as writer:
        writer.append([b"b"])
        second = writer.checkpoint()
    shutil.copy(tmp_path / "backup", ledger.directory / "log.db")
    with pytest.raises(LogError, match="was rewound"):
        Ledger.open(ledger.directory, key)
    with Ledger.open(ledger.directory) as reader, pytest.raises(LogError, match="never signed"):
        reader.verify()
    # Another history of the same length is refused too, and the very same history is taken up.
    (ledger.directory / "checkpoint").unlink()
    with Ledger.open(ledger.directory, key) as writer:
        writer.append([b"fork"])
    (ledger.directory / "checkpoint").write_text(second)
    with pytest.raises(LogError, match="do not give the root"):
        Ledger.open(ledger.directory, key)
    shutil.copy(tmp_path / "backup", ledger.directory / "log.db")
    (ledger.directory / "checkpoint").unlink()
    with Ledger.open(ledger.directory, key) as writer:
        writer.append([b"b"])
    (ledger.directory / "checkpoint").write_text(second)
    with Ledger.open(ledger.directory, key) as writer:
        assert writer.verify().checkpoints == 2


def test_the_lock_dies_with_its_process(ledger: Ledger, key: Ed25519PrivateKey) -> None:
    ledger.close()
    code = (
        "import os, sys; from og_ros.log.writer_lock import WriterLock; from pathlib import Path;"
        "lock = WriterLock(Path(sys.argv[1])); print('held', flush=True); os.kill(os.getpid(), 9)"
    )
    child = subprocess.run([sys.executable, "-c", code, str(ledger.directory)], capture_output=True, text=True)
    assert child.stdout == "held\n"
    Ledger.open(ledger.directory, key).close()
