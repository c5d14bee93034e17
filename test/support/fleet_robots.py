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
from og_ros.registry import Registry, RegistryWriter, dsse, entry
from og_ros.registry.certificate import KeyCertificate

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


def certificate(key: keys.PublicKey, role: str = "log", robot: str = "", origin: str = "") -> KeyCertificate:
    about = (keys.key_id(key), keys.public_pem(key), keys.algorithm_of(key), role, robot, "", "", origin)
    return KeyCertificate(*about, 10**18, None, "fleet")


def certify(directory: Path, fleet: list[Robot], settlement: SoftwareSigner | None = None) -> Registry:
    """Make a registry of the robots' log keys; with the fleet's settlement key, of the fleet's log key too.

    All in one state: certified one by one, a thousand keys take minutes.
    """
    authority = SoftwareSigner(keys.generate())
    given = [certificate(robot.key.public_key(), origin=robot.origin) for robot in fleet]
    if settlement is not None:
        given.append(certificate(FLEET_KEY.public_key(), "endpoint", origin=ORIGIN))
        given.append(certificate(settlement.public_key, "settlement", robot=FLEET))
    files = {
        entry.key_path(one.key_id): dsse.sign(entry.payload_type("key"), entry.encode_key(one), authority)
        for one in given
    }
    with RegistryWriter.create(directory, authority, "fleet") as writer:
        writer._commit(files)
        return writer.registry


def arrival(logs: Logs, note: bytes) -> Arrival:
    return logs.open(note, 2 * 10**18)[1]
