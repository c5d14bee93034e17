"""What an auditor says in ROS messages: stages, findings and diagnostics, from what it knows."""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from og_ros.audit.findings import Finding as FoundThing
from og_ros.audit.records import Inference
from og_ros.msg import ChainStatus, Finding, StageStatus
from og_ros.nodes.log_writer import LogWriter


@dataclass
class LiveStage:
    """Live figures of one stage since the last status."""

    topic: str
    newest: Inference
    total: int = 0
    violations: int = 0
    period: int = 0
    durations_ms: list[float] = field(default_factory=list)


def finding_message(finding: FoundThing) -> Finding:
    """Return a finding as it is published, stamped now."""
    return Finding(
        stamp=wall_time(),
        kind=finding.kind,
        severity=int(finding.severity),
        stage=finding.stage,
        topic=finding.topic,
        has_sequence=finding.sequence is not None,
        sequence=finding.sequence or 0,
        message=finding.message[:1024],
    )


def stage_status(name: str, stage: LiveStage, elapsed: float) -> StageStatus:
    """Return a stage's figures, `elapsed` seconds after the last ones, and begin anew."""
    statement = stage.newest.attestation.statement
    status = StageStatus(
        stage=name,
        attestation_topic=stage.topic,
        model=f"{statement.model.name} {statement.model.version}".strip(),
        key_id=np.frombuffer(statement.key_id, np.uint8),
        session=np.frombuffer(statement.session, np.uint8),
        sequence=statement.sequence,
        attestations=stage.total,
        violations=stage.violations,
        rate=stage.period / elapsed,
        latency_ms=median(stage.durations_ms),
    )
    stage.period, stage.durations_ms = 0, []
    return status


def diagnostics(status: ChainStatus, log: LogWriter | None, namespace: str) -> DiagnosticArray:
    """Return a status as /diagnostics has it."""
    level, text = {
        ChainStatus.NO_DATA: (DiagnosticStatus.STALE, "no attestation has arrived yet"),
        ChainStatus.HOLDS: (DiagnosticStatus.OK, "the decision chain holds"),
        ChainStatus.DEGRADED: (DiagnosticStatus.WARN, "some decisions could not be linked to sensor data"),
        ChainStatus.VIOLATED: (DiagnosticStatus.ERROR, "the decision chain is violated"),
    }[status.state]
    if log is not None and log.failed and level == DiagnosticStatus.WARN:
        text = f"the log cannot be written: {log.failed}"
    if status.recent and status.state == ChainStatus.VIOLATED:
        text = f"{text}: {status.recent[0].kind}: {status.recent[0].message}"
    values = {
        "attestations": status.attestations,
        "decisions": status.decisions,
        "linked": status.linked,
        "violations": status.violations,
        "warnings": status.warnings,
        "chain latency (ms)": f"{status.chain_latency_ms:.1f}",
        "log size": status.log_size,
        "waiting for the log": log.waiting if log is not None else 0,
        "without room, to be asked for": log.deferred if log is not None else 0,
    }
    entry = DiagnosticStatus(
        level=level,
        name=f"{namespace}/og_ros: decision chain".lstrip("/"),  # robots share /diagnostics, which goes by this name
        message=text,
        hardware_id=status.robot,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = status.stamp
    return array


def median(values: Sequence[float] | deque[float]) -> float:
    """Return the median; NaN of nothing."""
    return float(statistics.median(values)) if values else math.nan


def wall_time() -> Time:
    """Return the time by the wall clock."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return Time(sec=seconds, nanosec=nanoseconds)
