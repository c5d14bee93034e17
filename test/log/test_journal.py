"""The journal: what was appended is there after any stop, damage is found, bounds hold, a full disk loses nothing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from og_ros.log import journal as module
from og_ros.log.journal import Journal, KeptSession

A, B = bytes([1]) * 16, bytes([2]) * 16


def content(sequence: int, size: int = 900) -> bytes:
    return (b"%08d" % sequence) * (size // 8)


def fill(journal: Journal, start: int, stop: int, size: int = 900) -> None:
    for sequence in range(start, stop):
        journal.append(sequence, content(sequence, size))


def numbers(journal: Journal, session: bytes, first: int = 0, last: int = 2**64 - 1) -> list[int]:
    """Every sequence that the journal gives of a range, asked for as a client would: until nothing comes."""
    found: list[int] = []
    while batch := journal.read(session, first, last):
        for sequence, cose in batch:
            assert cose[:8] == b"%08d" % sequence
        found += [sequence for sequence, _ in batch]
        first = found[-1] + 1
    return found


def test_sessions_survive_and_are_told(tmp_path: Path) -> None:
    first = Journal(tmp_path, "planning", A)
    fill(first, 0, 300)
    assert numbers(first, A, 10, 20) == list(range(10, 21))
    assert [s for s, _ in first.read(A, 5, 90, limit=3)] == [5, 6, 7]
    first.close()
    other = Journal(tmp_path, "control", bytes([9]) * 16)
    fill(other, 0, 3)
    second = Journal(tmp_path, "planning", B)
    fill(second, 0, 5)
    assert second.sessions() == [KeptSession(A, 0, 299, True), KeptSession(B, 0, 4, False)]
    assert numbers(second, A) == list(range(300))
    assert numbers(second, B, 3) == [3, 4]
    assert numbers(second, bytes(16)) == []
    second.close()
    other.close()


def test_answers_are_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", A)
    fill(journal, 0, 1000)
    answer = journal.read(A, 0, 999)
    assert 100 < len(answer) < 1000
    assert sum(len(cose) for _, cose in answer) <= module.MAX_ANSWER
    assert numbers(journal, A) == list(range(1000))
    journal.close()


@pytest.mark.parametrize("cut", [1, 5, 9, 500, 903])
def test_torn_tail(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, "s", A)
    fill(journal, 0, 10)
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - cut)
    said: list[str] = []
    again = Journal(tmp_path, "s", B, report=lambda kind, error: said.append(str(error)))
    assert numbers(again, A) == list(range(9))
    assert again.sessions() == [KeptSession(A, 0, 8, False)]
    assert "torn" in said[0]
    assert again.keeps == 0  # what it states to keep begins anew
    fill(again, 0, 4)
    assert again.keeps == 4


def test_damage_is_not_served(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "s", A)
    fill(journal, 0, 10)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[data.index(b"00000004") + 40] ^= 1
    path.write_bytes(data)
    said: list[str] = []
    journal._report = lambda kind, error: said.append(str(error))
    assert numbers(journal, A, 2, 9) == [2, 3]
    assert "damaged at sequence 4" in said[0]
    assert numbers(Journal(tmp_path, "s", B), A) == [0, 1, 2, 3]


def test_foreign_and_empty_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s.0.x.journal").write_bytes(b"something else, and long enough to have a header")
    (tmp_path / "s.1.x.journal").write_bytes(b"")
    journal = Journal(tmp_path, "s", A)
    fill(journal, 0, 2)
    assert numbers(journal, A) == [0, 1]
    assert (tmp_path / "s.0.x.journal").exists()


def test_size_is_bounded_and_the_stated_number_is_kept(tmp_path: Path) -> None:
    limit = 400_000
    journal = Journal(tmp_path, "s", A, limit_bytes=limit)
    for sequence in range(3000):
        journal.append(sequence, content(sequence))
        if sequence % 100 == 99:
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit
            (kept,) = journal.sessions()
            assert kept.newest == sequence
            assert kept.newest - kept.oldest + 1 >= min(sequence + 1, journal.keeps)
    assert journal.keeps > 300
    assert journal.sessions()[0].oldest > 2000
    assert numbers(journal, A) == list(range(journal.sessions()[0].oldest, 3000))


def test_age_is_bounded(tmp_path: Path) -> None:
    old = Journal(tmp_path, "s", A)
    fill(old, 0, 3)
    old.close()
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    journal = Journal(tmp_path, "s", B, age_s=3600)
    fill(journal, 0, 1)
    assert not path.exists()
    assert [kept.session for kept in journal.sessions()] == [B]


def test_without_directory_the_newest_are_in_memory() -> None:
    journal = Journal(None, "s", A, limit_bytes=90_000)
    fill(journal, 0, 500)
    assert numbers(journal, A, 495) == [495, 496, 497, 498, 499]
    (kept,) = journal.sessions()
    assert 400 <= kept.oldest < 410
    assert kept.newest - kept.oldest + 1 >= journal.keeps
    journal.close()


def test_full_disk_waits_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    journal = Journal(tmp_path, "s", A, report=lambda kind, error: said.append(str(error)))
    fill(journal, 0, 10)
    write, full = os.write, True

    def half_written(descriptor: int, data: bytes) -> int:
        if not full:
            return write(descriptor, data)
        if len(data) > 100:
            return write(descriptor, bytes(data[:100]))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", half_written)
    fill(journal, 10, 20, 903)
    assert "No space left" in said[0]
    assert numbers(journal, A) == list(range(20))
    full = False
    journal._retry_at = 0.0
    fill(journal, 20, 30)
    assert numbers(journal, A) == list(range(30))
    journal.close()
    assert numbers(Journal(tmp_path, "s", B), A) == list(range(30))
    assert journal.sessions() == [KeptSession(A, 0, 29, True)]


def test_full_disk_and_full_memory_state_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 20_000)
    journal = Journal(tmp_path, "s", A)
    fill(journal, 0, 10)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    fill(journal, 10, 100)
    (kept,) = journal.sessions()
    assert kept.oldest == 100 - journal.keeps
    assert 15 < journal.keeps < 25
    assert numbers(journal, A, kept.oldest) == list(range(kept.oldest, 100))
    assert numbers(journal, A, 0, 9) == list(range(10))  # still there, and still served


def test_a_slow_sync_does_not_hold_up_appends(tmp_path: Path) -> None:
    """Appends go on while the disk syncs: the sync is stuck until they are done."""
    done, syncing = threading.Event(), threading.Event()

    def stuck(descriptor: int) -> None:
        syncing.set()
        assert done.wait(30)

    journal = Journal(tmp_path, "s", A, sync=stuck)
    fill(journal, 0, 1)
    assert syncing.wait(10)
    fill(journal, 1, 100)
    assert numbers(journal, A) == list(range(100))
    done.set()
    journal.close()


def test_killed_process_loses_nothing_that_it_published(tmp_path: Path) -> None:
    """A process appends, prints ("publishes"), and is killed at some instant: what was printed is in the journal."""
    code = (
        "import sys, pathlib\n"
        "from og_ros.log.journal import Journal\n"
        f"j = Journal(pathlib.Path({str(tmp_path)!r}), 's', bytes([1]) * 16, limit_bytes=40_000_000)\n"
        "for n in range(10**9):\n"
        "    j.append(n, b'%08d' % n * 112)\n"
        "    sys.stdout.write(f'{n}\\n')\n"
        "    sys.stdout.flush()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3000):
            newest = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        newest = max([newest, *(int(line) for line in process.stdout.read().split("\n")[:-1] if line)])
    journal = Journal(tmp_path, "s", B)
    (kept,) = journal.sessions()
    assert newest <= kept.newest
    assert kept.oldest == 0
    assert not kept.ended
    assert numbers(journal, A, newest - 50, newest) == list(range(newest - 50, newest + 1))
