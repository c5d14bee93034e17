"""Says which nodes a pipeline file stands for; launch files and `og-ros demo` start the same ones from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from og_ros.attest import ATTESTATION_TYPE
from og_ros.errors import ConfigError
from og_ros.nodes.sections import AuditorSection, GateSection, RecorderSection, SourceSection, WitnessSection, given
from og_ros.stages.pipeline import ATTESTATION_SUFFIX, Parameter, Pipeline, StageConfig, to_parameters
from og_ros.stages.schema import build
from og_ros.stages.yaml_file import YamlFile

AUDITOR: Final = "auditor"
RECORDER: Final = "recorder"
GATE: Final = "gate"
SOURCES: Final = "sources"
WITNESSES: Final = "witnesses"
# Read by `og-ros settle run`; no node.
SETTLEMENT: Final = "settlement"
_SECTIONS: Final = (SOURCES, WITNESSES, AUDITOR, RECORDER, GATE, SETTLEMENT)
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
class _Part:
    """What makes attestations: the topics that it reads and writes, with their types, and that of its attestations."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    attestations: str


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
    parts = _parts(pipeline).values()
    published = {topic for part in parts for topic in part.outputs}
    return [
        topic for topic in dict.fromkeys(topic for part in parts for topic in part.inputs) if topic not in published
    ]


def attestation_topic(stage: StageConfig) -> str:
    """Return the topic of a stage's attestations."""
    return stage.attestation_topic or next(iter(stage.outputs.values())).topic + ATTESTATION_SUFFIX


def _nodes(
    pipeline: Pipeline, auditor: bool, record: bool, gate: bool, common: Mapping[str, Parameter], autostart: bool
) -> list[NodeDescription]:
    for name in pipeline.sections.keys() - set(_SECTIONS):
        raise ConfigError(f"{name} is not known; sections beside stages are {', '.join(_SECTIONS)}")
    nodes = []
    base = pipeline.path.resolve().parent
    sources, witnesses = _sources(pipeline), _witnesses(pipeline)
    taken = {AUDITOR, RECORDER, GATE}
    for where, names in ((SOURCES, sources), (WITNESSES, witnesses), ("stages", pipeline.stages)):
        for name in names:
            if name in taken:
                raise ConfigError(f"{where}.{name} has the name of another node: choose another")
        taken |= names.keys()
    if auditor:
        section = build(AuditorSection, pipeline.sections.get(AUDITOR, {}), AUDITOR)
        nodes.append(NodeDescription(AUDITOR, AUDITOR, {**_audited(pipeline), **given(section, base), **common}))
    if record:
        output = build(RecorderSection, pipeline.sections.get(RECORDER, {}), RECORDER)
        # By wall time, as it stamps: with simulated time it would not look around before /clock runs.
        committed = _committed(pipeline) if output.seal else {}
        parameters = {"topics": _recorded(pipeline), **committed, **given(output, base), "use_sim_time": False}
        nodes.append(NodeDescription(RECORDER, RECORDER, parameters))
    if gate and GATE in pipeline.sections:
        wanted = build(GateSection, pipeline.sections[GATE], GATE)
        parameters = {**_gated(pipeline, wanted), **given(wanted, base), "autostart": autostart, **common}
        nodes.append(NodeDescription(GATE, GATE, parameters, lifecycle=True))
    for kind, sections in (("source", sources), ("witness", witnesses)):
        for name, one in sections.items():
            parameters = {
                "source" if kind == "source" else "stage": name,
                **_trusted(pipeline),
                **given(one, base),
                **common,
            }
            nodes.append(NodeDescription(name, kind, parameters))
    for name, stage in pipeline.stages.items():
        parameters = {**to_parameters(stage), "autostart": autostart, **common}
        nodes.append(NodeDescription(name, "stage", parameters, lifecycle=True))
    return nodes


def _audited(pipeline: Pipeline) -> dict[str, Parameter]:
    """Return what the auditor takes from the pipeline around its section."""
    attestations = [*_source_attestations(pipeline), *(part.attestations for part in _parts(pipeline).values())]
    if GATE in pipeline.sections:
        attestations.append(GATE_ATTESTATIONS)
    return {**_trusted(pipeline), "topics": sensor_topics(pipeline) or [""], "attestations": attestations}


