"""Puts the contracts on a chain and registers a robot's settlement key: what an operator and an approver do once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from eth_utils import to_checksum_address

from og_ros.attest.signer import Signer
from og_ros.attest.statement import NO_DIGEST
from og_ros.errors import BackendUnreachable, ConfigError, SettlementError
from og_ros.settlement import contracts
from og_ros.settlement.account import Account
from og_ros.settlement.evm_chain import encode_call, reason, robot_id
from og_ros.settlement.rpc import Refused, Rpc, data_of, quantity

ROLE: Final = "settlement"
_WAIT_S: Final = 120.0
# keccak256 of "og_ros NodeRegistry v1"
_DOMAIN: Final = bytes.fromhex("87792aa6092b39b808cebc40917258365382aa178f118f5b901e7c66a3954011")


@dataclass(frozen=True, slots=True)
class Done:
    """A transaction that was included: its hash, block, gas, and the contract that it made (empty: none)."""

    transaction: bytes
    block: int
    gas_used: int
    contract: str


def transact(rpc: Rpc, account: Account, to: str | None, data: bytes, wait_s: float = _WAIT_S, value: int = 0) -> Done:
    """Send a transaction, with `value` wei, and wait until it is included.

    Raises SettlementError when it is refused or takes too long.
    """
    call: dict[str, Any] = {"from": account.address, "data": f"0x{data.hex()}", "value": hex(value)}
    if to is not None:
        call["to"] = to
    try:
        gas = rpc.number("eth_estimateGas", call) * 5 // 4
        nonce = rpc.number("eth_getTransactionCount", account.address, "pending")
        block = rpc.block("latest") or {}
        base = quantity(block.get("baseFeePerGas", "0x0"), "the base fee")
        transaction: dict[str, Any] = {
            "type": 2, "chainId": rpc.number("eth_chainId"), "nonce": nonce, "value": value, "data": data, "gas": gas,
            "maxFeePerGas": 2 * base + 10**9, "maxPriorityFeePerGas": 10**9,
        }  # fmt: skip
        if to is not None:
            transaction["to"] = to_checksum_address(to)
        raw, name = account.sign(transaction)
        rpc.call("eth_sendRawTransaction", f"0x{raw.hex()}")
    except Refused as error:
        raise SettlementError(reason(error)) from error
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        told = rpc.call("eth_getTransactionReceipt", f"0x{name.hex()}")
        if isinstance(told, dict):
            if quantity(told.get("status"), "status") != 1:
                raise SettlementError(f"transaction 0x{name.hex()} failed")
            made = told.get("contractAddress")
            place = quantity(told.get("blockNumber"), "a receipt's block")
            gas_used = quantity(told.get("gasUsed"), "a receipt's gas")
            return Done(name, place, gas_used, str(made).lower() if made else "")
        time.sleep(0.05)
    raise BackendUnreachable(f"transaction 0x{name.hex()} was not included within {wait_s:g} s")


def deploy(rpc: Rpc, account: Account) -> tuple[str, str]:
    """Put both contracts on the chain; addresses of NodeRegistry and DecisionChain. The account owns the registry."""
    registry = _put(rpc, account, contracts.NODE_REGISTRY)
    return registry, _put(rpc, account, contracts.DECISION_CHAIN, bytes(12) + bytes.fromhex(registry[2:]))


def deploy_models(rpc: Rpc, account: Account) -> str:
    """Put a ModelRegistry on the chain; its address. The account owns it and is its first certifier."""
    return _put(rpc, account, contracts.MODEL_REGISTRY)


def _put(rpc: Rpc, account: Account, name: str, arguments: bytes = b"") -> str:
    address = transact(rpc, account, None, contracts.load(name).bytecode + arguments).contract
    code = data_of(rpc.call("eth_getCode", address, "latest"), "eth_getCode")
    if not code.startswith(contracts.load(name).runtime):
        raise SettlementError(f"the node does not have {name} at {address}")
    return address


def coordinates(signer: Signer) -> tuple[bytes, bytes]:
    """Return a P-256 key's x and y, 32 bytes each; raises ConfigError for a key of another kind."""
    key = signer.public_key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigError("a settlement key must be on P-256 (ES256), which contracts can check")
    numbers = key.public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A key as it is proposed: whose it is, and what its environment measured to, by which evidence (zero: none)."""

    robot: str
    signer: Signer
    stage: str = ROLE
    vendor: str = ""
    measurement: bytes = NO_DIGEST
    evidence: bytes = NO_DIGEST

    def call(self, chain_id: int, registry: str, operator: str) -> bytes:
        """Return the data of the call that proposes the key, which the key itself signs for one operator."""
        from eth_utils import keccak

        x, y = coordinates(self.signer)
        words: tuple[int | bytes, ...] = (
            _DOMAIN, chain_id, int(registry, 16), int(operator, 16), robot_id(self.robot),
            keccak(self.stage.encode()), keccak(self.vendor.encode()), self.measurement, self.evidence, x, y,
        )  # fmt: skip
        message = b"".join(word if isinstance(word, bytes) else word.to_bytes(32, "big") for word in words)
        signature = self.signer.sign(message)
        return encode_call(
            contracts.NODE_REGISTRY, "propose", self.robot, self.stage, self.vendor, self.measurement, self.evidence,
            x, y, signature[:32], signature[32:],
        )  # fmt: skip


def propose(
    rpc: Rpc, operator: Account, registry: str, robot: str, signer: Signer, stage: str = ROLE, vendor: str = ""
) -> Done:
    """Propose a robot's key to the registry, which the key itself signs; the account becomes its operator."""
    return submit(rpc, operator, registry, Proposal(robot, signer, stage, vendor))


def submit(rpc: Rpc, operator: Account, registry: str, proposal: Proposal) -> Done:
    """Propose a key; the account becomes its operator."""
    return transact(rpc, operator, registry, proposal.call(rpc.number("eth_chainId"), registry, operator.address))


def approve(
    rpc: Rpc,
    approver: Account,
    registry: str,
    key_id: bytes,
    expires_at: int,
    unsigned_allowed: bool = False,
    max_silence: int = 0,
) -> Done:
    """Approve a proposed key until a Unix time in seconds; `max_silence` is in seconds, 0 asks for no heartbeat."""
    call = encode_call(contracts.NODE_REGISTRY, "approve", key_id, expires_at, max_silence, unsigned_allowed)
    return transact(rpc, approver, registry, call)


def revoke(rpc: Rpc, account: Account, registry: str, key_id: bytes) -> Done:
    """Revoke a key."""
    return transact(rpc, account, registry, encode_call(contracts.NODE_REGISTRY, "revoke", key_id))
