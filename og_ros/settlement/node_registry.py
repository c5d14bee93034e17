"""Reads a NodeRegistry (a key's terms, bond and state, as the contract has them now), and sends to the registries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from og_ros.errors import SettlementError
from og_ros.settlement import contracts
from og_ros.settlement.account import Account
from og_ros.settlement.deploy import Done, transact
from og_ros.settlement.evm_chain import decode_result, encode_call, robot_id
from og_ros.settlement.rpc import Rpc, data_of

_APPROVED: Final = 1 << 240
_REVOKED: Final = 1 << 241
_UNSIGNED: Final = 1 << 242
_MASK_40: Final = 2**40 - 1


@dataclass(frozen=True, slots=True)
class Node:
    """A key as NodeRegistry has it. Times are Unix seconds; 0 stands for none. `bond` is in wei."""

    key_id: bytes
    robot_id: bytes
    stage: str
    vendor: str
    measurement: bytes
    evidence: bytes
    operator: str
    approved: bool
    revoked: bool
    valid: bool
    unsigned_allowed: bool
    expires_at: int
    alive_until: int
    bond: int
    withdrawable_at: int

    @property
    def status(self) -> str:
        """What the key is worth now, in a word or two."""
        if self.revoked:
            return "revoked"
        if not self.approved:
            return "proposed"
        return "valid" if self.valid else "expired or silent"


def read_node(rpc: Rpc, registry: str, key_id: bytes) -> Node:
    """Return a key's entry; raises SettlementError where there is none."""
    terms: int = ask(rpc, contracts.NODE_REGISTRY, registry, "terms", key_id)
    if not terms:
        raise SettlementError(f"key {key_id.hex()} was never proposed to {registry}")
    robot, _, _, measurement, evidence, stage, vendor = ask(rpc, contracts.NODE_REGISTRY, registry, "nodes", key_id)
    return Node(
        key_id=key_id,
        robot_id=robot,
        stage=stage,
        vendor=vendor,
        measurement=measurement,
        evidence=evidence,
        operator=f"0x{terms & (2**160 - 1):040x}",
        approved=bool(terms & _APPROVED),
        revoked=bool(terms & _REVOKED),
        valid=ask(rpc, contracts.NODE_REGISTRY, registry, "is_valid", key_id),
        unsigned_allowed=bool(terms & _UNSIGNED),
        expires_at=terms >> 160 & _MASK_40,
        alive_until=terms >> 200 & _MASK_40,
        bond=ask(rpc, contracts.NODE_REGISTRY, registry, "bonds", key_id),
        withdrawable_at=ask(rpc, contracts.NODE_REGISTRY, registry, "withdrawable_at", key_id),
    )


def settlement_key(rpc: Rpc, registry: str, robot: str | bytes) -> bytes:
    """Return the id of the key that settles for a robot (name, or its keccak256); raises SettlementError for none."""
    name = robot_id(robot) if isinstance(robot, str) else robot
    found: bytes = ask(rpc, contracts.NODE_REGISTRY, registry, "key_of", name)
    if found == bytes(32):
        raise SettlementError(f"no settlement key of robot {name.hex()} was ever approved by {registry}")
    return found


def ask(rpc: Rpc, contract: str, address: str, function: str, *arguments: Any) -> Any:
    """Call a function of one of our contracts without a transaction; a single result comes without its tuple."""
    found = decode_result(contract, function, rpc.read(address, encode_call(contract, function, *arguments)))
    return found[0] if len(found) == 1 else found


def send(
    rpc: Rpc, account: Account, contract: str, address: str, function: str, *arguments: Any, value: int = 0
) -> Done:
    """Send a transaction to one of the registries; raises SettlementError.

    What is at the address must have our code: a call to an address without code succeeds, and keeps what was sent.
    """
    require_our_code(rpc, contract, address)
    return transact(rpc, account, address, encode_call(contract, function, *arguments), value=value)


def require_our_code(rpc: Rpc, contract: str, address: str) -> None:
    """Raise SettlementError unless a registry's code is the one that this package has."""
    if not has_our_code(rpc, contract, address):
        raise SettlementError(f"the code at {address} is not that of {contract} as og_ros has it")


def has_our_code(rpc: Rpc, contract: str, address: str) -> bool:
    """Say whether a contract without immutables has the code that this package has of it."""
    return data_of(rpc.call("eth_getCode", address, "latest"), "eth_getCode") == contracts.load(contract).runtime