def _sources(pipeline: Pipeline) -> dict[str, SourceSection]:
    """Return the sources by their names."""
    section = pipeline.sections.get(SOURCES, {})
    return {name: build(SourceSection, one, f"{SOURCES}.{name}") for name, one in section.items()}


def _witnesses(pipeline: Pipeline) -> dict[str, WitnessSection]:
    """Return the witnesses by the stages that they observe."""
    section = pipeline.sections.get(WITNESSES, {})
    return {name: build(WitnessSection, one, f"{WITNESSES}.{name}") for name, one in section.items()}


def _source_attestations(pipeline: Pipeline) -> list[str]:
    return [
        source.attestation_topic or next(iter(_typed(source.topics, f"{SOURCES}.{name}.topics"))) + ATTESTATION_SUFFIX
        for name, source in _sources(pipeline).items()
    ]


def _parts(pipeline: Pipeline) -> dict[str, _Part]:
    """Return the stages, hosted or observed, by name."""
    parts = {
        name: _Part(
            {port.topic: port.type for port in stage.inputs.values()},
            {port.topic: port.type for port in stage.outputs.values()},
            attestation_topic(stage),
        )
        for name, stage in pipeline.stages.items()
    }
    for name, witness in _witnesses(pipeline).items():
        inputs = _typed(witness.inputs, f"{WITNESSES}.{name}.inputs")
        outputs = _typed(witness.outputs, f"{WITNESSES}.{name}.outputs")
        topic = witness.attestation_topic or next(iter(outputs)) + ATTESTATION_SUFFIX
        parts[name] = _Part(inputs, outputs, topic)
    return parts


def _typed(topics: tuple[str, ...], where: str) -> dict[str, str]:
    """Return the types of topics that are given as TOPIC:TYPE."""
    if not topics or not all(all(text.partition(":")) for text in topics):
        raise ConfigError(f"{where} must list topics, each as TOPIC:TYPE, such as /scan:sensor_msgs/msg/LaserScan")
    return {topic: kind for topic, _, kind in (text.partition(":") for text in topics)}


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
    parts = _parts(pipeline)
    makers = {topic: name for name, part in parts.items() for topic in part.outputs}
    read = {topic for part in parts.values() for topic in part.inputs}
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
    chain = _behind(parts, makers, makers[command])
    inputs = {topic: kind for name in chain for topic, kind in parts[name].inputs.items()}
    outputs = parts[makers[command]].outputs
    return {
        **_trusted(pipeline),
        "input": command,
        "type": outputs[command],
        "sensors": [f"{topic}:{kind}" for topic, kind in inputs.items() if topic not in makers] or [""],
        "stages": chain,
        "attestations": [*_source_attestations(pipeline), *(parts[name].attestations for name in chain)],
    }


def _behind(parts: Mapping[str, _Part], makers: Mapping[str, str], stage: str) -> list[str]:
    """Return the stages behind a stage, each after those that it reads, and the stage itself last."""
    found: list[str] = []
    begun, stack = {stage}, [(stage, iter(parts[stage].inputs))]
    while stack:
        name, topics = stack[-1]
        topic = next(topics, None)
        if topic is None:
            found.append(name)
            stack.pop()
        elif topic in makers and makers[topic] not in begun:
            source = makers[topic]
            begun.add(source)
            stack.append((source, iter(parts[source].inputs)))
    return found


def _recorded(pipeline: Pipeline) -> list[str]:
    """Return what is worth recording, each as TOPIC:TYPE, so that the recorder listens before anyone speaks."""
    topics: dict[str, str] = {}
    for name, source in _sources(pipeline).items():
        topics |= _typed(source.topics, f"{SOURCES}.{name}.topics")
    topics |= dict.fromkeys(_source_attestations(pipeline), ATTESTATION_TYPE)
    for part in _parts(pipeline).values():
        topics |= {**part.inputs, **part.outputs, part.attestations: ATTESTATION_TYPE}
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
