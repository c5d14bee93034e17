"""The configuration of `og-ros settle serve`: its log, whose checkpoints it takes, where it listens, its price."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from og_ros.attest import keys
from og_ros.errors import ConfigError, LogError
from og_ros.log import VerifierKey
from og_ros.registry import Registry, Status
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

TOKEN_VARIABLE: Final = "OG_ROS_ENDPOINT_TOKEN"


@dataclass(frozen=True)
class Listen:
    """Where to listen, and a certificate chain with its key (PEM), to serve https."""

    host: str = "127.0.0.1"
    port: int = 8470
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("tls_cert and tls_key go together")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; it must be from 0 to 65535")


@dataclass(frozen=True)
class Price:
    """What a checkpoint costs, by x402.

    Attributes:
        amount: in the token's smallest unit.
        network: CAIP-2, `eip155:8453`.
        asset, asset_name, asset_version: the token's address, and name and version of its EIP-712 domain.
        pay_to: to whom.
        facilitator: URL of the facilitator, which checks and executes payments.
        valid_s: how long an authorization shall be valid.
    """

    amount: int
    network: str
    asset: str
    asset_name: str
    asset_version: str
    pay_to: str
    facilitator: str
    valid_s: int = 120

    def __post_init__(self) -> None:
        if self.amount < 1:
            raise ConfigError("amount must be at least 1")
        if not 10 <= self.valid_s <= 3600:
            raise ConfigError("valid_s must be from 10 to 3600")


@dataclass(frozen=True)
class EndpointSection:
    """A settlement endpoint.

    Attributes:
        origin: name of the endpoint's log, and of its key in checkpoints.
        key: the log's Ed25519 key (PEM).
        state: directory of the log and its index.
        logs: verifier keys (vkey) of the logs whose checkpoints are taken.
        registry: further such keys, certified in a registry with role `log`; read when it starts.
        publish_s: seconds between checkpoints of its own.
        per_minute: new checkpoints that a log may hand in (0: no limit).
        listen, payment: see Listen and Price.
    """

    origin: str
    key: Path
    state: Path
    logs: tuple[str, ...] = ()
    registry: Path | None = None
    publish_s: float = 1.0
    per_minute: int = 0
    listen: Listen = field(default_factory=Listen)
    payment: Price | None = None

    def __post_init__(self) -> None:
        if not self.logs and self.registry is None:
            raise ConfigError(
                "logs is missing: the keys of the logs whose checkpoints are taken, here or in a registry"
            )
        if not 0.01 <= self.publish_s <= 3600:
            raise ConfigError("publish_s must be from 0.01 to 3600")
        if self.per_minute < 0:
            raise ConfigError("per_minute must not be negative")


@dataclass(frozen=True)
class Endpoint:
    """A configuration as read, and the directory that its paths are relative to."""

    section: EndpointSection
    base: Path

    def key(self) -> Ed25519PrivateKey:
        """Load the log's key; raises KeyFileError or ConfigError."""
        key = keys.load_private(self.base / self.section.key)
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{self.section.key}: a log's key is Ed25519: og-ros keys generate --algorithm EdDSA")
        return key

    def logs(self) -> dict[str, VerifierKey]:
        """Return the keys of the logs that are taken, by origin; raises ConfigError or RegistryError."""
        found: dict[str, VerifierKey] = {}
        for text in self.section.logs:
            try:
                key = VerifierKey.parse(text)
            except LogError as error:
                raise ConfigError(f"logs: {error}") from error
            if key.name in found:
                raise ConfigError(f"logs names the log {key.name} twice")
            found[key.name] = key
        if self.section.registry is not None:
            now = time.time_ns()
            for certificate in Registry.open(self.base / self.section.registry).keys.values():
                public = certificate.public_key
                valid = certificate.role == "log" and certificate.status(now) is Status.VALID
                if valid and isinstance(public, Ed25519PublicKey):
                    found.setdefault(certificate.origin, VerifierKey.of(certificate.origin, public))
        return found

    def tls(self) -> tuple[Path, Path] | None:
        """Return certificate and key to serve https with."""
        listen = self.section.listen
        if listen.tls_cert is None or listen.tls_key is None:
            return None
        return self.base / listen.tls_cert, self.base / listen.tls_key


def load(path: Path) -> Endpoint:
    """Read the file; raises ConfigError."""
    file = YamlFile(path)
    try:
        return Endpoint(build(EndpointSection, file.data), path.resolve().parent)
    except ConfigError as error:
        raise file.error(error) from error


def token() -> str:
    """Return the token that requests must have, from the environment; empty: none."""
    return os.environ.get(TOKEN_VARIABLE, "")
