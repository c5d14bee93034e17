"""A long run at many times a robot's rate, through the live auditor and through a stage's signing: memory stays flat.

OG_ROS_SOAK_SECONDS makes the run as long as wanted; by default it lasts some seconds.
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from attest_examples import COMMAND, IMAGE, STATEMENT, signer_of
from scenario import MS, Record, honest_run, honest_ticks

from og_ros.attest import Algorithm, Clock, Session
from og_ros.audit.auditor import Auditor
from og_ros.audit.memory import Retention
from og_ros.registry import Registry

SECONDS = float(os.environ.get("OG_ROS_SOAK_SECONDS", "5"))
# What CPython's and glibc's pools may still take in a short run; 5 % is the bound of a long one.
SLACK_MB = 6.0


def resident_mb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def grown(step: Callable[[], int]) -> tuple[float, float, int]:
    """Call a step for a while; return the memory after a warm-up, that at the end, and how much was done."""
    began = time.monotonic()
    done = 0
    while time.monotonic() - began < 0.4 * SECONDS:
        done += step()
    before = resident_mb()
    while time.monotonic() - began < SECONDS:
        done += step()
    return before, resident_mb(), done


def check_flat(what: str, before: float, after: float, done: int) -> None:
    print(f"{what}: {done} attestations, {before:.1f} MB after the warm-up, {after:.1f} MB at the end")
    assert after <= before * 1.05 + (0 if SECONDS > 60 else SLACK_MB)


def endless(run: object) -> Iterator[list[Record]]:
    """Yield a robot's records without end, 20 decisions at a time, one session, as recorded at wall times."""
    records = honest_ticks(run, 10**9, time.time_ns(), 1 << 32)  # type: ignore[arg-type]
    while True:
        yield list(itertools.islice(records, 180))


def test_the_live_auditor_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At some hundred times the rate of a robot at 20 Hz, with a retention that is reached in the warm-up."""
    monkeypatch.setattr("og_ros.audit.auditor.LIVE_RETENTION", Retention(10 * 10**9, 2_000))
    monkeypatch.setattr("og_ros.audit.auditor._REMEMBERED", 2_000)
    run = honest_run(0)
    run.write_registry(tmp_path / "registry")
    auditor = Auditor(Registry.open(tmp_path / "registry"), recorded=lambda topic: True, live=True)
    stretches = endless(run)

    def step() -> int:
        before = auditor.tally.attestations
        for record in next(stretches):
            auditor.feed(record)
        auditor.advance(record.received_ns)
        # The node takes each latency as it comes.
        del auditor.tally.latencies_ns[:]
        return auditor.tally.attestations - before

    before, after, done = grown(step)
    assert done > 1000
    assert auditor.findings.violations == 0, auditor.findings.kept[:3]
    assert auditor.tally.linked == auditor.tally.decisions > 100
    check_flat("live auditor", before, after, done)


def test_a_session_keeps_nothing_of_what_it_signed() -> None:
    session = Session(
        robot="r", stage="s", node="/s", model=STATEMENT.model, runtime=STATEMENT.runtime,
        signer=signer_of(Algorithm.ES256),
    )  # fmt: skip

    def step() -> int:
        for number in range(100):
            attestation = session.attest(
                (IMAGE,), (COMMAND,), start_ns=number * MS, clock=Clock.SIM, start_monotonic_ns=0, duration_ns=1
            )
            assert len(session.serialised(attestation)) > 500
        return 100

    before, after, done = grown(step)
    check_flat("session", before, after, done)
