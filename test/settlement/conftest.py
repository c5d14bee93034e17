"""A node with both contracts, and a robot whose settlement key is proposed and approved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anvil import KEYS, Anvil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from settlement_place import ROBOT, Place

from og_ros.attest import SoftwareSigner, keys
from og_ros.log import Ledger
from og_ros.settlement import deploy
from og_ros.settlement.account import Account

LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="session")
def node() -> Iterator[Anvil]:
    one = Anvil()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def deployed(node: Anvil) -> Place:
    owner, operator, stranger = (Account(bytes.fromhex(key)) for key in KEYS)
    registry, contract = deploy.deploy(node.rpc, owner)
    return Place(node, registry, contract, owner, operator, stranger, SoftwareSigner(keys.generate()))


@pytest.fixture
def bare(deployed: Place) -> Iterator[Place]:
    """No key is registered; what a test does to the chain is undone after it."""
    rpc = deployed.node.rpc
    before = rpc.call("evm_snapshot")
    yield deployed
    rpc.call("evm_setAutomine", True)
    rpc.call("anvil_dropAllTransactions")  # one that was sent again would be mined in the next test
    assert rpc.call("evm_revert", before) is True


@pytest.fixture
def place(bare: Place) -> Place:
    """The robot's key is approved for an hour, for unsigned checkpoints too."""
    rpc = bare.node.rpc
    deploy.propose(rpc, bare.operator, bare.registry, ROBOT, bare.signer, vendor="maker")
    deploy.approve(rpc, bare.owner, bare.registry, bare.signer.key_id, bare.now() + 3600, unsigned_allowed=True)
    return bare


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger", "example.com/robot-7", LOG_KEY) as one:
        yield one


@pytest.fixture
def grow(ledger: Ledger) -> Callable[[int], None]:
    """Append leaves to the ledger, and sign a checkpoint."""

    def append(count: int) -> None:
        ledger.append([f"leaf {ledger.size + n} {time.time_ns()}".encode() for n in range(count)])
        ledger.checkpoint()

    return append
