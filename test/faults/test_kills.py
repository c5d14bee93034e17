"""kill -9 of the auditor and of the stage at random instants: nothing accepted is lost, all is logged in the end.

OG_ROS_KILLS sets how often the auditor is killed (default 5), OG_ROS_SEED the instants.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from fault_rig import ARRAY, Checkpoints, Findings, Rig, decoded, feeding
from ros_peer import Peer, until

from og_ros.attest import digest
from og_ros.log import Ledger
from og_ros.nodes.signing_queue import LAG_MS
from og_ros.settlement.outbox import Outbox
from og_ros.settlement.receipt import Level

KILLS = int(os.environ.get("OG_ROS_KILLS", "5"))
RATE = 100.0
SEED = int(os.environ.get("OG_ROS_SEED", "20261121"))


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def settle(rig: Rig) -> subprocess.Popen[str]:
    """Run the settler beside the auditors, through all of their deaths."""
    config = rig.directory / "settlement.yaml"
    config.write_text("robot: r\nsettlement: {state: settlement, every_leaves: 1}\n")
    verb = ["settle", "run", str(rig.ledger), "--config", str(config)]
    command = [sys.executable, "-m", "og_ros.cli.main", *verb]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def check_settled(rig: Rig, settler: subprocess.Popen[str]) -> None:
    """End the settler: each checkpoint that it took is one of the log that is there now, and the last one is in it."""
    settler.send_signal(signal.SIGINT)
    _, said = settler.communicate(timeout=60)
    assert settler.returncode == 0, said
    assert "Traceback" not in said
    taken = [row.item for row in Outbox(rig.directory / "settlement", read_only=True).rows()]
    sizes = [item.size for item in taken]
    assert sizes == sorted(set(sizes)), "a checkpoint settled twice"
    with Ledger.open(rig.ledger) as log:
        newest = log.latest_checkpoint()
        assert newest is not None
        assert sizes[-1] == newest.size == log.size
        assert all(log.root(item.size) == item.root for item in taken)
    assert {item.level for item in taken} == {Level.FINAL}


@pytest.mark.timeout(60 + 10 * KILLS)
def test_auditor_killed_at_random_instants(peer: Peer, tmp_path: Path) -> None:
    rng = random.Random(SEED)
    rig = Rig(tmp_path)
    findings = Findings(peer)
    leaves: list[bytes] = []
    checkpoints: Checkpoints = []
    grew = 0
    settler = settle(rig)
    with rig.stage(), feeding(peer, 60):
        peer.wait_for_publishers("/y/attestation")
        for _ in range(KILLS):
            with rig.auditor() as auditor:
                known = len(rig.in_log())
                # Some die while they start or before they log anything, most while they log.
                if rng.random() < 0.85:
                    until(lambda known=known: len(rig.in_log()) > known, "a leaf")
                time.sleep(rng.uniform(0.0, 0.8))
                auditor.signal(signal.SIGKILL)
                auditor.join()
            before = len(leaves)
            leaves, checkpoints = rig.check_growth(leaves, checkpoints)
            grew += len(leaves) > before
    assert grew > KILLS // 2
    with rig.stage(), rig.auditor() as auditor:  # the stage's end left nothing behind: its journal has it all
        until(lambda: rig.in_log() >= rig.signed(), "all that was signed in the log", 60)
        assert auditor.stop() == 0
    leaves, _ = rig.check_growth(leaves, checkpoints)
    assert set(leaves) == rig.signed()
    assert findings.violations() == []
    check_settled(rig, settler)
    print(f"{KILLS} kills: {len(leaves)} attestations signed and logged, {len(checkpoints)} checkpoints consistent")


def sessions(rig: Rig) -> int:
    return len({attestation.statement.session for attestation in decoded(rig.in_log())})


def test_stage_killed_and_restarted(peer: Peer, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    findings = Findings(peer)
    rng = random.Random(SEED)
    heard, ends = peer.hear("/y", ARRAY, 1000), []
    with rig.auditor() as auditor, feeding(peer, RATE):
        for number in range(1, 3):
            with rig.stage() as stage:
                until(lambda number=number: sessions(rig) == number, "a new session")
                time.sleep(rng.uniform(0.0, 0.5))
                stage.signal(signal.SIGKILL)
                stage.join()
                time.sleep(0.2)  # what is on its way to the peer
                ends.append(len(heard))
        with rig.stage():
            until(lambda: sessions(rig) == 3, "three sessions")
        time.sleep(0.2)
        ends.append(len(heard))
        with rig.stage():  # nothing new: to be asked for what the others left
            signed = rig.signed()
            until(lambda: rig.in_log() >= signed, "all that was signed in the log")
            assert auditor.stop() == 0
    # An output leaves before it is signed. A kill in between leaves it without attestation: the last ones of a killed
    # session, no older than the time by which a stage lets its signatures lag, and that is said of them alone.
    attested = {o.digest for a in decoded(rig.signed()) for o in a.statement.outputs}
    unsigned = [index for index, payload in enumerate(heard[: ends[-1]]) if digest(payload) not in attested]
    tails = [[index for index in unsigned if begin <= index < end] for begin, end in pairwise([0, *ends])]
    for tail, end in zip(tails, ends, strict=True):
        assert tail == list(range(end - len(tail), end)), "an output in the middle of a session has no attestation"
        # Inputs that waited while the stage did not get to run are worked off faster than they came.
        assert len(tail) <= 2 * LAG_MS * RATE / 1000, "signatures lagged further behind than they may"
    violations = findings.violations()
    assert all(text.startswith("output_not_attested: ") for text in violations)
    assert len(violations) <= len(unsigned), violations
    assert not findings.kinds() & {"attestation_lost", "attestation_withheld", "session_joined_late"}
