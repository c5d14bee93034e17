"""Robots of a fleet: each with a log that it signs, and a registry that certifies their keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.aggregator.admission import Logs
from og_ros.aggregator.store import Arrival
from og_ros.attest import SoftwareSigner, keys
from og_ros.log import Checkpoint, MerkleTree, VerifierKey, sign_checkpoint
from og_ros.registry import Registry, RegistryWriter

FLEET = "fleet-a"
ORIGIN = "example.com/fleet-a"
FLEET_KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"fleet").digest())


@dataclass
class Robot:
    """A robot's log; `note()` signs it as it is."""

    origin: str
    tree: MerkleTree = field(default_factory=MerkleTree)

    @property
    def key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(sha256(self.origin.encode()).digest())

    @property
    def vkey(self) -> VerifierKey:
        return VerifierKey.of(self.origin, self.key)

    def grow(self, count: int = 1, word: str = "leaf") -> Robot:
        for _ in range(count):
            self.tree.append(f"{word} {self.tree.size}".encode())
        return self

    def note(self, size: int | None = None) -> bytes:
        at = self.tree.size if size is None else size
        return sign_checkpoint(Checkpoint(self.origin, at, self.tree.root(at)), self.key).encode()


def robots(count: int) -> list[Robot]:
    return [Robot(f"example.com/robot-{number}").grow() for number in range(count)]


def certify(directory: Path, fleet: list[Robot], settlement: SoftwareSigner | None = None) -> Registry:
    """Make a registry of the robots' log keys; with the fleet's settlement key, of the fleet's log key too."""
    authority = SoftwareSigner(keys.generate())
    with RegistryWriter.create(directory, authority, "fleet") as writer:
        for robot in fleet:
            writer.certify_key(robot.key.public_key(), role="log", origin=robot.origin, not_before_ns=10**18)
        if settlement is not None:
            writer.certify_key(FLEET_KEY.public_key(), role="endpoint", origin=ORIGIN, not_before_ns=10**18)
            writer.certify_key(settlement.public_key, role="settlement", robot=FLEET, not_before_ns=10**18)
        return writer.registry


def arrival(logs: Logs, note: bytes) -> Arrival:
    return logs.open(note, 2 * 10**18)[1]
