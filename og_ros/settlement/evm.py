"""The EVM backend: settles checkpoints in a DecisionChain contract on any chain with JSON-RPC, with its own nonces."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

from og_ros.attest.signer import Signer
from og_ros.attest.statement import Algorithm
from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.log import StoredCheckpoint
from og_ros.settlement import contracts
from og_ros.settlement.account import Account
from og_ros.settlement.backend import Attempt, Item, Seen
from og_ros.settlement.checkpoints import NO_HEAD, Entry
from og_ros.settlement.evm_chain import EvmChain, encode_call, reason
from og_ros.settlement.receipt import Level, Receipt, from_json, to_json
from og_ros.settlement.rpc import Refused, data_of, quantity

GWEI: Final = 10**9
# A node takes a replacement from 10 % more on; 25 % leaves room for rounding.
_BUMP: Final = (5, 4)
# A node's words for a transaction that it has, or whose nonce is used: looking for it decides, not the words.
_KNOWN: Final = ("already known", "already imported", "nonce too low", "underpriced", "known transaction")


@dataclass(frozen=True, slots=True)
class Fees:
    """What may be paid: at most `maximum_gwei` a gas, and after `bump_after_s` without inclusion a quarter more."""

    maximum_gwei: float = 100.0
    priority_gwei: float = 1.0
    bump_after_s: float = 60.0


class EvmBackend:
    """One submitter's chain of checkpoints for one robot.

    `signer` is the robot's settlement key; None settles unsigned, on the account's word, where the registry allows it.
    `finality` is a depth in blocks, None for the node's `finalized` tag.
    """

    def __init__(
        self,
        name: str,
        chain: EvmChain,
        robot: str,
        account: Account,
        signer: Signer | None,
        finality: int | None = None,
        fees: Fees | None = None,
    ) -> None:
        if signer is not None and signer.algorithm is not Algorithm.ES256:
            raise ConfigError(f"settlement {name}: the key must be on P-256 (ES256), which contracts can check")
        self.name = name
        self._chain, self._robot, self._account, self._signer = chain, robot, account, signer
        self._finality, self._fees = finality, fees or Fees()

    def close(self) -> None:
        """Close the connection to the node."""
        self._chain.rpc.close()

    def covered(self) -> tuple[int, bytes | None]:
        """Return how many leaves the contract's newest checkpoint covers, and its head."""
        found = self._chain.head(self._chain.name(self._account.address, self._robot))
        return found.size, found.head if found.count else None

    def prepare(self, checkpoint: StoredCheckpoint, before: Item | None) -> Attempt:
        """Sign a transaction that settles a checkpoint next."""
        name = self._chain.name(self._account.address, self._robot)
        found = self._chain.head(name)
        if before is not None and _receipt(before.attempts[-1]).entry.sequence >= found.count:
            raise BackendUnreachable("the node's chain does not show the checkpoint before this one yet")
        if checkpoint.size <= found.size:
            raise SettlementError(
                f"the chain has a checkpoint of {found.size} leaves, and the ledger's newest has {checkpoint.size}: "
                "the ledger was rewound, or another one settles under this robot's name"
            )
        entry = Entry(name, found.count, checkpoint.size, checkpoint.root, found.head if found.count else NO_HEAD)
        signature = self._signer.sign(entry.message()) if self._signer is not None else b""
        nonce = self._chain.rpc.number("eth_getTransactionCount", self._account.address, "latest")
        return self._attempt(entry, signature, nonce, *self._price(), 0, time.time_ns())

    def send(self, attempt: Attempt) -> None:
        """Give the transaction to the node."""
        try:
            self._chain.rpc.call("eth_sendRawTransaction", f"0x{attempt.payload.hex()}")
        except Refused as error:
            if not any(word in str(error).lower() for word in _KNOWN):
                raise SettlementError(reason(error)) from error

    def look(self, item: Item) -> Seen:
        """Look for every attempt; an inclusion counts only in a block that is in the node's chain now."""
        found = self._find(item)
        if found is None:
            used = self._chain.rpc.number("eth_getTransactionCount", self._account.address, "latest")
            if used <= int(json.loads(item.attempts[-1].detail)["nonce"]):
                return Seen(Level.SUBMITTED)
            found = self._find(item)  # once more: it may have been included between the two questions
            if found is None:
                return Seen(Level.NONE, dead="another transaction of the account used its nonce")
        attempt, told = found
        if quantity(told.get("status"), "a receipt's status") != 1:
            return Seen(Level.NONE, dead="the contract refused it when it was included")
        number = quantity(told.get("blockNumber"), "a receipt's block")
        if not self._chain.is_final(number, self._finality):
            return Seen(Level.INCLUDED)
        receipt = _receipt(attempt)
        whole = Receipt(receipt.entry, receipt.signature, attempt.reference, self._chain.inclusion(told))
        return Seen(Level.FINAL, receipt=to_json(whole))

    def renew(self, item: Item, now_ns: int) -> Attempt | None:
        """Pay a quarter more for a transaction that waits, up to the cap; the nonce stays, so only one can settle."""
        last = item.attempts[-1]
        detail = json.loads(last.detail)
        if now_ns - int(detail["made_ns"]) < self._fees.bump_after_s * 1e9:
            return None
        cap = int(self._fees.maximum_gwei * GWEI)
        fee, tip = (min(cap, int(detail[part]) * _BUMP[0] // _BUMP[1] + 1) for part in ("fee", "tip"))
        if fee * 10 < int(detail["fee"]) * 11:
            return None  # the cap is reached: a node would not take it as a replacement
        receipt = _receipt(last)
        return self._attempt(receipt.entry, receipt.signature, detail["nonce"], fee, tip, int(detail["gas"]), now_ns)

    def _find(self, item: Item) -> tuple[Attempt, dict[str, Any]] | None:
        for attempt in reversed(item.attempts):
            told = self._chain.rpc.call("eth_getTransactionReceipt", f"0x{attempt.reference.hex()}")
            if not isinstance(told, dict) or told.get("blockHash") is None:
                continue
            number = quantity(told.get("blockNumber"), "a receipt's block")
            if self._chain.canonical(number) == data_of(told["blockHash"], "a receipt's block", 32):
                return attempt, told
        return None

    def _price(self) -> tuple[int, int]:
        block = self._chain.rpc.block("latest") or {}
        base = quantity(block.get("baseFeePerGas", "0x0"), "the base fee")
        tip, cap = int(self._fees.priority_gwei * GWEI), int(self._fees.maximum_gwei * GWEI)
        if base + tip > cap:
            raise BackendUnreachable(f"gas costs {base / GWEI:.2f} gwei now, above the cap of {cap / GWEI:g}")
        return min(cap, 2 * base + tip), tip

    def _attempt(
        self, entry: Entry, signature: bytes, nonce: int, fee: int, tip: int, gas: int, made_ns: int
    ) -> Attempt:
        arguments: list[Any] = [entry.chain.robot_id, entry.sequence, entry.size, entry.root]
        if signature:
            arguments += [signature[:32], signature[32:]]
        data = encode_call(contracts.DECISION_CHAIN, "settle" if signature else "settle_unsigned", *arguments)
        call = {"from": self._account.address, "to": entry.chain.contract, "data": f"0x{data.hex()}"}
        if not gas:
            try:
                gas = self._chain.rpc.number("eth_estimateGas", call) * 5 // 4
            except Refused as error:
                raise SettlementError(reason(error)) from error
        raw, name = self._account.sign(
            {
                "type": 2, "chainId": entry.chain.chain_id, "nonce": nonce, "to": _checksum(entry.chain.contract),
                "value": 0, "data": data, "gas": gas, "maxFeePerGas": fee, "maxPriorityFeePerGas": tip,
            }
        )  # fmt: skip
        receipt = to_json(Receipt(entry, signature, name))
        terms = {"nonce": nonce, "fee": fee, "tip": tip, "gas": gas, "made_ns": made_ns, "receipt": receipt}
        return Attempt(raw, name, json.dumps(terms))


def _receipt(attempt: Attempt) -> Receipt:
    return from_json(json.loads(attempt.detail)["receipt"], "the outbox")


def _checksum(address: str) -> str:
    from eth_utils import to_checksum_address

    return str(to_checksum_address(address))
