"""What a catch-up asks for, when, and what it concludes: rules on their own, without a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from scenario import Run, honest_run, honest_ticks

from og_ros.attest import Attestation, Session, decode_attestation
from og_ros.audit.auditor import Auditor
from og_ros.audit.catchup import Answer, CatchUp, Pace, Request
from og_ros.audit.examine import Examiner
from og_ros.audit.records import Record
from og_ros.log.journal import KeptSession
from og_ros.registry import Registry

NODE = "/control"


class World:
    """A stage whose attestations partly arrive, an auditor, and a catch-up between them."""

    def __init__(self, tmp_path: object, heard: set[int], ticks: int = 30) -> None:
        self.run: Run = honest_run(ticks)
        self.run.write_registry(tmp_path / "registry")  # type: ignore[operator]
        self.signed: list[Attestation] = [a for _, a in self.run.of_stage("control")]
        self.auditor = Auditor(
            Registry.open(tmp_path / "registry"),  # type: ignore[operator]
            recorded=lambda topic: False,
            live=True,
            catch_up=True,
        )
        self.catch_up = CatchUp(Pace())
        self.session = self.signed[0].statement.session
        for index, attestation in self.run.of_stage("control"):
            if attestation.statement.sequence in heard:
                self.auditor.feed(self.run.records[index])

    @property
    def chains(self) -> dict:  # type: ignore[type-arg]
        return self.auditor.sessions.sessions

    def kept(self, oldest: int = 0, newest: int | None = None, ended: bool = False) -> KeptSession:
        return KeptSession(self.session, oldest, len(self.signed) - 1 if newest is None else newest, ended)

    def ask(self, now: float, reachable: set[str] | None = None) -> list[Request]:
        return self.catch_up.requests(now, self.chains, {NODE} if reachable is None else reachable)

    def answer(self, request: Request, now: float, answer: Answer) -> None:
        given = {}
        for attestation in self.catch_up.answered(request, answer, now):
            new = self.auditor.recover(attestation, 2**62, 0)
            chain = self.auditor.sessions.find(attestation.statement)
            if new or (chain is not None and chain.has(attestation.statement.sequence)):
                given[attestation.statement.sequence] = new
        self.catch_up.judged(request, answer, given, now, self.chains)

    def serve(self, request: Request, now: float, kept: KeptSession, **changes: object) -> None:
        """Answer as an honest journal does."""
        found = tuple(a for a in self.signed if request.first <= a.statement.sequence <= request.last)
        answer = Answer((kept,), 1000, self.session, found if request.session == self.session else (), True)
        self.answer(request, now, dataclasses.replace(answer, **changes))  # type: ignore[arg-type]

    def kinds(self) -> list[tuple[str, int | None]]:
        return [(f.kind, f.sequence) for f in self.catch_up.findings()]


def test_asks_for_lists_then_for_gaps_after_its_patience(tmp_path: object) -> None:
    world = World(tmp_path, {5, 6, 9, 10})
    (first,) = world.ask(0.0)
    assert first == Request(NODE)
    assert world.ask(0.1) == []  # one request at a time
    world.serve(first, 0.2, world.kept(newest=10))
    assert world.ask(0.3) == []
    (start,) = world.ask(0.9)
    assert (start.first, start.last) == (0, 4)
    world.serve(start, 1.0, world.kept(newest=10))
    (gap,) = world.ask(1.6)
    assert (gap.first, gap.last) == (7, 8)
    world.serve(gap, 1.7, world.kept(newest=10))
    assert world.ask(1.8) == []
    assert world.kinds() == [("attestation_recovered", 0), ("attestation_recovered", 7)]
    assert world.auditor.findings.violations == 0
    assert world.catch_up.finish(world.chains) == []


def test_the_end_of_a_session_and_an_unheard_session_are_asked_for(tmp_path: object) -> None:
    world = World(tmp_path, {0, 1})
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=4))
    world.ask(0.2)
    (tail,) = world.ask(0.8)
    assert (tail.session, tail.first, tail.last) == (world.session, 2, 4)
    silent = World(tmp_path / "other", set())  # type: ignore[operator]
    (first,) = silent.ask(0.0)
    silent.serve(first, 0.1, silent.kept())
    silent.ask(0.2)
    (whole,) = silent.ask(0.8)
    assert (whole.session, whole.first, whole.last) == (silent.session, 0, 29)


@pytest.mark.parametrize(
    ("kept", "changes", "kind"),
    [
        ({}, {"attestations": ()}, "attestation_withheld"),  # has it, does not give it
        ({"oldest": 8}, {"attestations": ()}, "attestation_withheld"),  # states to keep 1000, and does not
        ({"oldest": 8}, {"attestations": (), "keeps": 3}, "attestation_lost"),  # no longer keeps it
        ({"newest": 4}, {"attestations": ()}, "attestation_withheld"),  # denies what it signed
        ({"newest": 4}, {"attestations": (), "present": bytes(16)}, "attestation_lost"),  # a crash cut it
        ({"newest": 4, "ended": True}, {"attestations": (), "present": bytes(16)}, "attestation_withheld"),
    ],
)
def test_what_does_not_come(tmp_path: object, kept: dict[str, int], changes: dict[str, object], kind: str) -> None:
    world = World(tmp_path, set(range(10)) - {6})
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=9))
    world.ask(0.2)
    (gap,) = world.ask(0.8)
    assert (gap.first, gap.last) == (6, 6)
    world.serve(gap, 0.9, world.kept(**kept), **changes)  # type: ignore[arg-type]
    assert world.kinds() == [(kind, 6)]
    assert [r for r in world.ask(2.0) if r.session == world.session and r.first == 6] == []
    assert world.catch_up.finish(world.chains) == []  # said once


def test_nobody_to_ask(tmp_path: object) -> None:
    world = World(tmp_path, {0, 1, 4, 5})
    assert world.ask(0.0, set()) == world.ask(29.0, set()) == []
    assert world.kinds() == []
    world.ask(31.0, set())
    assert world.kinds() == [("attestation_lost", 2)]
    (first,) = world.ask(40.0)  # it comes back, and has it after all
    world.serve(first, 40.1, world.kept(newest=5))
    asked = [request for now in (40.2, 41.0, 42.0) for request in world.ask(now)]
    assert [(r.first, r.last) for r in asked] == [(2, 3)]
    world.serve(asked[0], 42.1, world.kept(newest=5))
    assert world.kinds() == [("attestation_recovered", 2)]


@pytest.mark.parametrize(("goes_on", "kind"), [(True, "attestation_withheld"), (False, "attestation_lost")])
def test_no_answer(tmp_path: object, goes_on: bool, kind: str) -> None:
    world = World(tmp_path, {0, 1, 4, 5})
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=5))
    pauses, last, now, limits = [], 0.0, 0.2, []
    found: list[tuple[str, int | None]] = []
    while not found:
        assert now < 300, "never given up"
        for request in world.ask(now):
            if request.first == 2:
                pauses.append(now - last)
                last = now
                limits.append(request.limit)
                if goes_on and len(pauses) == 2:
                    world.auditor.feed(world.run.records[world.run.of_stage("control")[6][0]])
        now += 0.1
        found = [(k, s) for k, s in world.kinds() if k != "attestation_recovered"]
    assert found[0] == (kind, 2)
    assert len(pauses) == 5
    assert pauses[2] < pauses[3] < pauses[4]
    assert limits[-1] == 1


def test_what_was_not_asked_for_or_not_signed_is_not_taken(tmp_path: object) -> None:
    world = World(tmp_path, {0, 1, 4, 5})
    other = World(tmp_path / "other", set())  # type: ignore[operator]
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=5))
    world.ask(0.2)
    (gap,) = world.ask(0.8)
    place = world.run.of_stage("control")[2][0]
    world.run.forge(place, duration_ns=5)
    checked = Examiner(None).check(Record("", "og_ros/msg/Attestation", world.run.records[place].payload, 0))
    forged = checked.inference.attestation  # type: ignore[union-attr]
    answer = Answer((world.kept(newest=5),), 1000, world.session, (*other.signed[:3], *world.signed[20:], forged))
    world.answer(gap, 0.9, answer)
    assert world.kinds() == [("attestation_withheld", 2)]
    assert world.auditor.tally.attestations == 4


def test_an_original_that_comes_after_its_copy_is_no_replay(tmp_path: object) -> None:
    world = World(tmp_path, {0, 1, 3})
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=3))
    world.ask(0.2)
    (gap,) = world.ask(0.8)
    world.serve(gap, 0.9, world.kept(newest=3))
    late = world.run.records[world.run.of_stage("control")[2][0]]
    world.auditor.feed(late)
    assert world.auditor.findings.counts["attestation_replayed"] == 0
    world.auditor.feed(late)
    assert world.auditor.findings.counts["attestation_replayed"] == 1


def test_a_session_goes_on_from_the_log(tmp_path: object) -> None:
    world = World(tmp_path, set())
    for attestation in world.signed[:10]:
        world.auditor.recall(attestation)
    for index, _ in world.run.of_stage("control")[12:15]:
        world.auditor.feed(world.run.records[index])
    (chain,) = world.chains.values()
    assert [(gap.first, gap.last) for gap in chain.gaps] == [(10, 11)]
    assert world.auditor.findings.violations == 0


def test_the_begin_of_a_session_that_did_not_arrive_yet_accuses_nobody(tmp_path: Path) -> None:
    """A stage restarts and is heard late: its first outputs wait for the journal. One without attestation does not."""
    run = honest_run(5)
    run.write_registry(tmp_path / "registry")
    auditor = Auditor(
        Registry.open(tmp_path / "registry"),
        recorded=lambda topic: topic == "/wheel_command",
        live=True,
        catch_up=True,
    )
    for record in run.records:
        if record.topic.startswith("/wheel_command"):
            auditor.feed(record)
    old = run.sessions["control"]
    run.sessions["control"] = Session(
        robot=old.robot,
        stage=old.stage,
        node=old.node,
        model=old.model,
        runtime=old.runtime,
        signer=run.signers["control"],
    )
    now, unheard, bare = run.records[-1].received_ns + 10**9, [], []
    for record in honest_ticks(run, 40, now, 1 << 40):
        if record.topic == "/wheel_command/attestation" and len(unheard) < 3:
            unheard.append(decode_attestation(record.payload))
        elif record.topic.startswith("/wheel_command"):
            auditor.feed(record)
            if record.received_ns > now + 200_000_000 and not bare:
                bare = [Record("/wheel_command", "", b"\0\1\0\0" + bytes(24), record.received_ns)]
                auditor.feed(bare[0])
    auditor.advance(now + 10**11)
    assert auditor.findings.counts["output_not_attested"] == 1
    assert auditor.joiner.tallies["/wheel_command"].missing == 3
    for attestation in unheard:
        assert auditor.recover(attestation, now, 0)
    assert auditor.findings.violations == 1
    assert auditor.joiner.tallies["/wheel_command"].missing == 0


def test_what_found_no_room_in_the_log_is_asked_for_once_the_log_works(tmp_path: Path) -> None:
    world = World(tmp_path, set(range(10)))
    (first,) = world.ask(0.0)
    world.serve(first, 0.1, world.kept(newest=9))
    for sequence in (4, 6):
        world.catch_up.defer(world.signed[sequence].statement)
    world.catch_up.log_works = False
    assert world.ask(2.0) == []
    world.catch_up.log_works = True
    world.ask(2.1)
    (request,) = world.ask(3.0)
    assert (request.session, request.first, request.last) == (world.session, 4, 6)
    assert world.auditor.has_checked(world.signed[4])
    assert not world.auditor.has_checked(world.signed[12])  # never heard
    assert not world.auditor.has_checked(dataclasses.replace(world.signed[4], signature=bytes(64)))
    answer = Answer((world.kept(newest=9),), 1000, world.session, (world.signed[4], world.signed[5]), True)
    given = {a.statement.sequence: a is world.signed[4] for a in world.catch_up.answered(request, answer, 3.1)}
    world.catch_up.judged(request, answer, given, 3.1, world.chains)
    found = world.catch_up.findings()
    assert [(f.kind, f.sequence) for f in found] == [("attestation_recovered", 4), ("attestation_withheld", 6)]
    assert "found no room while the log could not be written" in found[0].message
    assert world.ask(5.0) == []
    world.catch_up.defer(world.signed[9].statement)
    assert [f.sequence for f in world.catch_up.finish(world.chains)] == [9]
