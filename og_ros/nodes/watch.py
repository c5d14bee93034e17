"""The watch node: hears one robot's auditor, gate and attestations, and passes them on to the live page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from og_ros.attest import ATTESTATION_TYPE
from og_ros.msg import Attestation, ChainStatus, Checkpoint, Finding, Verdict
from og_ros.watch.live_state import LiveState

TICK_S = 0.2
_STATES = {0: "no_data", 1: "holds", 2: "degraded", 3: "violated"}
_SEVERITIES = {0: "info", 1: "warning", 2: "violation"}
_MODES = {1: "enforce", 2: "monitor"}
_GATE_STATES = {0: "closed", 1: "open", 2: "latched"}


class WatchNode(Node):
    """Listens only, and best effort where much comes: no publisher ever waits for it, and it publishes nothing."""

    def __init__(self, state: LiveState, auditor: str, gate: str, **options: Any) -> None:
        """`auditor` and `gate` are the fully qualified names of those nodes."""
        super().__init__("watch", start_parameter_services=False, enable_rosout=False, **options)
        self._state = state
        self._attestations: dict[str, Any] = {}
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        # Reliable and few: a finding that was missed would be missed for good.
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._listen_to(ChainStatus, f"{auditor}/status", lambda m: state.status(_status(m)), _best_effort(2))
        self._listen_to(Finding, f"{auditor}/finding", lambda m: state.finding(_finding(m)), reliable)
        self._listen_to(Checkpoint, f"{auditor}/checkpoint", lambda m: state.checkpoint(_checkpoint(m)), latched)
        self._listen_to(Verdict, f"{gate}/verdict", lambda m: state.verdict(_verdict(m)), _best_effort(50))
        self.create_timer(0.5, self._discover, clock=steady)
        self.create_timer(TICK_S, lambda: state.tick(time.time_ns()), clock=steady)

    def _listen_to(self, kind: Any, topic: str, take: Callable[[Any], None], qos: QoSProfile) -> None:
        self.create_subscription(kind, topic, take, qos)

    def _discover(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if ATTESTATION_TYPE in types and topic not in self._attestations:
                self._attestations[topic] = self.create_subscription(
                    Attestation,
                    topic,
                    lambda raw, t=topic: self._state.attestation(t, bytes(raw), time.time_ns()),
                    _best_effort(200),
                    raw=True,
                )


def _best_effort(depth: int) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)


def _ms(stamp: Any) -> float:
    return float(stamp.sec * 1e3 + stamp.nanosec / 1e6)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _hex(data: Any) -> str:
    return bytes(data).hex()


def _status(status: ChainStatus) -> dict[str, Any]:
    return {
        "stamp_ms": _ms(status.stamp),
        "state": _STATES.get(status.state, "no_data"),
        "robot": status.robot,
        "attestations": status.attestations,
        "decisions": status.decisions,
        "linked": status.linked,
        "violations": status.violations,
        "warnings": status.warnings,
        "chain_latency_ms": _number(status.chain_latency_ms),
        "log_size": status.log_size,
        "log_root": _hex(status.log_root),
        "stages": [
            {
                "stage": stage.stage,
                "attestation_topic": stage.attestation_topic,
                "model": stage.model,
                "key": _hex(stage.key_id),
                "session": _hex(stage.session),
                "sequence": stage.sequence,
                "attestations": stage.attestations,
                "violations": stage.violations,
                "rate": _number(stage.rate),
                "latency_ms": _number(stage.latency_ms),
            }
            for stage in status.stages
        ],
        "recent": [_finding(finding) for finding in status.recent],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "stamp_ms": _ms(finding.stamp),
        "kind": finding.kind,
        "severity": _SEVERITIES.get(finding.severity, "violation"),
        "stage": finding.stage,
        "topic": finding.topic,
        "sequence": finding.sequence if finding.has_sequence else None,
        "message": finding.message,
    }


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "stamp_ms": _ms(checkpoint.stamp),
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": _hex(checkpoint.root),
        "note": checkpoint.note,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "stamp_ms": _ms(verdict.stamp),
        "mode": _MODES.get(verdict.mode, "unknown"),
        "state": _GATE_STATES.get(verdict.state, "closed"),
        "accepted": bool(verdict.accepted),
        "forwarded": bool(verdict.forwarded),
        "reasons": list(verdict.reasons),
        "notes": list(verdict.notes),
        "message": verdict.message,
        "topic": verdict.topic,
        "command": _hex(verdict.command),
        "latency_ms": _number(verdict.latency_ms),
        "chain_latency_ms": _number(verdict.chain_latency_ms),
        "safe_behaviour": verdict.safe_behaviour,
    }
