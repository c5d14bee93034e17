"""Money for tests of payments: a token with EIP-3009 on a node, and the x402 package's own facilitator behind HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import eth_abi
from anvil import KEYS, Anvil
from eth_utils import keccak

from og_ros.settlement import deploy
from og_ros.settlement.account import Account
from og_ros.settlement.config import Allowance
from og_ros.settlement.endpoint_config import Price

CONTRACTS = Path(__file__).resolve().parents[1] / "settlement" / "contracts"
SELLER = "0x" + "5e" * 20


def code(name: str, part: str = "bytecode") -> bytes:
    return bytes.fromhex(json.loads((CONTRACTS / f"{name}.json").read_text())[part][2:])


class Money:
    """A token on a node; `price` is what an endpoint asks, `allowance` what a robot may pay."""

    def __init__(self, node: Anvil, facilitator: str) -> None:
        self.node, self.facilitator = node, facilitator
        self.owner = Account(bytes.fromhex(KEYS[0]))
        self.token = deploy.transact(node.rpc, self.owner, None, code("TestToken")).contract
        self.network = f"eip155:{node.rpc.number('eth_chainId')}"

    def mint(self, receiver: str, amount: int) -> None:
        data = keccak(b"mint(address,uint256)")[:4] + eth_abi.encode(["address", "uint256"], [receiver, amount])
        deploy.transact(self.node.rpc, self.owner, self.token, data)

    def balance(self, holder: str) -> int:
        data = keccak(b"balanceOf(address)")[:4] + eth_abi.encode(["address"], [holder])
        return int.from_bytes(self.node.rpc.read(self.token, data), "big")

    def price(self, amount: int = 1000, **changed: Any) -> Price:
        terms = {
            "network": self.network, "asset": self.token, "asset_name": "Test Token", "asset_version": "1",
            "pay_to": SELLER, "facilitator": self.facilitator,
        }  # fmt: skip
        return Price(amount, **{**terms, **changed})

    def allowance(self, per_payment: int = 1000, per_day: int = 10_000, **changed: Any) -> Allowance:
        terms = {"network": self.network, "asset": self.token, "pay_to": SELLER}
        return Allowance(per_payment=per_payment, per_day=per_day, **{**terms, **changed})


class Facilitator:
    """POST /verify and /settle by x402's facilitator, with its web3 signer on the node; counts what it settled."""

    def __init__(self, node: Anvil) -> None:
        from x402 import x402FacilitatorSync
        from x402.mechanisms.evm import FacilitatorWeb3Signer
        from x402.mechanisms.evm.constants import MULTICALL3_ADDRESS
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme
        from x402.schemas import PaymentPayload, PaymentRequirements

        node.rpc.call("anvil_setCode", MULTICALL3_ADDRESS, f"0x{code('TestMulticall', 'runtime').hex()}")
        scheme = ExactEvmScheme(FacilitatorWeb3Signer(KEYS[2], node.url))
        network = f"eip155:{node.rpc.number('eth_chainId')}"
        facilitator = x402FacilitatorSync().register([network], scheme)
        self.settled: list[bool] = []
        settled = self.settled

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                payload = PaymentPayload.model_validate(request["paymentPayload"])
                terms = PaymentRequirements.model_validate(request["paymentRequirements"])
                if self.path == "/verify":
                    result: Any = facilitator.verify(payload, terms)
                else:
                    result = facilitator.settle(payload, terms)
                    settled.append(result.success)
                body = result.model_dump_json(by_alias=True, exclude_none=True).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
