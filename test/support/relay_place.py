"""A node that speaks OpenGradient's formats, for tests: facilitator, Walrus aggregator, settlement contract on anvil.

It does as OpenGradient's public facilitator does: a job `succeeds` once its row is buffered in memory, a batch goes out
when it is told to (there: 20 rows, or minutes), and nothing is checked. The tree is made by a few lines of its own,
after @openzeppelin/merkle-tree, so that the product's is held against another.
"""

from __future__ import annotations

import base64
import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import eth_abi
from anvil import KEYS, Anvil
from eth_utils import keccak
from x402_place import code

from og_ros.settlement import deploy
from og_ros.settlement.account import Account

ENCODING = ["bytes32", "bytes32", "bytes32", "bytes", "uint256"]


def hash_row(values: list[Any]) -> bytes:
    *binary, stamp = values
    return keccak(keccak(eth_abi.encode(ENCODING, [*(bytes.fromhex(v[2:]) for v in binary), int(stamp)])))


def dump(rows: list[list[Any]]) -> tuple[bytes, dict[str, Any]]:
    """Root and dump of a tree, standard-v1."""
    hashed = sorted((hash_row(row), number) for number, row in enumerate(rows))
    nodes = [b""] * (len(rows) - 1) + [leaf for leaf, _ in reversed(hashed)]
    for index in range(len(rows) - 2, -1, -1):
        nodes[index] = keccak(b"".join(sorted(nodes[2 * index + 1 : 2 * index + 3])))
    places = {number: len(nodes) - 1 - place for place, (_, number) in enumerate(hashed)}
    values = [{"value": row, "treeIndex": places[number]} for number, row in enumerate(rows)]
    tree = [f"0x{node.hex()}" for node in nodes]
    return nodes[0], {"format": "standard-v1", "leafEncoding": ENCODING, "tree": tree, "values": values}


class RelayNode:
    """`flush()` settles what is buffered; `requests` are the headers and bodies of POST /settle_data, `blobs` by id."""

    def __init__(self, node: Anvil) -> None:
        self.node = node
        self.account = Account(bytes.fromhex(KEYS[0]))
        self.contract = deploy.transact(node.rpc, self.account, None, code("TestRelay")).contract
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.buffer: list[list[Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, bytes] = {}
        relay = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                relay.requests.append((headers, body))
                if self.path != "/settle_data" or headers.get("x-settlement-type") != "batch":
                    return self.answer(400, {"error": "Missing x-settlement-type header"})
                row = json.loads(base64.b64decode(headers["x-settlement-data"]))
                signature = f"0x{base64.b64decode(row['tee_signature']).hex()}"
                relay.buffer.append(
                    [row["tee_id"], row["input_hash"], row["output_hash"], signature, str(row["timestamp"])]
                )
                job = f"settlement-{uuid.uuid4()}"
                relay.jobs[job] = {"jobId": job, "queue": "data", "status": "succeeded", "settlementType": "batch"}
                return self.answer(202, {"settlementJob": {**relay.jobs[job], "status": "queued"}})

            def do_GET(self) -> None:
                room, _, name = self.path.rpartition("/")
                if room == "/v1/blobs" and name in relay.blobs:
                    return self.answer(200, relay.blobs[name])
                if room == "/settle" and name in relay.jobs:
                    return self.answer(200, relay.jobs[name])
                return self.answer(404, {"error": f"Settlement job not found: {name}"})

            def answer(self, status: int, told: Any) -> None:
                body = told if isinstance(told, bytes) else json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def flush(self, strangers: int = 2) -> str:
        """Settle what is buffered among rows of others; the blob's id."""
        others = [[f"0x{bytes([n + 1]).hex() * 32}"] * 3 + ["0xabcd", str(1700000000 + n)] for n in range(strangers)]
        root, tree = dump([*self.buffer, *others])
        size, self.buffer = len(self.buffer) + strangers, []
        blob = base64.urlsafe_b64encode(keccak(root)).decode().rstrip("=")
        self.blobs[blob] = json.dumps(tree).encode()
        self.settle(root, size, blob)
        return blob

    def settle(self, root: bytes, size: int, blob: str) -> None:
        data = bytes.fromhex("1b243ae6") + eth_abi.encode(["bytes32", "uint256", "bytes"], [root, size, blob.encode()])
        deploy.transact(self.node.rpc, self.account, self.contract, data)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
