"""Contracts on a node, and the accounts around them."""

from __future__ import annotations

from dataclasses import dataclass

from anvil import Anvil

from og_ros.attest import SoftwareSigner
from og_ros.settlement.account import Account
from og_ros.settlement.evm import EvmBackend, Fees
from og_ros.settlement.evm_chain import EvmChain
from og_ros.settlement.rpc import Rpc

ROBOT = "robot-7"


@dataclass
class Place:
    """Contracts on a node; account 0 owns the registry, account 1 is the robot's operator."""

    node: Anvil
    registry: str
    contract: str
    owner: Account
    operator: Account
    stranger: Account
    signer: SoftwareSigner

    @property
    def chain(self) -> EvmChain:
        return EvmChain(self.node.rpc, self.contract)

    def now(self) -> int:
        block = self.node.rpc.block("latest")
        assert block is not None
        return int(block["timestamp"], 16)

    def backend(self, finality: int | None = 1, fees: Fees | None = None, signed: bool = True) -> EvmBackend:
        chain = EvmChain(Rpc(self.node.url), self.contract)
        return EvmBackend("evm", chain, ROBOT, self.operator, self.signer if signed else None, finality, fees)
