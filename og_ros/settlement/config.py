"""The section `settlement` of a pipeline file: which ledger settles where, and when."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from og_ros.attest.signer import SoftwareSigner
from og_ros.errors import ConfigError, LogError, SettlementError
from og_ros.log import VerifierKey
from og_ros.settlement.backend import Backend, OpenLog
from og_ros.settlement.checkpoints import check_address
from og_ros.settlement.settler import Due
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

if TYPE_CHECKING:
    from og_ros.settlement.http_client import HttpClient

SECTION: Final = "settlement"
NETWORK: Final = re.compile(r"eip155:([1-9][0-9]{0,17})", re.ASCII)
_FROM_ENVIRONMENT: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)


@dataclass(frozen=True)
class Allowance:
    """What may be paid: network (CAIP-2, `eip155:8453`), the token's address, to whom, and how much in its smallest
    unit, a payment and in any 24 hours.
    """

    network: str
    asset: str
    pay_to: str
    per_payment: int
    per_day: int

    def __post_init__(self) -> None:
        if not NETWORK.fullmatch(self.network):
            raise ConfigError(f"network is {self.network[:40]!a}; it must be eip155: and the chain's id")
        for name in ("asset", "pay_to"):
            try:
                object.__setattr__(self, name, check_address(name, getattr(self, name)))
            except SettlementError as error:
                raise ConfigError(str(error)) from error
        if not 0 < self.per_payment <= self.per_day:
            raise ConfigError("per_payment must be above 0, and per_day at least as much")


@dataclass(frozen=True)
class PaymentSection:
    """What may be paid to an endpoint by x402, from which account (see BackendSection.account)."""

    allowed: tuple[Allowance, ...]
    account: Path | None = None

    def __post_init__(self) -> None:
        if not self.allowed:
            raise ConfigError("allowed is empty: which payments may be made")
        if len({(one.network, one.asset, one.pay_to) for one in self.allowed}) < len(self.allowed):
            raise ConfigError("allowed names a recipient of an asset twice")


@dataclass(frozen=True)
class BackendSection:
    """One backend.

    Attributes:
        type: local (the ledger itself), evm (a DecisionChain contract behind a JSON-RPC node), http (an endpoint that
            logs checkpoints) or opengradient (its batch relay; never run live).
        rpc: URL of the node. Put a key that is part of it into the environment: ${NAME} is replaced.
        contract: address of DecisionChain, or of OpenGradient's settlement contract.
        key: the robot's settlement key (P-256, PEM); none: unsigned, on the account's word, where the registry allows.
        account: keystore file; its password is in OG_ROS_KEYSTORE_PASSWORD. None: OG_ROS_SETTLEMENT_KEY has the key.
        finality: blocks (the inclusion counts as 1) after which it is final; none: the node's `finalized` tag.
        max_fee_gwei, priority_fee_gwei, bump_after_s: what may be paid for gas, and when a stuck transaction pays more.
        url: the endpoint's, or the facilitator's; ${NAME} is replaced.
        endpoint_key: verifier key (vkey) of the endpoint's log.
        token: what the endpoint asks for, from the environment: ${NAME}.
        ca: certificates (PEM) to trust instead of the system's.
        poll_s: seconds between questions for a checkpoint's state.
        payment: what may be paid to the endpoint; none: nothing.
        blobs: URL of a Walrus aggregator, which has the rows of OpenGradient's batches.
        resend_s: after so many seconds in no batch, a checkpoint is handed to the facilitator again.
    """

    type: Literal["local", "evm", "http", "opengradient"]
    rpc: str = ""
    contract: str = ""
    key: Path | None = None
    account: Path | None = None
    finality: int | None = None
    max_fee_gwei: float = 100.0
    priority_fee_gwei: float = 1.0
    bump_after_s: float = 60.0
    url: str = ""
    endpoint_key: str = ""
    token: str = ""
    ca: Path | None = None
    poll_s: float = 1.0
    payment: PaymentSection | None = None
    blobs: str = ""
    resend_s: float = 1800.0

    def __post_init__(self) -> None:
        if self.type == "evm" and not (self.rpc and self.contract):
            raise ConfigError("rpc and contract are missing: an evm backend needs both")
        if self.type == "http" and not (self.url and self.endpoint_key):
            raise ConfigError("url and endpoint_key are missing: an http backend needs both")
        if self.type == "opengradient":
            for name in ("url", "blobs", "rpc", "contract", "key"):
                if not getattr(self, name):
                    raise ConfigError(f"{name} is missing: an opengradient backend needs it")
        if self.token and not _FROM_ENVIRONMENT.fullmatch(self.token):
            raise ConfigError("token must be ${NAME}: a token does not belong in a file")
        if self.finality is not None and not 1 <= self.finality <= 10_000:
            raise ConfigError(f"finality is {self.finality}; it must be from 1 to 10000")
        for name in ("max_fee_gwei", "priority_fee_gwei", "bump_after_s", "poll_s", "resend_s"):
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
        if section.type == "http":
            return self._http(name, section)
        if section.type == "opengradient":
            return self._opengradient(name, section)
        from og_ros.settlement import account
        from og_ros.settlement.evm import EvmBackend, Fees
        from og_ros.settlement.evm_chain import EvmChain
        from og_ros.settlement.rpc import Rpc

        chain = EvmChain(Rpc(expand(section.rpc)), section.contract)
        payer = account.load(self.base / section.account if section.account is not None else None)
        signer = SoftwareSigner.load(self.base / section.key) if section.key is not None else None
        fees = Fees(section.max_fee_gwei, section.priority_fee_gwei, section.bump_after_s)
        return EvmBackend(name, chain, self.robot, payer, signer, section.finality, fees)

    def _client(self, section: BackendSection, url: str) -> HttpClient:
        from og_ros.settlement.http_client import HttpClient

        ca = self.base / section.ca if section.ca is not None else None
        return HttpClient(expand(url), token=expand(section.token), ca=ca)

    def _http(self, name: str, section: BackendSection) -> Backend:
        from og_ros.settlement.http_backend import HttpBackend

        try:
            key = VerifierKey.parse(section.endpoint_key)
        except LogError as error:
            raise ConfigError(f"endpoint_key of {name}: {error}") from error
        payer = None
        if (payment := section.payment) is not None:
            from og_ros.settlement import account
            from og_ros.settlement.outbox import FILE
            from og_ros.settlement.payer import Payer
            from og_ros.settlement.payments import Payments

            purse = account.load(self.base / payment.account if payment.account is not None else None)
            payer = Payer(name, key.public_key, purse, payment.allowed, Payments(self.state / FILE))
        return HttpBackend(name, self._client(section, section.url), key, payer, section.poll_s)

    def _opengradient(self, name: str, section: BackendSection) -> Backend:
        from og_ros.settlement.evm_chain import EvmChain
        from og_ros.settlement.relay_backend import Relay, RelayBackend
        from og_ros.settlement.rpc import Rpc
        from og_ros.settlement.standard_tree import MAX_DUMP

        assert section.key is not None
        signer = SoftwareSigner.load(self.base / section.key)
        chain = EvmChain(Rpc(expand(section.rpc)), section.contract)
        ca = self.base / section.ca if section.ca is not None else None
        from og_ros.settlement.http_client import HttpClient

        blobs = HttpClient(expand(section.blobs), ca=ca, max_answer=MAX_DUMP)
        relay = Relay(self._client(section, section.url), blobs, section.poll_s, section.resend_s)
        return RelayBackend(name, chain, relay, self.robot, signer, section.finality)


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
        raise ConfigError(f"an environment variable is not set, or its name malformed: {error}") from error
