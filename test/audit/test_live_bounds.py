"""What a live audit keeps is bounded, whoever floods it, restarts for ever or loses much; what it drops, it says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario import Run, honest_run

from og_ros.attest import ATTESTATION_TYPE, Attestation, Clock, Session, cose, encode_attestation
from og_ros.audit import catchup, sessions
from og_ros.audit.auditor import MAX_CLAIMED_STAGES, Auditor
from og_ros.audit.catchup import Answer, CatchUp, Request
from og_ros.audit.records import Inference, Record
from og_ros.audit.sessions import LIVE_GAPS, LIVE_OF_A_KEY, LIVE_SESSIONS, SessionChecker
from og_ros.log.journal import KeptSession
from og_ros.registry import Registry

TOPIC = "/wheel_command/attestation"
SECOND = 10**9


@pytest.fixture(scope="module")
def run() -> Run:
    return honest_run(3)


def auditor(run: Run, directory: Path, catch_up: bool = False) -> Auditor:
    run.write_registry(directory / "registry")
    return Auditor(Registry.open(directory / "registry"), recorded=lambda topic: True, live=True, catch_up=catch_up)


def record(attestation: Attestation, at_ns: int) -> Record:
    return Record(TOPIC, ATTESTATION_TYPE, encode_attestation(attestation), at_ns)


def forged(run: Run, stage: str) -> Attestation:
    """An attestation that nobody signed, of made-up topics and a session of its own, in the name of a real key."""
    _, attestation = run.of_stage("control")[1]
    statement = attestation.statement

    def elsewhere(where: str) -> str:
        return f"/{where}/{os.urandom(8).hex()}"

    made_up = replace(
        statement,
        stage=stage,
        session=os.urandom(16),
        inputs=tuple(replace(r, topic=elsewhere("in"), digest=os.urandom(32)) for r in statement.inputs),
        outputs=tuple(replace(r, topic=elsewhere("out"), digest=os.urandom(32)) for r in statement.outputs),
    )
    return cose.seal(made_up, attestation.signature)


def restarts(run: Run, count: int, each: int = 2) -> Iterator[list[Attestation]]:
    """The sessions of a stage that starts again and again."""
    _, attestation = run.of_stage("control")[0]
    statement = attestation.statement
    for _ in range(count):
        session = Session(
            robot=statement.robot, stage=statement.stage, node=statement.node, model=statement.model,
            runtime=statement.runtime, signer=run.signers["control"],
        )  # fmt: skip
        yield [
            session.attest(
                tuple(replace(r, digest=os.urandom(32)) for r in statement.inputs),
                tuple(replace(r, digest=os.urandom(32)) for r in statement.outputs),
                start_ns=1, clock=Clock.SIM, start_monotonic_ns=number, duration_ns=1,
            )
            for number in range(each)
        ]  # fmt: skip


def numbered(run: Run, numbers: Iterator[int], session: bytes = b"s" * 16) -> Iterator[Inference]:
    """Records of a session with some sequence numbers, as if checked; their chain is not looked at."""
    _, attestation = run.of_stage("control")[1]
    for number in numbers:
        statement = replace(
            attestation.statement, sequence=number, session=session, start_monotonic_ns=number, previous=os.urandom(32)
        )
        yield Inference(cose.seal(statement, attestation.signature), TOPIC, number, signed=True)


def test_made_up_stages_take_no_room_and_nobody_s_place(run: Run, tmp_path: Path) -> None:
    audited = auditor(run, tmp_path)
    at_ns = run.records[0].received_ns
    for number in range(2 * MAX_CLAIMED_STAGES):
        audited.feed(record(forged(run, f"a{number}"), at_ns))
    audited.feed(record(forged(run, "control"), at_ns))
    for one in run.records:
        audited.feed(one)
    audited.feed(record(forged(run, "control"), run.records[-1].received_ns))
    audited.advance(run.records[-1].received_ns + 60 * SECOND)
    assert audited.findings.counts["signature_invalid"] == 2 * MAX_CLAIMED_STAGES + 2
    assert len(audited.stages) <= MAX_CLAIMED_STAGES + 3
    assert len(audited.levels.by_stage()) <= MAX_CLAIMED_STAGES + 3
    newest = run.of_stage("control")[-1][1].statement
    assert audited.stages["control"] == newest
    assert {"perception", "planning", "control"} <= audited.levels.by_stage().keys()


@pytest.mark.parametrize("catch_up", [False, True])
def test_a_stage_that_starts_again_and_again_is_forgotten_and_its_replay_is_not(
    run: Run, tmp_path: Path, catch_up: bool
) -> None:
    audited = auditor(run, tmp_path, catch_up)
    at_ns = run.records[0].received_ns
    all_sessions = list(restarts(run, 2 * LIVE_OF_A_KEY))
    for number, session in enumerate(all_sessions):
        for attestation in session:
            audited.feed(record(attestation, at_ns + number * SECOND))
    assert len(audited.sessions.sessions) == LIVE_OF_A_KEY
    kept = {session for _, session in audited.sessions.sessions}
    assert all_sessions[0][0].statement.session not in kept
    assert all_sessions[-1][0].statement.session in kept
    assert not audited.findings.counts["attestation_replayed"]
    audited._digests.clear()  # as after 65536 others
    audited.feed(record(all_sessions[0][1], at_ns + 500 * SECOND))
    assert audited.findings.counts["attestation_replayed"] == 1


def test_others_sessions_stay_where_one_key_makes_many(run: Run) -> None:
    checker = SessionChecker(live=True)
    _, other = run.of_stage("planning")[0]
    list(checker.add(Inference(other, TOPIC, 0, signed=True)))
    for number in range(3 * LIVE_OF_A_KEY):
        for inference in numbered(run, iter([number + 1]), session=number.to_bytes(16, "big")):
            list(checker.add(inference))
    assert checker.find(other.statement) is not None
    assert len(checker.sessions) == LIVE_OF_A_KEY + 1


def test_keys_that_nobody_checks_have_a_bound_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "LIVE_SESSIONS", 20)
    assert LIVE_SESSIONS > 20
    checker = SessionChecker(live=True)
    (inference,) = numbered(run, iter([1]))
    for number in range(100):
        statement = replace(inference.attestation.statement, key_id=number.to_bytes(32, "big"))
        one = Inference(cose.seal(statement, inference.attestation.signature), TOPIC, number)
        list(checker.add(one))
    assert len(checker.sessions) == 20
    assert len(checker.forgotten) == 80


def test_gaps_of_a_lossy_network_are_bounded_and_each_is_said_to_be_lost(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LIVE_GAPS", 20)
    monkeypatch.setattr(sessions, "_GAPS_AT_ONCE", 5)
    assert LIVE_GAPS > 20
    checker, asking = SessionChecker(True, live=True), CatchUp()
    told = []
    for inference in numbered(run, iter(range(1, 401, 2))):
        list(checker.add(inference))
        forgotten, checker.forgotten = checker.forgotten, []
        for gone in forgotten:
            asking.forget(gone)
        told += asking.findings()
        (chain,) = checker.sessions.values()
        assert len(chain.gaps) <= 25
    told += asking.finish(checker.sessions)
    assert sorted(f.sequence for f in told if f.kind == "attestation_lost") == list(range(2, 399, 2))
    # Who has no catch-up says so at once.
    audited = auditor(run, tmp_path)
    audited.sessions.forgotten = forgotten_of(checker)
    audited._forget()
    assert audited.findings.counts["attestation_lost"] == 3


def forgotten_of(checker: SessionChecker) -> list[sessions.Forgotten]:
    (chain,) = checker.sessions.values()
    return [sessions.Forgotten(chain, tuple(chain.gaps[:3]), ended=False)]


def test_a_forgotten_session_is_asked_for_only_where_the_log_lacks_it(run: Run) -> None:
    checker, asking = SessionChecker(True, live=True), CatchUp()
    for inference in numbered(run, iter([1, 2, 5])):
        list(checker.add(inference))
    (chain,) = checker.sessions.values()
    node, session = chain.statement.node, chain.statement.session
    asking.answered(Request(node), Answer((KeptSession(session, 0, 5, True),), 1000), 0.0)
    assert asking.requests(0.1, checker.sessions, {node}) == []
    (gap,) = asking.requests(1.0, checker.sessions, {node})
    assert (gap.first, gap.last) == (0, 0)
    asking.forget(sessions.Forgotten(chain, tuple(chain.gaps), ended=True))
    assert [(f.kind, f.sequence) for f in asking.findings()] == [("attestation_lost", 3), ("session_joined_late", 1)]
    asking.answered(gap, Answer((KeptSession(session, 0, 5, True),), 1000), 1.5)  # it was on its way
    assert all(request.session == catchup.NO_SESSION for request in asking.requests(9.0, {}, {node}))
    asking.defer(replace(chain.statement, sequence=4))
    asking.answered(Request(node), Answer((KeptSession(session, 0, 5, True),), 1000), 9.5)
    asking.requests(9.6, {}, {node})
    (deferred,) = asking.requests(11.0, {}, {node})
    assert (deferred.session, deferred.first, deferred.last) == (session, 4, 4)


RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda r: (r[0], r[0] + r[1])), max_size=12)


@given(RANGES, RANGES)
def test_what_is_left_of_ranges(wholes: list[tuple[int, int]], parts: list[tuple[int, int]]) -> None:
    wholes = sorted(wholes)
    left = list(catchup._left(wholes, parts))
    taken = {number for first, last in parts for number in range(first, last + 1)}
    for first, last in wholes:
        wanted = [number for number in range(first, last + 1) if number not in taken]
        got = [n for a, b in catchup._left([(first, last)], parts) for n in range(a, b + 1)]
        assert got == wanted
    assert left == [part for whole in wholes for part in catchup._left([whole], parts)]
    apart = [b < c for whole in wholes for (_, b), (c, _) in pairwise(catchup._left([whole], parts))]
    assert all(apart)
