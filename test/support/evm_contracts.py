"""Contracts of tests on a node: put there, called, read, by their artefacts; and the calls of our own by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eth_abi
from eth_utils import keccak
from settlement_place import Place

from og_ros.settlement import contracts, deploy
from og_ros.settlement.account import Account
from og_ros.settlement.evm_chain import decode_result, encode_call
from og_ros.settlement.rpc import Rpc

FOLDER = Path(__file__).resolve().parents[1] / "settlement" / "contracts"


def call_data(function: str, types: str, *arguments: Any) -> bytes:
    """Return the data of a call to a function of any contract."""
    kinds = [kind for kind in types.split(",") if kind]
    return bytes(keccak(f"{function}({types})".encode())[:4] + eth_abi.encode(kinds, arguments))


def put(rpc: Rpc, account: Account, name: str, types: str = "", *arguments: Any) -> str:
    """Put a contract of test/settlement/contracts on the chain; its address."""
    code = json.loads((FOLDER / f"{name}.json").read_text())["bytecode"]
    data = bytes.fromhex(code[2:]) + eth_abi.encode([kind for kind in types.split(",") if kind], arguments)
    return deploy.transact(rpc, account, None, data).contract


@dataclass(frozen=True)
class Contract:
    """One of our contracts on a node: `send` makes a transaction, `ask` reads."""

    rpc: Rpc
    name: str
    address: str

    def send(self, account: Account, function: str, *arguments: Any, value: int = 0) -> deploy.Done:
        data = encode_call(self.name, function, *arguments)
        return deploy.transact(self.rpc, account, self.address, data, value=value)

    def ask(self, function: str, *arguments: Any) -> Any:
        told = self.rpc.read(self.address, encode_call(self.name, function, *arguments))
        found = decode_result(self.name, function, told)
        return found[0] if len(found) == 1 else found


def registry_of(place: Place) -> Contract:
    return Contract(place.node.rpc, contracts.NODE_REGISTRY, place.registry)


def chain_of(place: Place) -> Contract:
    return Contract(place.node.rpc, contracts.DECISION_CHAIN, place.contract)


def balance(rpc: Rpc, address: str) -> int:
    return rpc.number("eth_getBalance", address, "latest")


def later(place: Place, seconds: int) -> None:
    place.node.rpc.call("evm_increaseTime", seconds)
    place.node.mine()
