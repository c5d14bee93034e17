"""What the gate node says: a Verdict for each decision, and its diagnostics."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.serialization import serialize_message

from og_ros.attest.statement import NO_DIGEST
from og_ros.gate.gatekeeper import Gatekeeper
from og_ros.gate.verdict import State, Verdict
from og_ros.msg import Verdict as VerdictMessage


@dataclass(frozen=True)
class Figures:
    """What the node counted: decisions by outcome, newest latencies (ns), records waiting, and how it stands."""

    counts: Counter[str]
    latencies_ns: Sequence[int]
    waiting: int
    active: bool
    bypassed: bool


def verdict_payload(verdict: Verdict, keeper: Gatekeeper) -> bytes:
    """Return og_ros/msg/Verdict, serialised."""
    latched = verdict.state is State.LATCHED
    command = verdict.command.digest if verdict.command is not None else NO_DIGEST
    message = VerdictMessage(
        stamp=_wall_time(),
        mode=VerdictMessage.ENFORCE if keeper.enforcing else VerdictMessage.MONITOR,
        state=int(verdict.state),
        latched=latched,
        accepted=verdict.accepted,
        forwarded=verdict.forward,
        reasons=list(verdict.kinds[:16]),
        notes=list(dict.fromkeys(note.kind for note in verdict.notes))[:16],
        message=_bounded("; ".join(reason.message for reason in verdict.reasons), 1024),
        topic=verdict.command.topic if verdict.command is not None else "",
        command=np.frombuffer(command or NO_DIGEST, np.uint8),
        attestation=np.frombuffer(verdict.attestation, np.uint8),
        stages=list(verdict.stages[:32]),
        latency_ms=verdict.latency_ns / 1e6,
        chain_latency_ms=verdict.chain_ns / 1e6 if verdict.chain_ns is not None else math.nan,
        safe_behaviour=keeper.settings.behaviour.kind if latched else "",
    )
    return bytes(serialize_message(message))


def diagnostics(name: str, keeper: Gatekeeper, output: str, figures: Figures) -> DiagnosticArray:
    """Return how the gate stands, for /diagnostics."""
    settings = keeper.settings
    level, words = DiagnosticStatus.OK, "open: verified commands pass"
    if not figures.active:
        level, words = DiagnosticStatus.STALE, "not active: nothing passes"
    elif keeper.state is State.LATCHED:
        kinds = ", ".join(dict.fromkeys(reason.kind for reason in keeper.latched_for))
        level, words = DiagnosticStatus.ERROR, f"latched ({kinds}): {settings.behaviour.kind}, until it is reset"
    elif keeper.state is State.CLOSED:
        level, words = DiagnosticStatus.WARN, "closed: no chain has verified yet"
    if figures.bypassed:
        level, words = DiagnosticStatus.ERROR, f"{words}; another node publishes on {output}"
    latencies = sorted(figures.latencies_ns)
    reasons = {k: n for k, n in sorted(keeper.counts.items()) if k not in ("accepted", "refused")}
    values = {
        "mode": settings.mode,
        "state": keeper.state.name.lower(),
        **{name: figures.counts[name] for name in ("accepted", "refused", "forwarded")},
        **{f"refused: {kind}": count for kind, count in reasons.items()},
        "latency_p50_ms": f"{latencies[len(latencies) // 2] / 1e6:.3f}" if latencies else "",
        "latency_p99_ms": f"{latencies[int(len(latencies) * 0.99)] / 1e6:.3f}" if latencies else "",
        "records_in_memory": keeper.size,
        "waiting": figures.waiting,
    }
    status = DiagnosticStatus(
        level=level,
        name=name,
        message=words,
        hardware_id=settings.robot,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[status])
    array.header.stamp = _wall_time()
    return array


def _bounded(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _wall_time() -> Time:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return Time(sec=seconds, nanosec=nanoseconds)
