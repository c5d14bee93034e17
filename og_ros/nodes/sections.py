"""The sections of a pipeline file beside its stages: each field is a parameter of the node that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from og_ros.attest.key_reference import beside
from og_ros.stages.pipeline import Parameter


@dataclass(frozen=True)
class SourceSection:
    """A source of section `sources`, by its name: parameters of the source node, which describes them.

    Not given: robot, registry and registry_root are the pipeline's, and the rest is as the node has it.
    """

    topics: tuple[str, ...]
    key: Path
    driver: Path | None = None
    driver_name: str | None = None
    driver_version: str | None = None
    driver_node: str | None = None
    robot: str | None = None
    registry: Path | None = None
    registry_root: str | None = None
    require_certified: bool | None = None
    queue: int | None = None
    attestation_topic: str | None = None
    digest: str | None = None
    reliability: str | None = None
    depth: int | None = None
    journal: Path | None = None
    journal_limit_mb: int | None = None
    journal_days: float | None = None
    evidence: str | None = None
    evidence_file: Path | None = None
    evidence_renew_s: float | None = None


@dataclass(frozen=True)
class WitnessSection:
    """A witness of section `witnesses`, by the stage that it observes: parameters of the witness node.

    Not given: robot, registry and registry_root are the pipeline's, and the rest is as the node has it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    key: Path
    rule: str | None = None
    max_age_ms: float | None = None
    patience_ms: float | None = None
    observed_node: str | None = None
    model: Path | None = None
    model_name: str | None = None
    model_version: str | None = None
    model_format: str | None = None
    robot: str | None = None
    registry: Path | None = None
    registry_root: str | None = None
    require_certified: bool | None = None
    queue: int | None = None
    attestation_topic: str | None = None
    digest: str | None = None
    reliability: str | None = None
    depth: int | None = None
    journal: Path | None = None
    journal_limit_mb: int | None = None
    journal_days: float | None = None
    evidence: str | None = None
    evidence_file: Path | None = None
    evidence_renew_s: float | None = None


@dataclass(frozen=True)
class AuditorSection:
    """Section `auditor` of a pipeline file: parameters of the auditor node, which describes them.

    Not given: robot, registry and registry_root are the pipeline's, topics are those that no stage publishes,
    attestations are those of its stages, and the rest is as the node has it.
    """

    robot: str | None = None
    registry: Path | None = None
    registry_root: str | None = None
    policy: Path | None = None
    ledger: Path | None = None
    log_key: Path | None = None
    log_post_quantum_key: Path | None = None
    log_origin: str | None = None
    topics: tuple[str, ...] | None = None
    attestations: tuple[str, ...] | None = None
    discover: str | None = None
    check_data: bool | None = None
    catch_up: bool | None = None
    status_period: float | None = None
    horizon: float | None = None
    checkpoint_period: float | None = None
    log_backlog_mb: float | None = None
    exit_verdict: bool | None = None


@dataclass(frozen=True)
class RecorderSection:
    """Section `recorder` of a pipeline file: parameters of the recorder node, which describes them.

    Without topics it records what the pipeline reads, publishes and attests, and what the auditor says of it. Where it
    seals, topics that stages commit to are committed, with the stages' disclosure_key, unless it says otherwise.
    """

    output: Path
    topics: tuple[str, ...] | None = None
    all: bool | None = None
    evidence: bool | None = None
    compression: str | None = None
    duration: float | None = None
    memory_mb: int | None = None
    flush_period: float | None = None
    discovery_period: float | None = None
    seal: tuple[Path, ...] | None = None
    seal_period: float | None = None
    committed: tuple[str, ...] | None = None
    disclosure_key: Path | None = None


@dataclass(frozen=True)
class GateSection:
    """Section `gate` of a pipeline file: parameters of the gate node, which describes them.

    Not given: robot, registry and registry_root are the pipeline's; input and type are the one output that no stage
    reads; sensors, stages and attestations are those behind it; and the rest is as the node has it. `neutral` maps
    fields to values here.
    """

    output: str
    key: Path
    input: str | None = None
    type: str | None = None
    sensors: tuple[str, ...] | None = None
    stages: tuple[str, ...] | None = None
    attestations: tuple[str, ...] | None = None
    robot: str | None = None
    registry: Path | None = None
    registry_root: str | None = None
    policy: Path | None = None
    mode: str | None = None
    safe_behaviour: str | None = None
    hand_over: str | None = None
    bypass: str | None = None
    neutral: Mapping[str, object] = field(default_factory=dict)
    scaled: tuple[str, ...] | None = None
    require_certified: bool | None = None
    envelopes: tuple[Path, ...] | None = None
    state: Path | None = None
    deadline: float | None = None
    max_command_age: float | None = None
    clock_tolerance: float | None = None
    stall: float | None = None
    healthy: float | None = None
    memory: float | None = None
    safe_duration: float | None = None
    safe_period: float | None = None
    max_waiting: int | None = None
    max_records: int | None = None
    queue: int | None = None


Section = AuditorSection | RecorderSection | GateSection | SourceSection | WitnessSection


def given(section: Section, base: Path) -> dict[str, Parameter]:
    """Return the fields that a section sets, as ROS parameters."""
    found: dict[str, Parameter] = {}
    for name in (item.name for item in fields(section)):
        value = getattr(section, name)
        if isinstance(value, Path):
            found[name] = str(beside(base, value))
        elif isinstance(value, tuple):
            texts = [str(base / item) if isinstance(item, Path) else item for item in value]
            found[name] = texts or [""]  # ROS has no empty list of texts
        elif isinstance(value, Mapping):
            found[name] = [f"{key}={json.dumps(item)}" for key, item in value.items()] or [""]
        elif value is not None:
            found[name] = value
    return found
