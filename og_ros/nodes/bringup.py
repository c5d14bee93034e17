"""Says which nodes a pipeline file stands for; launch files and `og-ros demo` start the same ones from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from og_ros.attest import ATTESTATION_TYPE
from og_ros.errors import ConfigError
from og_ros.stages.pipeline import ATTESTATION_SUFFIX, Parameter, Pipeline, StageConfig, to_parameters
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

AUDITOR: Final = "auditor"
RECORDER: Final = "recorder"


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


def describe_nodes(
    pipeline: Pipeline,
    *,
    auditor: bool = True,
    record: bool = False,
    autostart: bool = True,
    use_sim_time: bool = False,
) -> list[NodeDescription]:
    """Return the nodes of a pipeline in the order to start them: who listens first, then its stages.

    `autostart` is whether stages configure and activate themselves. Raises ConfigError, naming file, line and field,
    for a section that no node reads, a parameter that its node does not have, or a stage that takes another's name.
    """
    file = YamlFile(pipeline.path)
    try:
        return _nodes(pipeline, auditor, record, {"use_sim_time": use_sim_time}, autostart)
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
    pipeline: Pipeline, auditor: bool, record: bool, common: Mapping[str, Parameter], autostart: bool
) -> list[NodeDescription]:
    for name in pipeline.sections.keys() - {AUDITOR, RECORDER}:
        raise ConfigError(f"{name} is not known; sections beside stages are {AUDITOR} and {RECORDER}")
    for name in pipeline.stages.keys() & {AUDITOR, RECORDER}:
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
    for name, stage in pipeline.stages.items():
        parameters = {**to_parameters(stage), "autostart": autostart, **common}
        nodes.append(NodeDescription(name, "stage", parameters, lifecycle=True))
    return nodes


def _audited(pipeline: Pipeline) -> dict[str, Parameter]:
    """Return what the auditor takes from the pipeline around its section."""
    parameters: dict[str, Parameter] = {
        "robot": pipeline.robot,
        "topics": sensor_topics(pipeline) or [""],
        "attestations": [attestation_topic(stage) for stage in pipeline.stages.values()],
    }
    if pipeline.registry is not None:
        parameters["registry"] = str(pipeline.registry)
        roots = {s.registry_root for s in pipeline.stages.values() if s.registry == pipeline.registry} - {""}
        if len(roots) == 1:
            parameters["registry_root"] = roots.pop()
    return parameters


def _recorded(pipeline: Pipeline) -> list[str]:
    """Return what is worth recording, each as TOPIC:TYPE, so that the recorder listens before anyone speaks."""
    topics: dict[str, str] = {}
    for stage in pipeline.stages.values():
        topics |= {port.topic: port.type for port in (*stage.inputs.values(), *stage.outputs.values())}
        topics[attestation_topic(stage)] = ATTESTATION_TYPE
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


def _given(section: AuditorSection | RecorderSection, base: Path) -> dict[str, Parameter]:
    """Return the fields that a section sets, as ROS parameters."""
    given: dict[str, Parameter] = {}
    for field in fields(section):
        value = getattr(section, field.name)
        if isinstance(value, Path):
            given[field.name] = str(base / value)
        elif isinstance(value, tuple):
            texts = [str(base / item) if isinstance(item, Path) else item for item in value]
            given[field.name] = texts or [""]  # ROS has no empty list of texts
        elif value is not None:
            given[field.name] = value
    return given
