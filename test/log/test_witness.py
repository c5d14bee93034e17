"""A cosigning witness: the rules of C2SP tlog-witness by status code, what it remembers, and its HTTP face."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from witnesses import Served, witness_key, witness_name, witness_secret

from og_ros.errors import ConfigError, LogError
from og_ros.log import Checkpoint, MerkleTree, VerifierKey, open_checkpoint, parse_note, sign_checkpoint, witness_server
from og_ros.log.cosignature import cosignatures
from og_ros.log.witness import Answer, Witness
from og_ros.log.witness_protocol import MAX_REQUEST, SIZE_TYPE, AddCheckpoint, parse_request
from og_ros.log.witness_state import WitnessState, origin_id

ORIGIN = "example.com/robot-7"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = VerifierKey.of(ORIGIN, KEY)
TREE = MerkleTree(b"leaf %d" % n for n in range(40))
OTHER = MerkleTree(b"other leaf %d" % n for n in range(40))


def request(old: int, size: int, tree: MerkleTree = TREE, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN) -> bytes:
    note = sign_checkpoint(Checkpoint(origin, size, tree.root(size)), key)
    proof = tree.consistency_proof(old, size) if old <= size else []
    return AddCheckpoint(old, tuple(proof), note).format()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WitnessState]:
    made = WitnessState(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def ask(state: WitnessState, said: list[str]) -> Callable[[bytes], Answer]:
    return Witness(witness_name(1), witness_secret(1), [LOG], state, said.append).add_checkpoint


def test_a_growing_log_is_cosigned(ask: Callable[[bytes], Answer], state: WitnessState) -> None:
    for old, size in ((0, 0), (0, 7), (7, 7), (7, 8), (8, 40)):
        answer = ask(request(old, size))
        assert answer.status == HTTPStatus.OK
        note = parse_note(_note(size) + answer.body.decode())
        (found,), bad = cosignatures(note, [witness_key(1)])
        assert not bad
        assert abs(found.time_s - time.time()) < 60
        head = state.head(ORIGIN)
        assert head is not None
        assert (head.size, head.root) == (size, TREE.root(size))


def _note(size: int) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, size, TREE.root(size)), KEY)


def test_the_status_codes_are_those_of_the_specification(
    ask: Callable[[bytes], Answer], state: WitnessState, said: list[str]
) -> None:
    assert ask(request(0, 20)).status == HTTPStatus.OK
    stranger = Ed25519PrivateKey.generate()
    good = request(20, 30)
    for body, status in (
        (request(0, 30, origin="example.com/unknown"), HTTPStatus.NOT_FOUND),
        (request(20, 30, key=stranger), HTTPStatus.FORBIDDEN),
        (request(30, 20), HTTPStatus.BAD_REQUEST),
        (b"", HTTPStatus.BAD_REQUEST),
        (good.replace(b"old 20", b"old 020"), HTTPStatus.BAD_REQUEST),
        (good.replace(b"old 20", b"new 20"), HTTPStatus.BAD_REQUEST),
        (good.replace(b"\n\n", b"\n", 1), HTTPStatus.BAD_REQUEST),
        (good[:-3], HTTPStatus.BAD_REQUEST),
        (good.replace(b"old 20\n", b"old 20\nAAAA\n"), HTTPStatus.BAD_REQUEST),
        (good.replace(b"old 20\n", b"old 20\n" + b"A" * 43 + b"=\n"), HTTPStatus.UNPROCESSABLE_ENTITY),
        (b"old 20\n" + (b"A" * 43 + b"=\n") * 64 + b"\n" + _note(30).encode(), HTTPStatus.BAD_REQUEST),
        (good + b"x" * MAX_REQUEST, HTTPStatus.BAD_REQUEST),
        (request(20, 30, OTHER), HTTPStatus.UNPROCESSABLE_ENTITY),
    ):
        assert ask(body).status == status, body[:80]
    for body in (request(0, 30), request(19, 30), request(20, 20, OTHER), request(10, 10), request(0, 20, OTHER)):
        answer = ask(body)
        assert (answer.status, answer.content_type, answer.body) == (HTTPStatus.CONFLICT, SIZE_TYPE, b"20\n")
    head = state.head(ORIGIN)
    assert head is not None
    assert head.size == 20, "nothing of all this moved it"
    assert ask(good).status == HTTPStatus.OK
    assert len([line for line in said if "two roots at 20 leaves" in line]) == 2


def test_what_contradicts_is_kept_as_evidence(
    ask: Callable[[bytes], Answer], state: WitnessState, said: list[str]
) -> None:
    ask(request(0, 20))
    ask(request(20, 20, OTHER))
    ask(request(20, 20, OTHER))
    ask(request(20, 31, OTHER))
    for kind, size in (("forks", 20), ("unproven", 31)):
        (file,) = (state.directory / kind / origin_id(ORIGIN)[:16]).iterdir()
        head = open_checkpoint(file.read_bytes(), LOG)
        assert (head.size, head.root) == (size, OTHER.root(size))
        assert any(str(file) in line for line in said)


def test_a_forger_does_not_fill_the_disk(ask: Callable[[bytes], Answer], state: WitnessState) -> None:
    ask(request(0, 1))
    folder = state.directory / "forks" / origin_id(ORIGIN)[:16]
    folder.mkdir(parents=True)
    for number in range(100):
        (folder / f"{number}").touch()
    assert ask(request(1, 1, OTHER)).status == HTTPStatus.CONFLICT
    assert len(list(folder.iterdir())) == 100


def test_lines_that_nobody_checked_do_not_spoil_what_is_kept(
    ask: Callable[[bytes], Answer], state: WitnessState
) -> None:
    junk = "".join(f"— {name} {'A' * 7}{n % 10}\n" for n in range(45) for name in (ORIGIN, "example.com/x"))
    body = request(0, 5).decode()
    text, _, line = body.rpartition("\n\n")
    assert ask(f"{text}\n\n{junk}{line}".encode()).status == HTTPStatus.OK
    head = state.head(ORIGIN)
    assert head is not None
    assert open_checkpoint(head.note, LOG).size == 5
    assert len(parse_note(head.note).signatures) == 9


def test_it_remembers_after_a_restart(tmp_path: Path) -> None:
    for old, size, status in ((0, 9, 200), (9, 12, 200), (9, 15, 409), (12, 15, 200)):
        state = WitnessState(tmp_path / "state")
        assert Witness("w", witness_secret(1), [LOG], state).add_checkpoint(request(old, size)).status == status
        state.close()


def test_of_two_at_once_one_wins(state: WitnessState, ask: Callable[[bytes], Answer]) -> None:
    second = WitnessState(state.directory)  # another process on the same state
    other = Witness(witness_name(1), witness_secret(1), [LOG], second).add_checkpoint
    ask(request(0, 5))
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit((ask, other)[n % 2], request(5, 10 + n)) for n in range(16)]
        statuses = [job.result().status for job in jobs]
    second.close()
    assert sorted(statuses) == [200, *[409] * 15]
    head = state.head(ORIGIN)
    assert head is not None
    assert head.size == 10 + statuses.index(HTTPStatus.OK)


def test_its_database_refuses_to_go_back(state: WitnessState, ask: Callable[[bytes], Answer]) -> None:
    ask(request(0, 20))
    with sqlite3.connect(state.directory / "witness.db") as database:
        for statement in ("DELETE FROM heads", "UPDATE heads SET size = 3", "UPDATE heads SET root = zeroblob(32)"):
            with pytest.raises(sqlite3.IntegrityError):
                database.execute(statement)
        database.execute("DROP TRIGGER heads_only_grow")
    with pytest.raises(LogError, match="schema was altered"):
        WitnessState(state.directory)


def test_a_state_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "witness.db").write_bytes(b"no database" * 1000)
    with pytest.raises(LogError, match="cannot"):
        WitnessState(tmp_path)
    with pytest.raises(LogError, match="cannot be made"):
        WitnessState(tmp_path / "witness.db" / "below")


def test_nobody_witnesses_himself(state: WitnessState) -> None:
    with pytest.raises(LogError, match="nobody witnesses himself"):
        Witness("w", KEY, [LOG], state)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_mutated_request_escapes(data: st.DataObject) -> None:
    body = request(20, 30)
    place = data.draw(st.integers(0, len(body)))
    mutant = body[:place] + data.draw(st.binary(max_size=3)) + body[place + data.draw(st.integers(0, 4)) :]
    with contextlib.suppress(LogError):
        assert parse_request(mutant).format() == mutant


# ---- over HTTP -------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    one = Served(1, [LOG], tmp_path / "served")
    yield one
    one.close()


def exchange(served: Served, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_it_answers_over_http(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    kept = None
    for old, size, status in ((0, 5, 200), (5, 6, 200), (5, 6, 409)):  # one connection, kept alive
        connection.request("POST", "/add-checkpoint", request(old, size))
        response = connection.getresponse()
        body = response.read()
        assert response.status == status
        kept = kept or connection.sock
        assert connection.sock is kept
    assert (response.getheader("Content-Type"), body) == (SIZE_TYPE, b"6\n")
    connection.close()
    origin = hashlib.sha256(ORIGIN.encode()).hexdigest()
    status, note = exchange(served, "GET", f"/checkpoint/{origin}")
    assert status == 200
    assert open_checkpoint(note, LOG).size == 6
    assert len(cosignatures(parse_note(note), [witness_key(1)])[0]) == 1


def test_it_takes_nothing_else(served: Served) -> None:
    assert exchange(served, "GET", "/")[0] == 404
    assert exchange(served, "GET", "/checkpoint/" + "0" * 64)[0] == 404
    assert exchange(served, "GET", f"/checkpoint/{origin_id(ORIGIN)}")[0] == 404, "nothing was cosigned yet"
    assert exchange(served, "POST", "/add-entry", b"x")[0] == 404
    assert exchange(served, "PUT", "/add-checkpoint", b"x")[0] == 501
    assert exchange(served, "POST", "/add-checkpoint", b"x" * 10, **{"Content-Length": str(MAX_REQUEST + 1)})[0] == 413
    for headers in ({"Transfer-Encoding": "chunked"}, {"Content-Length": "-1"}, {"Content-Length": "1_0"}):
        assert exchange(served, "POST", "/add-checkpoint", b"0\r\n\r\n", **headers)[0] == 411
    assert exchange(served, "POST", "/add-checkpoint", request(0, 5))[0] == 200


def test_who_drags_on_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_server, "REQUEST_S", 0.6)
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.settimeout(10)
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011, PT012  a reset or a broken pipe, some time
            while time.monotonic() < began + 8:
                slow.sendall(b"o")
                time.sleep(0.05)
        assert time.monotonic() < began + 8
    assert exchange(served, "POST", "/add-checkpoint", request(0, 5))[0] == 200


def test_only_so_many_connections_are_held(served: Served) -> None:
    held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(witness_server.MAX_CONNECTIONS)]
    time.sleep(0.3)
    with pytest.raises((OSError, http.client.HTTPException)):
        exchange(served, "GET", "/")
    for one in held:
        one.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            assert exchange(served, "GET", "/")[0] == 404
            break
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < deadline


def test_an_address_that_cannot_be_had(served: Served) -> None:
    with pytest.raises(ConfigError, match="cannot serve"):
        witness_server.WitnessServer(served.witness, port=served.port, host="256.0.0.1")
    with pytest.raises(ConfigError, match="prefix"):
        witness_server.WitnessServer(served.witness, prefix="w1")
