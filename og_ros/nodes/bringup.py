"""Says which nodes a pipeline file stands for; launch files and `og-ros demo` start the same ones from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from og_ros.attest import ATTESTATION_TYPE
from og_ros.errors import ConfigError
from og_ros.stages.pipeline import ATTESTATION_SUFFIX, Parameter, Pipeline, StageConfig, to_parameters
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

AUDITOR: Final = "auditor"
RECORDER: Final = "recorder"
GATE: Final = "gate"
# Read by `og-ros settle run`; no node.
SETTLEMENT: Final = "settlement"
SECTIONS: Final = (AUDITOR, RECORDER, GATE, SETTLEMENT)
GATE_VERDICTS: Final = f"{GATE}/verdict"
GATE_ATTESTATIONS: Final = GATE_VERDICTS + ATTESTATION_SUFFIX


@dataclass(frozen=True)
class NodeDescription:
    """One node to start.

    Attributes:
        name: of the node in the ROS graph, without its namespace.
        executable: in package og_ros, and the module of that name in og_ros.nodes.
        parameters: flat ROS parameters; every path is absolute.
        lifecycle: whether it is a managed node, with states and transitions.
    """

    name: str
    executable: str
    parameters: Mapping[str, Parameter]
    lifecycle: bool = False


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
    log_origin: str | None = None
    topics: tuple[str, ...] | None = None
    attestations: tuple[str, ...] | None = None
    check_data: bool | None = None
    catch_up: bool | None = None
    status_period: float | None = None
    horizon: float | None = None
    checkpoint_period: float | None = None


@dataclass(frozen=True)
class RecorderSection:
    """Section `recorder` of a pipeline file: parameters of the recorder node, which describes them.

    Without topics it records what the pipeline reads, publishes and attests, and what the auditor says of it. Where it
    seals, topics that stages commit to are committed, with the stages' disclosure_key, unless it says otherwise.
    """

    output: Path
    topics: tuple[str, ...] | None = None
    all: bool | None = None
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


def describe_nodes(
    pipeline: Pipeline,
    *,
    auditor: bool = True,
    record: bool = False,
    gate: bool = True,
    autostart: bool = True,
    use_sim_time: bool = False,
) -> list[NodeDescription]:
    """Return the nodes of a pipeline in the order to start them: who listens first, then its stages.

    The gate is started if the file has a section for it, unless `gate` is false. `autostart` is whether stages and gate
    configure and activate themselves. Raises ConfigError, naming file, line and field,
    for a section that no node reads, a parameter that its node does not have, or a stage that takes another's name.
    """
    file = YamlFile(pipeline.path)
    try:
        return _nodes(pipeline, auditor, record, gate, {"use_sim_time": use_sim_time}, autostart)
    except ConfigError as error:
        raise file.error(error) from error


def sensor_topics(pipeline: Pipeline) -> list[str]:
    """Return the topics that a pipeline reads and none of its stages publishes, in the order of the file."""
    published = {port.topic for stage in pipeline.stages.values() for port in stage.outputs.values()}
    read = [port.topic for stage in pipeline.stages.values() for port in stage.inputs.values()]
    return [topic for topic in dict.fromkeys(read) if topic not in published]


def attestation_topic(stage: StageConfig) -> str:
    """Return the topic of a stage's attestations."""
    return stage.attestation_topic or next(iter(stage.outputs.values())).topic + ATTESTATION_SUFFIX


def _nodes(
    pipeline: Pipeline, auditor: bool, record: bool, gate: bool, common: Mapping[str, Parameter], autostart: bool
) -> list[NodeDescription]:
    for name in pipeline.sections.keys() - set(SECTIONS):
        raise ConfigError(f"{name} is not known; sections beside stages are {', '.join(SECTIONS)}")
    for name in pipeline.stages.keys() & {AUDITOR, RECORDER, GATE}:
        raise ConfigError(f"stages.{name} has the name of another node: choose another")
    nodes = []
    base = pipeline.path.resolve().parent
    if auditor:
        section = build(AuditorSection, pipeline.sections.get(AUDITOR, {}), AUDITOR)
        nodes.append(NodeDescription(AUDITOR, AUDITOR, {**_audited(pipeline), **_given(section, base), **common}))
    if record:
        output = build(RecorderSection, pipeline.sections.get(RECORDER, {}), RECORDER)
        # By wall time, as it stamps: with simulated time it would not look around before /clock runs.
        committed = _committed(pipeline) if output.seal else {}
        parameters = {"topics": _recorded(pipeline), **committed, **_given(output, base), "use_sim_time": False}
        nodes.append(NodeDescription(RECORDER, RECORDER, parameters))
    if gate and GATE in pipeline.sections:
        wanted = build(GateSection, pipeline.sections[GATE], GATE)
        parameters = {**_gated(pipeline, wanted), **_given(wanted, base), "autostart": autostart, **common}
        nodes.append(NodeDescription(GATE, GATE, parameters, lifecycle=True))
    for name, stage in pipeline.stages.items():
        parameters = {**to_parameters(stage), "autostart": autostart, **common}
        nodes.append(NodeDescription(name, "stage", parameters, lifecycle=True))
    return nodes


