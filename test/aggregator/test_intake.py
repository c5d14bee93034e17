"""Taking in: what a registered key signed, what grows, and no more often than agreed; the rest is told why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fleet_robots import FLEET, FLEET_KEY, ORIGIN, Robot, arrival, certify
from hypothesis import given
from hypothesis import strategies as st

from og_ros.aggregator.admission import Logs, Rates, Refusal, add_token, check_token, log_id, read_tokens
from og_ros.aggregator.database import SqliteDatabase
from og_ros.aggregator.intake import Intake
from og_ros.aggregator.process import RegistryWatch
from og_ros.aggregator.store import Accepted, Store
from og_ros.attest import SoftwareSigner, keys
from og_ros.errors import ConfigError, SettlementError
from og_ros.log import Checkpoint, MerkleTree, parse_note, sign_checkpoint
from og_ros.registry import RegistryWriter

NOW = 2 * 10**18


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    database = SqliteDatabase(tmp_path / "storage")
    yield Store(database, FLEET, ORIGIN, FLEET_KEY)
    database.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def take(store: Store, logs: Logs, said: list[str]) -> Iterator[Callable[[bytes], Accepted]]:
    """Hand a note in, as a request does."""
    intake = Intake(store, 100, said.append)
    yield lambda note: intake.submit(*logs.open(note, NOW)).result(10)
    intake.close()


def refusal(call: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as found:
        call()
    return found.value


def test_a_repeat_does_nothing_twice(take: Callable[[bytes], Accepted], store: Store, fleet: list[Robot]) -> None:
    first = take(fleet[0].note())
    later = take(fleet[0].grow(3).note())
    assert take(fleet[0].note()) == later
    assert take(fleet[0].note(1)) == first, "an old one, too"
    assert (store.size, later.number) == (2, 1)


def test_a_fork_is_refused_and_kept_as_evidence(
    take: Callable[[bytes], Accepted], store: Store, fleet: list[Robot], said: list[str]
) -> None:
    honest, other = fleet[0], Robot(fleet[0].origin).grow(1, "other")
    take(honest.note())
    found = refusal(lambda: take(other.note()))
    assert (found.status, "forked" in found.text) == (409, True)
    (kept,) = store.forks()
    notes = [parse_note(note) for note in (kept.accepted, kept.refused)]
    for note in notes:
        note.verify(honest.vkey)
    assert notes[0].text != notes[1].text
    assert said == [f"log {honest.origin}: signed two checkpoints of one size with different roots"]
    assert store.size == 1


def test_a_rewind_is_refused(take: Callable[[bytes], Accepted], store: Store, fleet: list[Robot]) -> None:
    take(fleet[0].grow(9).note())
    found = refusal(lambda: take(fleet[0].note(4)))
    assert (found.status, "rewound" in found.text) == (409, True)
    assert store.size == 1


def test_what_comes_at_once_goes_into_one_commit(store: Store, logs: Logs, fleet: list[Robot]) -> None:
    """Two of one log in a batch are held against each other; one whose sender is gone is not stored."""
    commits: list[int] = []
    started, go = threading.Event(), threading.Event()
    append = store.append

    def slow(arrivals: list[object], forks: list[object]) -> list[Accepted]:
        commits.append(len(arrivals))
        started.set()
        assert go.wait(10)
        return append(arrivals, forks)  # type: ignore[arg-type]

    store.append = slow  # type: ignore[method-assign,assignment]
    intake = Intake(store, 9, lambda line: None)
    futures: list[Future[Accepted]] = [intake.submit(*logs.open(fleet[0].note(), NOW))]
    assert started.wait(10)
    futures += [intake.submit(*logs.open(robot.note(), NOW)) for robot in fleet[1:6]]
    futures.append(intake.submit(*logs.open(fleet[1].grow().note(), NOW)))
    futures.append(intake.submit(*logs.open(Robot(fleet[1].origin).grow(2, "other").note(), NOW)))
    gone = intake.submit(*logs.open(fleet[6].note(), NOW))
    assert gone.cancel()
    intake.submit(*logs.open(fleet[7].note(), NOW))
    assert refusal(lambda: intake.submit(*logs.open(fleet[7].note(), NOW))).status == 503, "no more may wait"
    go.set()
    intake.close()
    assert commits == [1, 6, 1, 0], "the fork comes in the last"
    assert [one.result().number for one in futures[:7]] == [0, 1, 2, 3, 4, 5, 7]
    assert refusal(futures[7].result).status == 409
    assert store.size == 8


def test_a_storage_that_fails_is_told_and_asked_again(
    store: Store, logs: Logs, fleet: list[Robot], said: list[str]
) -> None:
    """Whether the failed commit went through is not known: what it was is found by asking."""
    append = store.append

    def through_but_unheard(arrivals: object, forks: object) -> list[Accepted]:
        append(arrivals, forks)  # type: ignore[arg-type]
        raise SettlementError("the disk failed while confirming")

    store.append = through_but_unheard  # type: ignore[method-assign]
    intake = Intake(store, 9, said.append)
    first = logs.open(fleet[0].note(), NOW)
    found = refusal(lambda: intake.submit(*first).result(10))
    assert (found.status, found.retry_after_s) == (503, 5.0)
    store.append = append  # type: ignore[method-assign]
    assert intake.submit(*first).result(10).number == 0
    assert intake.submit(*logs.open(fleet[1].note(), NOW)).result(10).number == 1
    intake.close()
    assert said == ["the disk failed while confirming", "the storage answers again"]


def _signed_by_another(robot: Robot) -> bytes:
    return sign_checkpoint(Checkpoint(robot.origin, 1, robot.tree.root()), Ed25519PrivateKey.generate()).encode()


def _signature_of_another(robot: Robot) -> bytes:
    text, _, tail = robot.note().decode().partition("\n\n")
    other = Robot(robot.origin).grow(2).note().decode().partition("\n\n")[2]
    assert tail != other
    return f"{text}\n\n{other}".encode()


def _another_origin(robot: Robot) -> bytes:
    return sign_checkpoint(Checkpoint("example.com/robot-1", 1, robot.tree.root()), robot.key).encode()


BAD: dict[str, tuple[Callable[[Robot], bytes], int]] = {
    "nothing": (lambda r: b"", 400),
    "no-note": (lambda r: b"hello\n", 400),
    "not-utf-8": (lambda r: b"\xff" + r.note(), 400),
    "no-checkpoint": (lambda r: r.note().replace(b"\n1\n", b"\nmany\n"), 400),
    "empty-log": (lambda r: Robot(r.origin, MerkleTree()).note(), 400),
    "unknown-log": (lambda r: Robot("example.com/stranger").grow().note(), 403),
    "key-of-another": (_signed_by_another, 403),
    "signature-of-another": (_signature_of_another, 403),
    "in-another-name": (_another_origin, 403),
    "altered": (lambda r: r.note().replace(b"\n1\n", b"\n2\n"), 403),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_registered_key_signed_is_refused(name: str, logs: Logs, fleet: list[Robot]) -> None:
    make, status = BAD[name]
    assert refusal(lambda: logs.open(make(fleet[0]), NOW)).status == status


def test_a_key_counts_from_its_certificate_to_its_revocation(tmp_path: Path, fleet: list[Robot]) -> None:
    with RegistryWriter.create(tmp_path / "r", SoftwareSigner(keys.generate()), "fleet") as writer:
        key = fleet[0].key.public_key()
        writer.certify_key(key, role="log", origin=fleet[0].origin, not_before_ns=100)
        assert Logs(writer.registry.keys.values()).open(fleet[0].note(), 100)
        assert refusal(lambda: Logs(writer.registry.keys.values()).open(fleet[0].note(), 99)).status == 403
        writer.revoke_key(keys.key_id(key), "stolen", at_ns=200)
        assert Logs(writer.registry.keys.values()).open(fleet[0].note(), 199)
        found = refusal(lambda: Logs(writer.registry.keys.values()).open(fleet[0].note(), 200))
        assert (found.status, "revoked" in found.text) == (403, True)


@given(data=st.data())
def test_an_altered_note_is_never_taken(data: st.DataObject, logs: Logs) -> None:
    note = Robot("example.com/robot-0").grow(300).note()
    at = data.draw(st.integers(0, len(note) - 1))
    changed = note[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda v: v != note[at]))]) + note[at + 1 :]
    try:
        _, found = logs.open(changed, NOW)
    except Refusal:
        return
    assert parse_note(changed).text == parse_note(note).text, "only a signature line that is another's may differ"
    assert found.note == changed


def test_an_arrival_is_named_by_its_text(logs: Logs, fleet: list[Robot]) -> None:
    plain = arrival(logs, fleet[0].note())
    cosigned = parse_note(fleet[0].note())
    more = arrival(logs, cosigned.with_signature(replace(cosigned.signatures[0], name="witness")).format().encode())
    assert plain.id == more.id
    assert plain.note != more.note


def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first, other = add_token(file, "example.com/robot-0"), add_token(file, "example.com/robot-1")
    second = add_token(file, "example.com/robot-0")
    tokens = read_tokens(file)
    assert second not in file.read_text()
    log = log_id("example.com/robot-0")
    check_token(tokens, log, f"Bearer {second}")
    check_token(None, log, "")
    for wrong in ("", "Bearer", f"Basic {second}", f"Bearer {first}", f"Bearer {other}", f"Bearer {second}x"):
        assert refusal(lambda wrong=wrong: check_token(tokens, log, wrong)).status == 401
    assert refusal(lambda: check_token(tokens, log_id("example.com/robot-2"), f"Bearer {second}")).status == 401
    for line in ("nonsense", "example.com/a sha256:00", f"example.com/a md5:{'0' * 64}", f" sha256:{'0' * 64}"):
        file.write_text(line)
        with pytest.raises(ConfigError, match=r"tokens:1"):
            read_tokens(file)


def test_rates_are_kept_by_name_and_forget_the_least_used() -> None:
    now = [0.0]
    rates = Rates(60, 2, names=2, clock=lambda: now[0])
    assert [rates.take("a"), rates.take("a")] == [0, 0]
    assert rates.take("a") == pytest.approx(1.0)
    assert rates.take("b") == 0
    now[0] = 0.5
    assert rates.wait_s("a") == pytest.approx(0.5)
    now[0] = 1.0
    assert rates.take("a") == 0
    assert rates.take("a") > 0
    rates.take("c")
    assert len(rates._buckets) == 2, "b was used least"
    now[0] = 1000.0
    assert [rates.take("a") > 0 for _ in range(3)] == [False, False, True], "never more than the burst"


def test_a_registry_with_a_robot_more(tmp_path: Path, fleet: list[Robot], said: list[str]) -> None:
    with RegistryWriter.create(tmp_path / "r", SoftwareSigner(keys.generate()), "fleet") as writer:
        watch = RegistryWatch(tmp_path / "r", writer.registry.fingerprint)
        assert refusal(lambda: watch.refreshed(said.append).open(fleet[0].note(), NOW)).status == 403
        writer.certify_key(fleet[0].key.public_key(), role="log", origin=fleet[0].origin, not_before_ns=1)
        known = watch.refreshed(said.append)
        assert known.open(fleet[0].note(), NOW)
    certify(tmp_path / "other", fleet)
    (tmp_path / "r").rename(tmp_path / "gone")
    assert watch.refreshed(said.append) is watch.refreshed(said.append) is known
    (tmp_path / "other").rename(tmp_path / "r")
    assert watch.refreshed(said.append) is known
    assert ["No such file" in said[0], "pinned" in said[1], len(said)] == [True, True, 2]
