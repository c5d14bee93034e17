"""The file that an aggregator is started with: `fleet`, its own section, and where the fleet's checkpoints settle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from og_ros.aggregator.database import Database, connect
from og_ros.attest import keys
from og_ros.errors import ConfigError
from og_ros.settlement.config import SECTION as SETTLEMENT
from og_ros.settlement.config import Settlement, SettlementSection, expand
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

SECTION: Final = "aggregator"


@dataclass(frozen=True)
class AggregatorSection:
    """How checkpoints are taken in.

    Attributes:
        origin: name of the fleet's log, such as example.com/fleet-a.
        key: its signing key (Ed25519, PEM).
        registry: the directory whose keys of role log may hand checkpoints in; it is read again when it changes.
        registry_root: fingerprint that the registry's root must have.
        storage: postgresql://… (PostgreSQL 14 or newer), or a directory for an SQLite file. ${NAME} is replaced.
        host, port: where to listen.
        tls_cert, tls_key: PEM files; none: no TLS, for a proxy in front or one machine.
        tokens: a file of tokens, one a log (og-ros aggregator token); none: the checkpoint's signature is enough.
        checkpoints_per_minute, burst: what a log may hand in on the average, and at once.
        reads_per_minute: how often the same address may ask about the same log.
        failures_per_minute: how often an address may ask for what is refused, or send what is there already.
        waiting: checkpoints that may wait for the storage.
    """

    origin: str
    key: Path
    registry: Path
    registry_root: str | None = None
    storage: str = "aggregator"
    host: str = "127.0.0.1"
    port: int = 8470
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tokens: Path | None = None
    checkpoints_per_minute: float = 6.0
    burst: int = 10
    reads_per_minute: float = 240.0
    failures_per_minute: float = 600.0
    waiting: int = 10_000

    def __post_init__(self) -> None:
        for name in ("checkpoints_per_minute", "reads_per_minute", "failures_per_minute"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} must be above 0")
        for name in ("burst", "waiting"):
            if not 1 <= getattr(self, name) <= 1_000_000:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be from 1 to 1000000")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is {self.port}; it must be from 0 to 65535")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("tls_cert and tls_key belong together: give both, or none")


@dataclass(frozen=True)
class AggregatorConfig:
    """A configuration as read: its own section, and the fleet's settlement (whose robot is the fleet)."""

    section: AggregatorSection
    settlement: Settlement

    @property
    def fleet(self) -> str:
        """The fleet's name, under which its checkpoints settle."""
        return self.settlement.robot

    def path(self, path: Path) -> Path:
        """A path of the file, from the file's directory on."""
        return self.settlement.base / path

    def database(self, *, read_only: bool = False) -> Database:
        """Open the storage; raises SettlementError, ConfigError."""
        return connect(expand(self.section.storage), self.settlement.base, read_only=read_only)

    def signing_key(self) -> Ed25519PrivateKey:
        """Read the key of the fleet's log; raises KeyFileError, ConfigError."""
        key = keys.load_private(self.path(self.section.key))
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{SECTION}.key is no Ed25519 key: og-ros keys generate --algorithm EdDSA")
        return key


def load(path: Path) -> AggregatorConfig:
    """Read the file; raises ConfigError, naming file and line."""
    file = YamlFile(path)
    try:
        for key in file.data:
            if key not in ("fleet", SECTION, SETTLEMENT):
                raise ConfigError(f"{key} is not known; known here: {SECTION}, fleet, {SETTLEMENT}")
        fleet = file.data.get("fleet")
        if not isinstance(fleet, str) or not fleet:
            raise ConfigError("fleet is missing: the name under which its checkpoints settle")
        section = build(AggregatorSection, file.data.get(SECTION), SECTION)
        settlement = build(SettlementSection, file.data.get(SETTLEMENT), SETTLEMENT)
        return AggregatorConfig(section, Settlement(fleet, settlement, path.resolve().parent))
    except ConfigError as error:
        raise file.error(error) from error