def _audited(pipeline: Pipeline) -> dict[str, Parameter]:
    """Return what the auditor takes from the pipeline around its section."""
    attestations = [attestation_topic(stage) for stage in pipeline.stages.values()]
    if GATE in pipeline.sections:
        attestations.append(GATE_ATTESTATIONS)
    return {**_trusted(pipeline), "topics": sensor_topics(pipeline) or [""], "attestations": attestations}


def _trusted(pipeline: Pipeline) -> dict[str, Parameter]:
    """Return the robot's name, the registry, and its root where all stages agree on it."""
    parameters: dict[str, Parameter] = {"robot": pipeline.robot}
    if pipeline.registry is not None:
        parameters["registry"] = str(pipeline.registry)
        roots = {s.registry_root for s in pipeline.stages.values() if s.registry == pipeline.registry} - {""}
        if len(roots) == 1:
            parameters["registry_root"] = roots.pop()
    return parameters


def _gated(pipeline: Pipeline, section: GateSection) -> dict[str, Parameter]:
    """Return what the gate takes from the pipeline around its section."""
    makers = {port.topic: name for name, stage in pipeline.stages.items() for port in stage.outputs.values()}
    read = {port.topic for stage in pipeline.stages.values() for port in stage.inputs.values()}
    command = section.input
    if command is None:
        last = [topic for topic in makers if topic not in read]
        if len(last) != 1:
            raise ConfigError(f"{GATE}.input is missing: {len(last)} outputs of the pipeline are read by no stage")
        command = last[0]
    if command not in makers:
        raise ConfigError(f"{GATE}.input is {command}, which no stage of the pipeline publishes")
    if section.output in {*makers, *read}:
        raise ConfigError(
            f"{GATE}.output is {section.output}, which the pipeline uses: commands would pass beside the gate"
        )
    chain = _behind(pipeline, makers, makers[command])
    inputs = {p.topic: p.type for name in chain for p in pipeline.stages[name].inputs.values()}
    outputs = {p.topic: p.type for p in pipeline.stages[makers[command]].outputs.values()}
    return {
        **_trusted(pipeline),
        "input": command,
        "type": outputs[command],
        "sensors": [f"{topic}:{kind}" for topic, kind in inputs.items() if topic not in makers] or [""],
        "stages": chain,
        "attestations": [attestation_topic(pipeline.stages[name]) for name in chain],
    }


def _behind(pipeline: Pipeline, makers: Mapping[str, str], stage: str) -> list[str]:
    """Return the stages behind a stage, each after those that it reads, and the stage itself last."""
    found: list[str] = []
    begun, stack = {stage}, [(stage, iter(pipeline.stages[stage].inputs.values()))]
    while stack:
        name, ports = stack[-1]
        port = next(ports, None)
        if port is None:
            found.append(name)
            stack.pop()
        elif port.topic in makers and makers[port.topic] not in begun:
            source = makers[port.topic]
            begun.add(source)
            stack.append((source, iter(pipeline.stages[source].inputs.values())))
    return found


def _recorded(pipeline: Pipeline) -> list[str]:
    """Return what is worth recording, each as TOPIC:TYPE, so that the recorder listens before anyone speaks."""
    topics: dict[str, str] = {}
    for stage in pipeline.stages.values():
        topics |= {port.topic: port.type for port in (*stage.inputs.values(), *stage.outputs.values())}
        topics[attestation_topic(stage)] = ATTESTATION_TYPE
    if GATE in pipeline.sections:
        section = build(GateSection, pipeline.sections[GATE], GATE)
        topics[section.output] = str(_gated(pipeline, section)["type"])
        topics |= {GATE_VERDICTS: "og_ros/msg/Verdict", GATE_ATTESTATIONS: ATTESTATION_TYPE}
    topics |= {f"{AUDITOR}/finding": "og_ros/msg/Finding", f"{AUDITOR}/checkpoint": "og_ros/msg/Checkpoint"}
    return [f"{topic}:{kind}" for topic, kind in topics.items()]


def _committed(pipeline: Pipeline) -> dict[str, Parameter]:
    """Return what a sealing recorder must know of commitments, so that it does not show the digests behind them."""
    topics, keys = [], []
    for stage in pipeline.stages.values():
        ports = (*stage.inputs.values(), *stage.outputs.values())
        found = [port.topic for port in ports if port.disclosure == "committed"]
        topics += found
        keys += [str(stage.disclosure_key)] if found else []
    if len(set(keys)) > 1:
        raise ConfigError("recorder.disclosure_key is missing: the stages have several")
    return {"committed": list(dict.fromkeys(topics)), "disclosure_key": keys[0]} if topics else {}


def _given(section: AuditorSection | RecorderSection | GateSection, base: Path) -> dict[str, Parameter]:
    """Return the fields that a section sets, as ROS parameters."""
    given: dict[str, Parameter] = {}
    for name in (item.name for item in fields(section)):
        value = getattr(section, name)
        if isinstance(value, Path):
            given[name] = str(base / value)
        elif isinstance(value, tuple):
            texts = [str(base / item) if isinstance(item, Path) else item for item in value]
            given[name] = texts or [""]  # ROS has no empty list of texts
        elif isinstance(value, Mapping):
            given[name] = [f"{key}={json.dumps(item)}" for key, item in value.items()] or [""]
        elif value is not None:
            given[name] = value
    return given
