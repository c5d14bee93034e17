"""Streams the records of a run through a gatekeeper, as they would have arrived, and keeps what it let pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from og_ros.attest import ATTESTATION_TYPE, digest
from og_ros.audit.appraiser import Appraiser
from og_ros.audit.policy import Policy
from og_ros.audit.records import Record
from og_ros.evidence.message import EVIDENCE_TYPE
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.settings import GateSettings
from og_ros.gate.verdict import Check, Command, Verdict
from og_ros.registry import Registry

SENSORS = ("/camera/image", "/scan", "/odom")
CHAIN = ("perception", "planning", "control")


def settings(**changes: object) -> GateSettings:
    """Settings for the chain of scenario.py and of the demo."""
    given: dict[str, object] = {
        "command": "/wheel_command",
        "sensors": SENSORS,
        "stages": CHAIN,
        "deadline_ns": 50_000_000,
        "stall_ns": 500_000_000,
        # Made runs have monotonic clocks that say when the stage was due, not when it ran.
        "max_command_age_ns": 200_000_000,
    }
    return GateSettings(**{**given, **changes})  # type: ignore[arg-type]


@dataclass
class Gated:
    """A gatekeeper, what came out of it, and the time at which it is."""

    keeper: Gatekeeper
    appraiser: Appraiser
    now_ns: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    passed: list[bytes] = field(default_factory=list)

    @classmethod
    def by(
        cls, registry: Registry, policy: Policy | None = None, checks: Sequence[Check] = (), **changes: object
    ) -> Gated:
        """Make a gatekeeper whose wall clock is the time of the records."""
        gated: Gated
        keeper = Gatekeeper(settings(**changes), registry, policy, checks, wall_clock=lambda: gated.now_ns)
        gated = cls(keeper, Appraiser(policy.evidence if policy is not None else None, registry))
        return gated

    def stream(self, records: Iterable[Record]) -> Gated:
        """Feed records at their times, and call the gatekeeper when it asked to be called."""
        for record in records:
            self.wait_until(record.received_ns)
            self.feed(record)
        return self

    def feed(self, record: Record) -> None:
        """Feed one record now."""
        keeper, now = self.keeper, self.now_ns
        if record.type == ATTESTATION_TYPE:
            self._take(keeper.take_attestation(record.topic, bytes(record.payload), now))
        elif record.type == EVIDENCE_TYPE:
            found = self.appraiser.examine(record)
            self._take(keeper.take_evidence(found, now) if found is not None else [])
        elif record.topic == keeper.settings.command:
            self._take(keeper.take_command(Command(record.topic, record.type, bytes(record.payload), now), now))
        elif record.topic in keeper.settings.sensors:
            algorithm = keeper.algorithm_of(record.topic)
            self._take(keeper.take_message(record.topic, digest(record.payload, algorithm), now))

    def wait_until(self, at_ns: int) -> None:
        """Let time pass."""
        self.now_ns = self.now_ns or at_ns
        while True:
            due = self.keeper.next_ns(self.now_ns)
            if due >= at_ns:
                break
            self.now_ns = max(due + 1, self.now_ns)
            self._take(self.keeper.decide(self.now_ns))
        self.now_ns = max(self.now_ns, at_ns)

    def wait(self, seconds: float) -> Gated:
        """Let some time pass."""
        self.wait_until(self.now_ns + int(seconds * 1e9))
        return self

    @property
    def kinds(self) -> set[str]:
        """The kinds of every reason that was given."""
        return {kind for verdict in self.verdicts for kind in verdict.kinds}

    def _take(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            self.verdicts.append(verdict)
            if verdict.forward and verdict.command is not None:
                self.passed.append(verdict.command.payload)
