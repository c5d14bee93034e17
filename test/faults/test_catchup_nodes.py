"""Catch-up over DDS: late joiners, two auditors, a flood, and a stage that holds back what it signed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("og_ros.msg", reason="og_ros was built without ROS messages")
from fault_rig import LONG, TOPIC, Findings, Rig, decoded, feeding
from ros_peer import Peer, running, until

from og_ros.attest import decode_attestation


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer()
    yield found
    found.close()


def test_two_late_auditors_have_everything(peer: Peer, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    heard = [Findings(peer, name) for name in ("auditor", "second")]
    other = tmp_path / "other"
    with rig.stage(), feeding(peer, 100) as feed:
        until(lambda: feed.sent > 50 and len(rig.signed()) > 50, "a start that no auditor hears")
        with rig.auditor() as first, rig.auditor("second", other) as second:
            until(lambda: len(rig.in_log()) > 200 and len(rig.in_log(other)) > 200, "both logs")
            feed.stopped = True
            time.sleep(0.3)
            signed = rig.signed()
            until(lambda: rig.in_log() == rig.in_log(other) == signed, "everything in both logs")
            assert first.stop() == second.stop() == 0
    for findings in heard:
        assert findings.violations() == []
        assert not findings.kinds() & {"session_joined_late", "attestation_lost", "attestation_withheld"}


@LONG
def test_flood(peer: Peer, tmp_path: Path) -> None:
    """Ten times the rate for two seconds: whatever the middleware drops, the log has every attestation in the end."""
    rig = Rig(tmp_path)
    findings = Findings(peer)
    with rig.auditor() as auditor, rig.stage(), feeding(peer, 100) as feed:
        until(lambda: len(rig.in_log()) > 20, "the usual rate")
        feed.rate = 1000
        time.sleep(2.0)
        feed.rate = 100
        time.sleep(0.5)
        feed.stopped = True
        time.sleep(0.5)
        signed = rig.signed()
        assert len(signed) > 500
        until(lambda: rig.in_log() == signed, "everything in the log")
        assert auditor.stop() == 0
    assert findings.violations() == []
    assert "attestation_lost" not in findings.kinds()


def test_a_stage_that_holds_back_is_told_from_a_network_that_drops(peer: Peer, tmp_path: Path) -> None:
    """A stage signs, does not publish each fifth attestation, and its journal denies one of ten."""
    rig = Rig(tmp_path)
    findings = Findings(peer)
    code = (
        "import sys\n"
        "from og_ros.attest import Session\n"
        "from og_ros.nodes import attestation_publisher as p, stage\n"
        "from og_ros.log.journal import Journal\n"
        "read, publish = Journal.read, Session.serialised\n"
        "Journal.read = lambda *a: [(n, c) for n, c in read(*a) if n % 10]\n"
        "def encode(session, attestation):\n"
        "    return publish(session, attestation) if attestation.statement.sequence % 5 else None\n"
        "Session.serialised = encode\n"
        "init = p.AttestationPublisher.__init__\n"
        "def make(self, session, send, *rest):\n"
        "    init(self, session, lambda data: send(data) if data else None, *rest)\n"
        "p.AttestationPublisher.__init__ = make\n"
        "sys.exit(stage.main())\n"
    )
    arguments = ["-c", code, "--ros-args", "-r", "__node:=adding", "-p", f"pipeline:={rig.pipeline}"]
    with rig.auditor() as auditor, running(*arguments), feeding(peer, 50):
        until(lambda: {"attestation_recovered", "attestation_withheld"} <= findings.kinds(), "both findings")
        time.sleep(1.0)
        assert auditor.stop() == 0
    withheld = {f.sequence for f in findings.found if f.kind == "attestation_withheld"}
    assert withheld
    assert all(sequence % 10 == 0 for sequence in withheld)
    logged = {a.statement.sequence for a in decoded(rig.logged())}
    assert not any(sequence % 10 == 0 for sequence in logged)
    assert {5, 15} <= logged


@LONG
def test_what_a_dead_stage_took_along_is_lost_and_not_withheld(peer: Peer, tmp_path: Path) -> None:
    """A publisher without journal skips a sequence number: nobody can be asked."""
    rig = Rig(tmp_path)
    findings = Findings(peer)
    heard = peer.hear_attestations(TOPIC)
    with rig.stage(), feeding(peer, 100):
        until(lambda: len(heard()) > 30, "attestations")
    payloads = list(peer.heard[TOPIC])
    publisher = peer.publisher(TOPIC, "og_ros/msg/Attestation", 1000)
    with rig.auditor() as auditor:
        until(lambda: publisher.get_subscription_count() >= 2, "the auditor")
        time.sleep(0.3)
        for payload in payloads:
            if decode_attestation(payload).statement.sequence not in (10, 11):
                publisher.publish(payload)
        until(lambda: len(rig.in_log()) >= len(payloads) - 2, "the log")
        assert auditor.stop() == 0
    lost = [f for f in findings.found if f.kind == "attestation_lost"]
    assert [(f.sequence, f.stage) for f in lost] == [(10, "adding")]
    assert "attestation_withheld" not in findings.kinds()
