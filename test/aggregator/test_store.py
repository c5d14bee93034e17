"""The storage of an aggregator, SQLite and PostgreSQL alike: an append-only tree that a restart does not change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fleet_robots import FLEET, FLEET_KEY, ORIGIN, Robot, arrival
from postgres import Postgres

from og_ros.aggregator.admission import Logs, log_id
from og_ros.aggregator.database import PostgresDatabase, connect
from og_ros.aggregator.store import Accepted, Fork, Store
from og_ros.errors import BackendUnreachable, OgError, SettlementError
from og_ros.log import MerkleTree, leaf_hash, open_checkpoint, verify_consistency, verify_inclusion

OpenStore = Callable[[], Store]


def hand_in(store: Store, logs: Logs, robots: list[Robot]) -> list[Accepted]:
    return store.append([arrival(logs, robot.note()) for robot in robots])


def test_the_tree_is_that_of_rfc_6962_and_outlives_restarts(
    open_store: OpenStore, logs: Logs, fleet: list[Robot]
) -> None:
    store = open_store()
    reference = MerkleTree()
    assert store.sign() is None
    for round_number in range(1, 80):  # past two full tiles of 256
        for robot in fleet:
            robot.grow()
        found = hand_in(store, logs, fleet)
        assert [one.number for one in found] == list(range(reference.size, reference.size + len(fleet)))
        for one in found:
            reference.append(one.note)
        if round_number % 20 == 0:
            head = store.sign()
            assert head is not None
            assert (head.size, head.root) == (reference.size, reference.root())
            assert open_checkpoint(head.note, store.key).root == reference.root()
            assert store.sign() == head, "nothing came since"
            store = open_store()
    assert store.size == reference.size == 632
    for number, size in ((0, 632), (255, 400), (256, 632), (631, 632), (511, 512)):
        leaf = leaf_hash(store.notes(number, number + 1)[0])
        verify_inclusion(leaf, number, size, store.inclusion(number, size), reference.root(size))
    for first, second in ((1, 632), (160, 320), (255, 256), (320, 632)):
        proof = store.consistency(first, second)
        verify_consistency(first, second, proof, reference.root(first), reference.root(second))


def test_what_is_found_of_a_log(open_store: OpenStore, logs: Logs, fleet: list[Robot]) -> None:
    store = open_store()
    robot = fleet[3]
    made = [
        *hand_in(store, logs, fleet),
        *hand_in(store, logs, [robot.grow(4)]),
        *hand_in(store, logs, [robot.grow(4)]),
    ]
    own = [one for one in made if one.log == log_id(robot.origin)]
    store = open_store()
    assert [one.size for one in own] == [1, 5, 9]
    assert store.find(own[1].id) == own[1]
    assert store.find(bytes(32)) is None
    assert store.newest_of(own[0].log) == own[2]
    assert store.of_size(own[0].log, 5) == own[1]
    assert store.of_size(own[0].log, 6) is None
    assert store.above(own[0].log, 1, 1) == [own[1]]
    assert store.above(own[0].log, 0, 9) == own
    counts = store.counts()
    assert (counts.logs, counts.size, counts.settled) == (8, 10, 0)


def test_receipts_come_in_order_and_stay(open_store: OpenStore, logs: Logs, fleet: list[Robot]) -> None:
    store = open_store()
    first = hand_in(store, logs, fleet[:4])
    store.sign()
    second = hand_in(store, logs, [fleet[0].grow(), *fleet[4:]])
    store.sign()
    assert store.covering(0) is None
    store.settle(4, "first")
    store.settle(9, "second")
    store.settle(4, "another")
    store = open_store()
    covering = store.covering(3)
    assert covering is not None
    assert (covering[0].size, covering[1]) == (4, "first")
    covering = store.covering(4)
    assert covering is not None
    assert (covering[0].size, covering[1]) == (9, "second")
    assert store.covering(9) is None
    assert store.settled == 9
    assert store.size_before(second[0]) == 4
    assert store.size_before(first[0]) == store.size_before(second[1]) == 0


def test_a_contradiction_is_kept_once(open_store: OpenStore, logs: Logs, fleet: list[Robot]) -> None:
    store = open_store()
    fork = Fork(bytes(32), "example.com/robot-0", b"a", b"b", 5)
    store.append([], [fork, fork])
    store.append([], [Fork(bytes(32), "example.com/robot-0", b"a", b"c", 6)])
    assert open_store().forks() == [fork]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE checkpoints SET size = 9",
        "DELETE FROM checkpoints",
        "UPDATE heads SET note = ''",
        "DELETE FROM receipts",
    ],
)
def test_rows_only_come(statement: str, storage: str, open_store: OpenStore, logs: Logs, fleet: list[Robot]) -> None:
    store = open_store()
    hand_in(store, logs, fleet)
    store.sign()
    store.settle(8, "r")
    with pytest.raises(OgError, match="only grow"):
        store._database.write((statement, [()]))
    assert store.size == 8


def test_one_aggregator_writes(storage: str, open_store: OpenStore) -> None:
    open_store()
    with pytest.raises(SettlementError, match="another aggregator"):
        connect(storage, Path("/"))
    reader = Store(connect(storage, Path("/"), read_only=True))
    assert (reader.name, reader.origin) == (FLEET, ORIGIN)


def test_a_failed_append_leaves_nothing_and_the_next_one_goes_on(
    open_store: OpenStore, logs: Logs, fleet: list[Robot]
) -> None:
    store = open_store()
    hand_in(store, logs, fleet[:2])
    twice = arrival(logs, fleet[2].note())
    with pytest.raises(OgError):
        store.append([twice, twice])
    assert store.size == 2
    assert [one.number for one in hand_in(store, logs, fleet[2:])] == [2, 3, 4, 5, 6, 7]


def test_another_fleets_storage_is_refused(storage: str, open_store: OpenStore) -> None:
    store = open_store()
    with pytest.raises(SettlementError, match="holds the log"):
        Store(store._database, "fleet-b", ORIGIN, FLEET_KEY)
    with pytest.raises(SettlementError, match="holds the log"):
        Store(store._database, FLEET, "example.com/other", FLEET_KEY)


def test_a_storage_that_was_put_back_is_refused(tmp_path: Path, logs: Logs, fleet: list[Robot]) -> None:
    """The leaves are those of an older backup, the signed checkpoint is newer."""
    database = connect("storage", tmp_path)
    store = Store(database, FLEET, ORIGIN, FLEET_KEY)
    hand_in(store, logs, fleet)
    head = store.sign()
    assert head is not None
    database.write(("INSERT INTO heads VALUES (?, ?, ?, ?)", [(9, head.root, 1, head.note)]))
    with pytest.raises(SettlementError, match="does not have the 9 leaves"):
        Store(database, FLEET, ORIGIN, FLEET_KEY)
    database.close()


def test_postgresql_crashes_and_comes_back(postgres: Postgres, logs: Logs, fleet: list[Robot]) -> None:
    database = PostgresDatabase(postgres.url("crash"))
    store = Store(database, FLEET, ORIGIN, FLEET_KEY)
    hand_in(store, logs, fleet[:4])
    postgres.stop()
    for attempt in (lambda: store.size, lambda: hand_in(store, logs, fleet[4:])):
        with pytest.raises(BackendUnreachable, match="PostgreSQL"):
            attempt()
    postgres.start()
    assert [one.number for one in hand_in(store, logs, fleet[4:])] == [4, 5, 6, 7]
    assert store.size == 8
    database.close()


def test_a_session_that_was_cut_off_does_not_write_beside_its_successor(
    postgres: Postgres, logs: Logs, fleet: list[Robot]
) -> None:
    """The lock is the session's: who lost it cannot append with what it remembers."""
    import psycopg

    url = postgres.url("cut")
    store = Store(PostgresDatabase(url), FLEET, ORIGIN, FLEET_KEY)
    hand_in(store, logs, fleet[:2])
    with psycopg.connect(url, autocommit=True) as other:
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname='cut' AND pid <> pg_backend_pid()"
        )
        other.execute(query)
    successor = Store(PostgresDatabase(url), FLEET, ORIGIN, FLEET_KEY)
    hand_in(successor, logs, fleet[2:4])
    for _ in range(2):
        with pytest.raises(BackendUnreachable):
            hand_in(store, logs, fleet[4:])
    assert successor.size == 4
    successor._database.close()
    assert [one.number for one in hand_in(store, logs, fleet[4:])] == [4, 5, 6, 7], "it asks what is there"
    store._database.close()
