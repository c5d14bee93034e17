"""The HTTP service: the protocol of docs/reference/settlement_http.md, and who tries to get around it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fleet_robots import FLEET, FLEET_KEY, ORIGIN, Robot

from og_ros.aggregator import service
from og_ros.aggregator.admission import Logs, Rates, add_token, log_id, read_tokens
from og_ros.aggregator.database import SqliteDatabase
from og_ros.aggregator.intake import Intake
from og_ros.aggregator.service import Desk, make_app
from og_ros.aggregator.store import Store
from og_ros.errors import BackendUnreachable
from og_ros.log import parse_note, parse_proof, verify_consistency, verify_proof
from og_ros.settlement.consistency import parse_extra

testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed")


class Server:
    """The application over a store, asked as by one address."""

    def __init__(self, folder: Path, logs: Logs, rates: tuple[Rates, Rates, Rates], tokens: Path | None = None) -> None:
        self.database = SqliteDatabase(folder / "storage")
        self.store = Store(self.database, FLEET, ORIGIN, FLEET_KEY)
        self.intake = Intake(self.store, 100, lambda line: None)
        given = read_tokens(tokens) if tokens is not None else None
        self.desk = Desk(self.store, self.intake, logs, given, *rates)
        self.app = make_app(self.desk)
        self.client = testclient.TestClient(self.app)

    def post(self, note: bytes, **headers: str) -> Any:
        return self.client.post("/v1/checkpoints", content=note, headers=headers)

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def settle(self, receipt: str = "note") -> None:
        head = self.store.sign()
        assert head is not None
        self.store.settle(head.size, receipt)

    def close(self) -> None:
        self.intake.close()
        self.database.close()


def many() -> Rates:
    return Rates(1e6, 10**6)


@pytest.fixture
def serve(tmp_path: Path, logs: Logs) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(checkpoints: Rates | None = None, reads: Rates | None = None, peers: Rates | None = None,
              tokens: Path | None = None) -> Server:  # fmt: skip
        rates = (checkpoints or many(), reads or many(), peers or many())
        servers.append(Server(tmp_path / str(len(servers)), logs, rates, tokens))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def refused(answer: Any, status: int) -> str:
    assert answer.status_code == status
    (key,) = answer.json()
    assert key == "error"
    text: str = answer.json()["error"]
    assert "\n" not in text
    return text


def test_a_checkpoint_from_submitted_to_its_receipt(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    server, robot = serve(), fleet[0]
    name = sha256(parse_note(robot.note()).text.encode()).hexdigest()
    for _ in range(2):
        answer = server.post(robot.note())
        assert (answer.status_code, answer.json()) == (202, {"id": name, "status": "submitted"})
    for other in fleet[1:]:
        server.post(other.note())
    assert server.get(f"/v1/checkpoints/{name}").json() == {"id": name, "status": "submitted"}
    server.settle()
    told = server.get(f"/v1/checkpoints/{name}").json()
    assert told["status"] == "final"
    receipt = told["receipt"]
    assert (receipt["kind"], receipt["checkpoint"].encode()) == ("log", robot.note())
    covering = verify_proof(robot.note(), receipt["proof"], server.store.key)
    assert covering.size == 8
    assert server.post(robot.note()).json()["status"] == "final"
    assert parse_note(server.get("/checkpoint").text).text.startswith(f"{ORIGIN}\n8\n")


def test_each_receipt_proves_that_the_tree_only_grew_since_the_one_before(
    serve: Callable[..., Server], fleet: list[Robot]
) -> None:
    server, robot = serve(), fleet[5]
    proofs = []
    for round_number in range(3):
        for other in fleet[: 3 + round_number]:
            server.post(other.grow().note())
        name = server.post(robot.grow(2).note()).json()["id"]
        server.settle(json.dumps({"chain_id": round_number}))
        receipt = server.get(f"/v1/checkpoints/{name}").json()["receipt"]
        assert (receipt["kind"], receipt["name"]) == ("aggregate", FLEET)
        assert receipt["settlement"] == {"chain_id": round_number}
        proofs.append(parse_proof(receipt["proof"]))
    heads = [
        verify_proof(robot.note(size), proof, server.store.key) for size, proof in zip((3, 5, 7), proofs, strict=True)
    ]
    assert proofs[0].extra is None
    for before, after, proof in zip(heads, heads[1:], proofs[1:], strict=False):
        assert proof.extra is not None
        size, hashes = parse_extra(proof.extra)
        assert size == before.size
        verify_consistency(size, after.size, hashes, before.root, after.root)


def test_what_it_has_of_a_log(
    serve: Callable[..., Server], fleet: list[Robot], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, robot = serve(), fleet[0]
    names = [server.post(robot.grow().note()).json()["id"] for _ in range(3)]
    path = f"/v1/logs/{log_id(robot.origin).hex()}/checkpoints"
    listed = [
        {"id": name, "size": size, "root": robot.tree.root(size).hex()}
        for name, size in zip(names, (2, 3, 4), strict=True)
    ]
    assert server.get(path).json() == {"checkpoints": listed, "more": False}
    assert server.get(f"{path}?above=3").json() == {"checkpoints": listed[2:], "more": False}
    monkeypatch.setattr(service, "MAX_LISTED", 2)
    assert server.get(path).json() == {"checkpoints": listed[:2], "more": True}
    for above in ("x", "-1", "9" * 30, "\u0663"):
        refused(server.get(f"{path}?above={above}"), 400)
    refused(server.get(f"/v1/logs/{log_id('example.com/stranger').hex()}/checkpoints"), 404)


# ---- attacks: each by its name, and what it must be answered ---------------------------------------------------------


def test_attack_unauthenticated(serve: Callable[..., Server], fleet: list[Robot], tmp_path: Path) -> None:
    """No signature by a registered key, or no token of that very log, where tokens are asked for."""
    open_server = serve()
    assert "no key that is registered" in refused(open_server.post(Robot("example.com/stranger").grow().note()), 403)
    file = tmp_path / "tokens"
    own, other = add_token(file, fleet[0].origin), add_token(file, fleet[1].origin)
    server = serve(tokens=file)
    refused(server.post(fleet[0].note()), 401)
    refused(server.post(fleet[0].note(), authorization=f"Bearer {other}"), 401)
    name = server.post(fleet[0].note(), authorization=f"Bearer {own}").json()["id"]
    server.settle()
    refused(server.get(f"/v1/checkpoints/{name}"), 401)
    refused(server.get(f"/v1/checkpoints/{name}", authorization=f"Bearer {other}"), 401)
    refused(server.get(f"/v1/logs/{log_id(fleet[0].origin).hex()}/checkpoints"), 401)
    assert server.get(f"/v1/checkpoints/{name}", authorization=f"bearer {own}").status_code == 200
    assert server.store.size == 1


def test_attack_equivocation(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    """A robot shows the aggregator a second history: of the same size, and put back."""
    server = serve()
    server.post(fleet[0].grow(4).note())
    assert "forked" in refused(server.post(Robot(fleet[0].origin).grow(5, "other").note()), 409)
    assert "rewound" in refused(server.post(fleet[0].note(3)), 409)
    assert server.store.size == 1
    assert [fork.origin for fork in server.store.forks()] == [fleet[0].origin]


def test_attack_replay_of_an_old_checkpoint(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    """It moves nothing, and uses up the allowance of who sends it, not of the robot."""
    server = serve(checkpoints=Rates(1, 3), peers=Rates(1, 4))
    old = fleet[0].note()
    first = server.post(old).json()["id"]
    server.post(fleet[0].grow().note())
    for _ in range(4):
        assert server.post(old).json()["id"] == first
    assert int(server.post(old).headers["retry-after"]) >= 1
    refused(server.post(old), 429)
    server.desk.peers = many()  # the robot has another address
    assert server.post(fleet[0].grow().note()).status_code == 202
    assert server.store.size == 3


def test_attack_flood(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    """By a robot, by a stranger, by guesses of ids, and by questions about another's checkpoint."""
    server = serve(checkpoints=Rates(1, 2), reads=Rates(1, 3), peers=Rates(1, 5))
    assert [server.post(fleet[0].grow().note()).status_code for _ in range(4)] == [202, 202, 429, 429]
    name = server.post(fleet[1].note()).json()["id"]
    assert [server.get(f"/v1/checkpoints/{name}").status_code for _ in range(4)] == [200, 200, 200, 429]
    stranger = Robot("example.com/stranger").grow().note()
    assert [server.post(stranger).status_code for _ in range(3)] == [403] * 3
    assert [server.get(f"/v1/checkpoints/{n:064x}").status_code for n in range(3)] == [404, 404, 429]
    answer = server.post(stranger)
    assert [server.get(path).status_code for path in ("/checkpoint", "/healthz")] == [429, 429]
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert server.store.size == 3


