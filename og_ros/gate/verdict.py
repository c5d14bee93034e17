"""What the gate says of a command: passed or not, why, and in which state the gate is then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from og_ros.attest.statement import NO_DIGEST
from og_ros.gate.settings import ModeName


class State(IntEnum):
    """Whether the gate passes commands; the numbers are those of msg/Verdict."""

    CLOSED = 0
    OPEN = 1
    LATCHED = 2


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a command does not pass: a kind of og_ros.audit.findings.KINDS, and one sentence."""

    kind: str
    message: str


Check: TypeAlias = Callable[[str, str, bytes, int], Reason | None]
"""A further rule that a verified command must pass, such as bounds on its fields.

Called with topic, message type, payload as it travelled, and monotonic time in ns; returns why the command must not
pass, or None. It must be fast, and must not raise: what it raises refuses the command.
"""


@dataclass(slots=True, eq=False)
class Command:
    """A command that waits for its verdict: the bytes as they travelled, and their monotonic time of arrival, ns.

    `passed` says that it went on without waiting, as in mode monitor.
    """

    topic: str
    type: str
    payload: bytes
    arrived_ns: int
    digest: bytes = b""
    passed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision; times in ns.

    `accepted` says that the chain verified, `forward` that the command is to be passed on now. A verdict without
    command tells why the gate latched. `stages` are those of the chain, from the sensors on. `latency_ns` is the time
    from the command's arrival to the decision, `chain_ns` that from the oldest sensor stamp to the last stage's end.
    """

    mode: ModeName
    state: State
    accepted: bool
    forward: bool
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Reason, ...] = ()
    command: Command | None = None
    attestation: bytes = NO_DIGEST
    stages: tuple[str, ...] = ()
    latency_ns: int = 0
    chain_ns: int | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the reasons, each once."""
        return tuple(dict.fromkeys(reason.kind for reason in self.reasons))
