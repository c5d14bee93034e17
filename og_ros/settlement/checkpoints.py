"""What settles: a checkpoint of a robot's log at its place in a chain of checkpoints, and the message that is signed.

The message is nine 32-byte words, as the contract DecisionChain has them (Ethereum ABI encoding of static values); its
SHA-256 is what the key signs (ES256) and is the chain's new head. No word of it can be of another chain, contract,
submitter or robot, and each head commits to all before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from og_ros.errors import SettlementError
from og_ros.log.merkle import HASH_SIZE, MAX_SIZE

# keccak256 of "og_ros DecisionChain v1"
DOMAIN: Final = bytes.fromhex("0a2200848e6c16f4dbad0767162267caa8b3f0ce3fe8ea61eadfdf8baf7bb68e")
NO_HEAD: Final = bytes(HASH_SIZE)
"""What stands for the head before the first checkpoint."""
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{40}", re.ASCII)
MAX_COUNT: Final = 2**63 - 1


def check_address(what: str, value: str) -> str:
    """Return an Ethereum address in lower-case hex; raises SettlementError, naming `what`."""
    if not _ADDRESS.fullmatch(value.lower()):
        raise SettlementError(f"{what} {value[:60]!a} is not an address: 0x and 40 hex digits")
    return value.lower()


@dataclass(frozen=True, slots=True)
class ChainName:
    """Which chain of checkpoints: chain id, contract and submitter (lower-case hex), keccak256 of the robot's name."""

    chain_id: int
    contract: str
    submitter: str
    robot_id: bytes

    def __post_init__(self) -> None:
        if not 0 < self.chain_id <= MAX_COUNT:
            raise SettlementError(f"chain id {self.chain_id} is out of range")
        check_address("contract", self.contract)
        check_address("submitter", self.submitter)
        if len(self.robot_id) != HASH_SIZE:
            raise SettlementError(f"robot id has {len(self.robot_id)} bytes, not {HASH_SIZE}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A log's checkpoint (size, root) as number `sequence` (from 0) of a chain whose head was `previous`."""

    chain: ChainName
    sequence: int
    size: int
    root: bytes
    previous: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.sequence <= MAX_COUNT or not 0 < self.size <= MAX_SIZE:
            raise SettlementError(f"checkpoint {self.sequence} of {self.size} leaves is out of range")
        if len(self.root) != HASH_SIZE or len(self.previous) != HASH_SIZE:
            raise SettlementError("a root or head is not 32 bytes long")
        if (self.previous == NO_HEAD) != (self.sequence == 0):
            raise SettlementError(f"checkpoint {self.sequence}: the first, and only the first, has no head before it")

    def message(self) -> bytes:
        """Return what the settlement key signs: 288 bytes."""
        chain = self.chain
        words: tuple[int | bytes, ...] = (
            DOMAIN, chain.chain_id, int(chain.contract, 16), int(chain.submitter, 16), chain.robot_id,
            self.previous, self.sequence, self.size, self.root,
        )  # fmt: skip
        return b"".join(word if isinstance(word, bytes) else word.to_bytes(32, "big") for word in words)

    def head(self) -> bytes:
        """Return the chain's head once this is settled."""
        return sha256(self.message()).digest()
