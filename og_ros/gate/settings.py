"""What a gate is asked to do: mode, deadlines, what its chains must look like, and its safe behaviour."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final, Literal, TypeAlias

from og_ros.audit.axes import AXES
from og_ros.audit.policy import Policy
from og_ros.errors import ConfigError, PolicyError

ModeName: TypeAlias = Literal["enforce", "monitor"]
Behaviour: TypeAlias = Literal["stop", "hold", "decelerate", "hand_over"]

MS: Final = 1_000_000
# Levels that take a log or another run of the model to reach; a gate has neither at the moment of the command.
_NOT_AT_RUN_TIME: Final = {
    "model_integrity": ("re-executed", "proven"),
    "inference_authenticity": ("re-executed", "zk"),
}
_FIELD: Final = re.compile(r"[a-z][a-z0-9_]*(\[\d+\])?(\.[a-z][a-z0-9_]*(\[\d+\])?)*", re.ASCII)


@dataclass(frozen=True)
class SafeBehaviour:
    """What the gate does instead of passing commands, once it is latched; times in ns.

    `stop` publishes the neutral message, `hold` repeats the last verified command for `duration_ns` and then stops,
    `decelerate` scales that command's numbers to zero over `duration_ns` and then stops, `hand_over` publishes the
    neutral message on another topic, which a multiplexer lets through, and nothing on the output. `neutral` gives the
    fields of the neutral message that are not zero (or false, or empty), such as {"data": [0.0, 0.0]}. `scaled` names
    the fields that `decelerate` scales, such as "linear.x"; without any, every number outside the header is scaled.
    """

    kind: Behaviour = "stop"
    duration_ns: int = 500 * MS
    period_ns: int = 50 * MS
    neutral: Mapping[str, object] = field(default_factory=dict)
    scaled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.duration_ns <= 60_000 * MS:
            raise ConfigError(f"safe_duration is {self.duration_ns / 1e9:g} s; it must be above 0 and at most 60 s")
        if not MS <= self.period_ns <= 10_000 * MS:
            raise ConfigError(f"safe_period is {self.period_ns / 1e9:g} s; it must be from 0.001 to 10 s")
        for name in (*self.neutral, *self.scaled):
            if not _FIELD.fullmatch(name):
                raise ConfigError(f"{name!a} is no field of a message; one looks like linear.x or data[0]")


@dataclass(frozen=True)
class GateSettings:
    """How a gate decides; times in ns.

    Attributes:
        command: topic that the commands come from, as their attestations name it.
        sensors: topics whose messages may begin a chain; they are believed, and the gate must see each one itself.
        stages: stages that every command's chain must have, from the sensors on; the last one makes the command.
        robot: whose attestations count; empty: any robot that the registry knows, but one in a chain.
        mode: enforce, or monitor: everything passes, and verdicts say what would not.
        deadline_ns: how long a command may wait for what proves it.
        max_command_age_ns: how old a command may be when it passes, from the end of its inference, by what the gate
            itself can measure (`freshness.py`).
        clock_tolerance_ns: how far the wall clocks of stages and gate may be apart.
        stall_ns: after so long without a verified command an open gate latches; 0: never.
        healthy_ns: so long there must have been nothing to refuse before a reset is granted.
        max_waiting: commands that may wait at once; one more is refused as overload, and the gate latches.
        memory_ns: how long sensor messages and attested outputs are remembered; the newest of each topic always is.
        max_records: how many of each are remembered; the oldest go first.
    """

    command: str
    sensors: tuple[str, ...]
    stages: tuple[str, ...] = ()
    robot: str = ""
    mode: ModeName = "enforce"
    deadline_ns: int = 50 * MS
    max_command_age_ns: int = 200 * MS
    clock_tolerance_ns: int = 1_000 * MS
    stall_ns: int = 500 * MS
    healthy_ns: int = 300 * MS
    max_waiting: int = 64
    memory_ns: int = 10_000 * MS
    max_records: int = 8192
    behaviour: SafeBehaviour = field(default_factory=SafeBehaviour)

    def __post_init__(self) -> None:
        if not self.command:
            raise ConfigError("input is missing: the topic that commands come from")
        if not self.sensors:
            raise ConfigError("sensors is missing: the topics that a chain may begin with")
        if self.command in self.sensors:
            raise ConfigError(f"sensors names {self.command}, which is where commands come from")
        for name in ("deadline_ns", "max_command_age_ns", "healthy_ns", "memory_ns", "max_waiting", "max_records"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name.removesuffix('_ns')} must be above 0")
        if self.stall_ns < 0 or self.clock_tolerance_ns < 0:
            raise ConfigError("stall and clock_tolerance must be 0 or above")
        if self.max_records < 4 * self.max_waiting:
            raise ConfigError("max_records must be at least four times max_waiting")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the settings, for the gate's own attestations."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).digest()


def at_run_time(policy: Policy) -> tuple[Policy, list[str]]:
    """Return the part of a policy that a gate can hold a command against, and in words what it leaves to an audit.

    Raises PolicyError for a level that no command could reach before it is executed, such as `re-executed`.
    """
    left: list[str] = []
    for where, levels in [("decision_levels", policy.decision_levels)] + [
        (f"stages.{name}", demands.levels) for name, demands in policy.stages.items()
    ]:
        for axis, never in _NOT_AT_RUN_TIME.items():
            if levels.get(axis) in never:
                raise PolicyError(
                    f"{where}.{axis} is {levels[axis]}, which no command has before it is executed; give the gate a "
                    "policy of its own"
                )
        if levels.get("settlement", AXES["settlement"][0]) != AXES["settlement"][0]:
            left.append(f"{where}.settlement: {levels['settlement']}")
    if policy.min_reexecuted:
        left.append("reexecution.minimum_share")
    stages = {
        name: replace(demands, levels={a: v for a, v in demands.levels.items() if a != "settlement"})
        for name, demands in policy.stages.items()
    }
    decision = {axis: level for axis, level in policy.decision_levels.items() if axis != "settlement"}
    return replace(policy, stages=stages, decision_levels=decision), left