def test_attack_bodies_without_bound(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    server = serve()
    note = fleet[0].note()
    refused(server.post(note + b"\xe2\x80\x94 " + b"x" * 40_000), 413)
    refused(server.client.post("/v1/checkpoints", content=iter([b"x" * 1024] * 1000)), 413)
    refused(server.post(note, **{"content-length": "-5"}), 413)
    refused(server.post(b""), 400)
    assert server.store.size == 0


def test_attack_a_body_that_never_ends(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BODY_S", 0.05)
    server = serve()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            await asyncio.sleep(5)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/checkpoints", "headers": [], "query_string": b"",
             "client": ("192.0.2.1", 1), "http_version": "1.1", "scheme": "http", "root_path": ""}  # fmt: skip
    asyncio.run(server.app(scope, receive, send))
    assert sent[0]["status"] == 408


IDS = ("1", "0" * 63 + "G", "A" * 64, "0" * 64)


@pytest.mark.parametrize("path", ["/", "/checkpoint", "/v1/logs/x/checkpoints", *(f"/v1/checkpoints/{i}" for i in IDS)])
def test_what_is_not_there(path: str, serve: Callable[..., Server]) -> None:
    assert serve().get(path).status_code == 404


def test_a_storage_that_is_away_is_503(serve: Callable[..., Server], fleet: list[Robot]) -> None:
    server = serve()
    assert server.get("/healthz").json() == {"fleet": FLEET}

    def away(*_: object) -> None:
        raise BackendUnreachable("PostgreSQL: gone, at db.internal")

    server.database.read = away  # type: ignore[method-assign,assignment]
    for answer in (server.get("/healthz"), server.post(fleet[0].note()), server.get(f"/v1/checkpoints/{'0' * 64}")):
        assert refused(answer, 503) == "the storage does not answer", "not where it is"
        assert answer.headers["retry-after"] == "5"
