"""Cosigning witnesses for tests: some serve HTTP in this process, each with its state in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.log import VerifierKey
from og_ros.log.cosignature import WitnessKey
from og_ros.log.witness import Witness
from og_ros.log.witness_client import Endpoint
from og_ros.log.witness_server import WitnessServer
from og_ros.log.witness_state import WitnessState


def witness_secret(number: int) -> Ed25519PrivateKey:
    """The private key of a witness."""
    return Ed25519PrivateKey.from_private_bytes(bytes([200 + number]) * 32)


def witness_name(number: int) -> str:
    """The name of a witness."""
    return f"witness.example/w{number}"


def witness_key(number: int) -> WitnessKey:
    """The public key of a witness."""
    return WitnessKey.of(witness_name(number), witness_secret(number))


class Served:
    """A witness that serves until `close`; made again over the same folder it is the same after a restart."""

    def __init__(self, number: int, logs: Iterable[VerifierKey], folder: Path, port: int = 0) -> None:
        self.said: list[str] = []
        self.state = WitnessState(folder)
        self.witness = Witness(witness_name(number), witness_secret(number), logs, self.state, self.said.append)
        self.server = WitnessServer(self.witness, port=port, tell=self.said.append)
        self.port = int(self.server.url.rpartition(":")[2])

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.witness.key, self.server.url, 5.0)

    def close(self) -> None:
        self.server.close()
        self.state.close()
