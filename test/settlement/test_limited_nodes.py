"""Nodes that limit what they answer, what they call finalized, and contracts of other code, over JSON-RPC."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from settlement_place import ROBOT, Place
from settler_run import Run

from og_ros.audit.settled import SettlementEvidence, check
from og_ros.errors import BackendUnreachable, SettlementError
from og_ros.log import Ledger
from og_ros.settlement import receipt
from og_ros.settlement.evm_chain import EvmChain
from og_ros.settlement.rpc import Rpc

Grow = Callable[[int], None]
Answer = Callable[[str, list[Any]], Any]


class Front:
    """A node in front of another: what `answer` returns it says, for None it asks the one behind."""

    def __init__(self, behind: Rpc, answer: Answer) -> None:
        front = self
        self.asked: list[tuple[str, list[Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                method, parameters = request["method"], request["params"]
                front.asked.append((method, parameters))
                told = answer(method, parameters)
                reply = told if told is not None else {"result": behind.call(method, *parameters)}
                data = json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def front(place: Place) -> Iterator[Callable[[Answer], Front]]:
    made: list[Front] = []

    def make(answer: Answer) -> Front:
        made.append(Front(place.node.rpc, answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def limit(blocks: int, error: dict[str, Any]) -> Answer:
    """Refuse questions for events of more than so many blocks."""

    def answer(method: str, parameters: list[Any]) -> Any:
        if method != "eth_getLogs":
            return None
        span = int(parameters[0]["toBlock"], 16) - int(parameters[0]["fromBlock"], 16) + 1
        return {"error": error} if span > blocks else None

    return answer


@pytest.fixture
def settled(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> Iterator[Run]:
    """Checkpoints of 2 and 5 leaves, 40 blocks apart."""
    run = Run(ledger, tmp_path, [place.backend()])
    grow(2)
    run.until("2 final")
    place.node.mine(40)
    grow(3)
    run.until("2 final", "5 final")
    yield run
    run.outbox.close()


LIMITS = [
    {"code": -32602, "message": "block range is too wide"},
    {"code": -32005, "message": "query returned more than 10000 results"},
    {"code": -32000, "message": "exceed maximum block range: 7"},
]


@pytest.mark.parametrize("error", LIMITS, ids=["range", "results", "maximum"])
def test_a_node_that_limits_ranges_is_asked_in_pages(
    place: Place, settled: Run, front: Callable[[Answer], Front], error: dict[str, Any]
) -> None:
    node = front(limit(7, error))
    chain = EvmChain(Rpc(node.url), place.contract)
    name = chain.name(place.operator.address, ROBOT)
    assert [event.entry.size for event in chain.events(name)] == [2, 5]
    asked = [(int(p[0]["fromBlock"], 16), int(p[0]["toBlock"], 16)) for m, p in node.asked if m == "eth_getLogs"]
    taken = [(first, last) for first, last in asked if last - first < 7]
    assert taken[0][0] == 0
    assert all(before[1] + 1 == after[0] for before, after in pairwise(taken)), "no block twice"
    assert taken[-1][1] == place.node.rpc.number("eth_blockNumber")
    last = len(taken) + 10
    assert len(asked) < last, "once it knows the limit it keeps to it"


def test_what_a_node_never_answers_is_told(place: Place, settled: Run, front: Callable[[Answer], Front]) -> None:
    chain = EvmChain(Rpc(front(limit(0, LIMITS[0])).url), place.contract)
    with pytest.raises(SettlementError, match="too wide"):
        chain.events(chain.name(place.operator.address, ROBOT))

    def far(method: str, parameters: list[Any]) -> Any:
        return {"result": hex(10**9)} if method == "eth_blockNumber" else limit(9, LIMITS[0])(method, parameters)

    chain = EvmChain(Rpc(front(far).url), place.contract)
    with pytest.raises(BackendUnreachable, match=r"fewer than .* blocks at once"):
        chain.events(chain.name(place.operator.address, ROBOT))


def test_the_audit_asks_from_the_first_receipts_block_on(
    place: Place, settled: Run, ledger: Ledger, front: Callable[[Answer], Front]
) -> None:
    node = front(lambda method, parameters: None)
    receipts = [receipt.from_json(row.receipt, "r") for row in settled.outbox.rows("evm")]
    chain = EvmChain(Rpc(node.url), place.contract)
    found = check(SettlementEvidence(ROBOT, receipts, chain, finality=1), ledger, None)
    assert not found.findings
    (asked,) = [p[0] for m, p in node.asked if m == "eth_getLogs"]
    assert int(asked["toBlock"], 16) - int(asked["fromBlock"], 16) == 41
    forged = [receipts[0].__class__(receipts[0].entry, b"", b"", None), receipts[1]]
    check(SettlementEvidence(ROBOT, forged, chain, finality=1), ledger, None)
    assert [p[0]["fromBlock"] for m, p in node.asked if m == "eth_getLogs"][-1] == "0x0"


def test_final_is_what_the_node_calls_finalized(place: Place, ledger: Ledger, grow: Grow, tmp_path: Path) -> None:
    """anvil finalises a block once it is 64 deep, as two epochs of Ethereum are."""
    run = Run(ledger, tmp_path, [place.backend(finality=None)])
    grow(2)
    run.until("2 included")
    place.node.mine(40)
    run.settler.step()
    assert run.levels() == ["2 included"]
    place.node.mine(40)
    run.until("2 final")
    one = receipt.from_json(run.outbox.rows("evm")[0].receipt, "r")
    evidence = SettlementEvidence(ROBOT, [one], place.chain, finality=None)
    assert not check(evidence, ledger, None).findings
    run.outbox.close()


@pytest.mark.parametrize("told", [None, {"number": "0x0"}], ids=["no-such-tag", "genesis"])
def test_a_node_without_finality_leaves_it_included(
    place: Place, settled: Run, front: Callable[[Answer], Front], told: Any
) -> None:
    def answer(method: str, parameters: list[Any]) -> Any:
        asks = method == "eth_getBlockByNumber" and parameters[0] == "finalized"
        return {"result": told} if asks else None

    chain = EvmChain(Rpc(front(answer).url), place.contract)
    assert not chain.is_final(place.node.rpc.number("eth_blockNumber"), None)
    assert place.chain.is_final(1, None) == (place.node.rpc.number("eth_blockNumber") > 64)


def test_a_contract_of_other_code_is_told(
    place: Place, settled: Run, ledger: Ledger, front: Callable[[Answer], Front]
) -> None:
    receipts = [receipt.from_json(row.receipt, "r") for row in settled.outbox.rows("evm")]
    code = place.node.rpc.call("eth_getCode", place.contract, "latest")
    for other in (code[:-66] + "00" + code[-64:], code + "00", "0x"):

        def answer(method: str, parameters: list[Any], other: str = other) -> Any:
            return {"result": other} if method == "eth_getCode" else None

        chain = EvmChain(Rpc(front(answer).url), place.contract)
        found = check(SettlementEvidence(ROBOT, receipts, chain, finality=1), ledger, None)
        assert [(f.kind, f.severity.name) for f in found.findings] == [("settlement_contract_unknown", "WARNING")]
