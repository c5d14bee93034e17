"""Full, read-only and slow disks, a clock that is set, no memory: nothing accepted is lost, and it is said."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from fault_rig import ARRAY, LONG, Findings, Rig, feeding
from ros_peer import Peer, node, running, until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount small file systems")


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


@contextmanager
def small_disk(path: Path, options: str = "size=2m") -> Iterator[Path]:
    """A file system of its own in memory."""
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@ROOT_ONLY
def test_full_disk_under_log_and_journal(peer: Peer, tmp_path: Path) -> None:
    """What waits for the log in memory is bounded: the rest comes from the journal, which waits in memory too."""
    with small_disk(tmp_path / "disk") as disk:
        rig = Rig(tmp_path, journal=disk / "journal", ledger=disk / "ledger")
        findings = Findings(peer)
        with rig.auditor(log_backlog_mb=0.01) as auditor, rig.stage() as stage, feeding(peer, 60) as feed:
            until(lambda: len(rig.in_log()) > 20, "the log")
            filler = fill(disk)
            stage.wait_for("attestations wait in memory")
            auditor.wait_for("attestations wait for the log")
            auditor.wait_for("there is no room for more")
            before = feed.sent
            until(lambda: feed.sent > before + 60, "work on a full disk")
            accepted = rig.in_log()
            filler.unlink()
            auditor.wait_for("the log is written again")
            until(lambda: len(rig.in_log()) > len(accepted) + 60, "the log goes on")
            told = "found no room while the log could not be written; recovered from its journal"
            until(lambda: any(told in finding.message for finding in findings.found), "what had found no room")
            feed.stopped = True
            time.sleep(1.5)
            assert stage.stop() == 0
            signed = rig.signed()
            until(lambda: rig.in_log() >= signed, "everything in the log")
            assert auditor.stop() == 0
        assert set(rig.logged()) == signed
        assert accepted <= signed
        assert findings.violations() == []


@LONG
@ROOT_ONLY
def test_full_disk_under_the_recorder(peer: Peer, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        rig = Rig(tmp_path)
        topics = f"['/y:{ARRAY}']"
        arguments = node("og_ros.nodes.recorder", "recorder", output=disk / "bag", topics=topics, flush_period=0.1)
        with running(*arguments) as recorder, rig.stage(), feeding(peer, 100):
            until(lambda: disk.joinpath("bag").exists(), "the recording")
            time.sleep(1.0)
            fill(disk)
            recorder.wait_for("No space left on device")
            assert recorder.join() == 1
        assert "No space left on device" in recorder.output
        assert "og-ros record --recover" in recorder.output
        (disk / "filler").unlink()
        done = subprocess.run(
            [shutil.which("og-ros") or "og-ros", "record", "--recover", str(disk / "bag")],
            capture_output=True, text=True, env={**os.environ},
        ) if shutil.which("og-ros") else None  # fmt: skip
        assert done is None or done.returncode == 0, done.stderr


@LONG
@ROOT_ONLY
def test_read_only_disk(peer: Peer, tmp_path: Path) -> None:
    """A stage works and serves from memory; an auditor that cannot log does not start, and says why."""
    with small_disk(tmp_path / "disk") as disk:
        rig = Rig(tmp_path, journal=disk / "journal", ledger=disk / "ledger")
        rig.journal.mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with rig.auditor() as auditor:
            assert auditor.join() == 1
        assert "disk/ledger" in auditor.output
        assert "Traceback" not in auditor.output
        elsewhere = tmp_path / "elsewhere"
        with rig.stage() as stage, feeding(peer, 60) as feed:
            until(lambda: feed.sent > 60, "a start that no auditor hears")
            with rig.auditor(ledger=elsewhere):
                until(lambda: len(rig.in_log(elsewhere)) > 60, "what the stage served from memory")
            assert "attestations wait in memory" in stage.output


@LONG
def test_slow_disk(peer: Peer, tmp_path: Path, faults: Path) -> None:
    """Each sync takes 100 ms: the log lags and has everything; the stage does not wait for its journal's disk."""
    rig = Rig(tmp_path)
    findings = Findings(peer)
    faults.write_text("100 0")
    with rig.auditor() as auditor, rig.stage() as stage, feeding(peer, 60) as feed:
        until(lambda: len(rig.in_log()) > 200, "the log")
        feed.stopped = True
        time.sleep(1.0)
        assert stage.stop() == 0
        signed = rig.signed()
        until(lambda: rig.in_log() >= signed, "everything in the log")
        assert auditor.stop() == 0
    assert findings.violations() == []
    assert "attestation_lost" not in findings.kinds()


@LONG
@pytest.mark.parametrize("jump_s", [7200, -7200])
def test_the_auditors_clock_is_set(peer: Peer, tmp_path: Path, faults: Path, jump_s: int) -> None:
    """Nothing is judged early or never; that signing times and clock disagree afterwards is said."""
    rig = Rig(tmp_path)
    findings = Findings(peer)
    with feeding(peer, 60), rig.auditor() as auditor:
        del os.environ["LD_PRELOAD"]  # of the stage, the clock stays right
        with rig.stage():
            until(lambda: len(rig.in_log()) > 30, "the log")
            assert findings.violations() == []
            faults.write_text(f"0 {jump_s}")
            until(lambda: "clock_disagrees" in findings.kinds(), "the finding")
            judged = findings.statuses[-1].decisions
            until(lambda: findings.statuses[-1].decisions > judged + 60, "decisions go on being judged")
            assert auditor.stop() == 0
    assert {text.split(":")[0] for text in findings.violations()} == {"clock_disagrees"}


def test_no_memory_for_the_log(peer: Peer, tmp_path: Path) -> None:
    """An auditor whose memory is cut off ends with an error, and the next one has everything."""
    rig = Rig(tmp_path)
    with feeding(peer, 200) as feed, rig.stage():
        with rig.auditor() as auditor:
            until(lambda: len(rig.in_log()) > 50, "the log")
            pid = auditor._process.pid
            used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(pid, resource.RLIMIT_AS, (used, used))
            feed.rate = 1500  # what it has freed before is soon used up
            code = auditor.join()
            assert code != 0
        feed.rate = 200
        accepted = rig.logged()
        assert accepted
        with rig.auditor() as auditor:
            until(lambda: len(rig.in_log()) > len(accepted) + 100, "the log goes on")
            signed = rig.signed()
            until(lambda: rig.in_log() >= signed, "everything in the log")
            assert auditor.stop() == 0
    assert rig.logged()[: len(accepted)] == accepted


def test_a_disk_that_holds_writes_up_slows_the_stage_down(peer: Peer, tmp_path: Path, faults: Path) -> None:
    """Each write to the journal takes 50 ms, five times a period: outputs do not run ahead of their attestations."""
    rig = Rig(tmp_path)
    heard = peer.hear("/y", ARRAY, 1000)
    faults.write_text("0 0 50")
    with rig.stage() as stage, feeding(peer, 100) as feed:
        until(lambda: len(heard) > 40, "outputs")
        stage.wait_for("signatures lag behind outputs")
        until(lambda: feed.sent > len(heard) + 50, "a stage that waits")
        stage.signal(signal.SIGKILL)
        stage.join()
        unsigned = len(heard) - len(rig.signed())
    # Those of half a second at 100 Hz, and the one that was made when the oldest was that old.
    assert 2 <= unsigned <= 51, unsigned
