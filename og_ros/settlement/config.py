"""The section `settlement` of a pipeline file: which ledger settles where, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from og_ros.attest.signer import SoftwareSigner
from og_ros.errors import ConfigError
from og_ros.settlement.backend import Backend, OpenLog
from og_ros.settlement.settler import Due
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

SECTION: Final = "settlement"


@dataclass(frozen=True)
class BackendSection:
    """One backend.

    Attributes:
        type: local (the ledger itself) or evm (a DecisionChain contract behind a JSON-RPC node).
        rpc: URL of the node. Put a key that is part of it into the environment: ${NAME} is replaced.
        contract: address of DecisionChain.
        key: the robot's settlement key (P-256, PEM); none: unsigned, on the account's word, where the registry allows.
        account: keystore file; its password is in OG_ROS_KEYSTORE_PASSWORD. None: OG_ROS_SETTLEMENT_KEY has the key.
        finality: blocks (the inclusion counts as 1) after which it is final; none: the node's `finalized` tag.
        max_fee_gwei, priority_fee_gwei, bump_after_s: what may be paid for gas, and when a stuck transaction pays more.
    """

    type: Literal["local", "evm"]
    rpc: str = ""
    contract: str = ""
    key: Path | None = None
    account: Path | None = None
    finality: int | None = None
    max_fee_gwei: float = 100.0
    priority_fee_gwei: float = 1.0
    bump_after_s: float = 60.0

    def __post_init__(self) -> None:
        if self.type == "evm" and not (self.rpc and self.contract):
            raise ConfigError("rpc and contract are missing: an evm backend needs both")
        if self.finality is not None and not 1 <= self.finality <= 10_000:
            raise ConfigError(f"finality is {self.finality}; it must be from 1 to 10000")
        for name in ("max_fee_gwei", "priority_fee_gwei", "bump_after_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} must be above 0")


@dataclass(frozen=True)
class SettlementSection:
    """Where checkpoints settle: `state` is the outbox's directory; see Due for when. Several backends may be named."""

    state: Path
    backends: Mapping[str, BackendSection] = field(default_factory=lambda: {"local": BackendSection("local")})
    every_leaves: int = 10_000
    every_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not self.backends:
            raise ConfigError("backends is empty; leave it out for the local one")
        if self.every_leaves < 1:
            raise ConfigError("every_leaves must be at least 1")
        if not (math.isfinite(self.every_seconds) and self.every_seconds > 0):
            raise ConfigError("every_seconds must be above 0")


@dataclass(frozen=True)
class Settlement:
    """A configuration as read: the robot's name, the section, and the directory that its paths are relative to."""

    robot: str
    section: SettlementSection
    base: Path

    @property
    def state(self) -> Path:
        """The outbox's directory."""
        return self.base / self.section.state

    @property
    def due(self) -> Due:
        """When a checkpoint leaves."""
        return Due(self.section.every_leaves, self.section.every_seconds)

    def backends(self, open_log: OpenLog) -> list[Backend]:
        """Make the backends; raises ConfigError or KeyFileError."""
        return [self._backend(name, section, open_log) for name, section in self.section.backends.items()]

    def _backend(self, name: str, section: BackendSection, open_log: OpenLog) -> Backend:
        if section.type == "local":
            from og_ros.settlement.local import LocalBackend

            return LocalBackend(name, open_log)
        from og_ros.settlement import account
        from og_ros.settlement.evm import EvmBackend, Fees
        from og_ros.settlement.evm_chain import EvmChain
        from og_ros.settlement.rpc import Rpc

        chain = EvmChain(Rpc(expand(section.rpc)), section.contract)
        payer = account.load(self.base / section.account if section.account is not None else None)
        signer = SoftwareSigner.load(self.base / section.key) if section.key is not None else None
        fees = Fees(section.max_fee_gwei, section.priority_fee_gwei, section.bump_after_s)
        return EvmBackend(name, chain, self.robot, payer, signer, section.finality, fees)


def load(path: Path) -> Settlement:
    """Read the section of a pipeline file, or of a file that has only `robot` and it; raises ConfigError."""
    file = YamlFile(path)
    try:
        robot, section = file.data.get("robot"), file.data.get(SECTION)
        if not isinstance(robot, str) or not robot:
            raise ConfigError("robot is missing: the name of the robot whose checkpoints settle")
        if section is None:
            raise ConfigError(f"{SECTION} is missing: where checkpoints settle")
        return Settlement(robot, build(SettlementSection, section, SECTION), path.resolve().parent)
    except ConfigError as error:
        raise file.error(error) from error


def expand(text: str) -> str:
    """Replace each ${NAME} by the environment's value; raises ConfigError where it is not set."""
    import os
    import string

    try:
        return string.Template(text).substitute(os.environ)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"rpc names an environment variable that is not set, or is malformed: {error}") from error
