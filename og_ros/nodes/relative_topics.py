"""Moves a pipeline's topics into the namespace of its nodes, so that one file serves several robots at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from og_ros.errors import ConfigError
from og_ros.stages.pipeline import InputConfig, OutputConfig, Pipeline, StageConfig

# Topics that the robots of one ROS domain share, whatever the namespace.
SHARED: Final = frozenset({"/clock", "/diagnostics", "/parameter_events", "/rosout"})
# Fields of the sections beside stages that hold topics, some as TOPIC:TYPE.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "auditor": ("topics", "attestations"),
    "recorder": ("topics", "committed"),
    "gate": ("input", "output", "sensors", "attestations", "hand_over"),
}
# The same for sections that hold one mapping a node.
_NAMED_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "sources": ("topics", "attestation_topic"),
    "witnesses": ("inputs", "outputs", "attestation_topic"),
}
_Port = TypeVar("_Port", InputConfig, OutputConfig)


def relative(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose topics begin with no slash, but for those that robots share: ROS puts each into the
    namespace of the node that names it. Topics in policies and envelopes are in other files, and stay as they are.

    Raises ConfigError for a file that has both /a and a, which are two topics and would become one.
    """
    named = {p.topic for s in pipeline.stages.values() for p in (*s.inputs.values(), *s.outputs.values())}
    for topic in sorted(named):
        if _topic(topic) != topic and _topic(topic) in named:
            raise ConfigError(f"{pipeline.path} has the topics {topic} and {_topic(topic)}, which would become one")
    return replace(
        pipeline,
        stages={name: _stage(stage) for name, stage in pipeline.stages.items()},
        sections={name: _section(name, section) for name, section in pipeline.sections.items()},
    )


def _section(name: str, section: Mapping[str, object]) -> Mapping[str, object]:
    if name in _NAMED_FIELDS:
        return {key: _moved(part, _NAMED_FIELDS[name]) for key, part in section.items()}
    return {key: _value(value) if key in _FIELDS.get(name, ()) else value for key, value in section.items()}


def _moved(part: object, fields: tuple[str, ...]) -> object:
    if not isinstance(part, Mapping):
        return part  # whoever reads the section says what is wrong with it
    return {key: _value(value) if key in fields else value for key, value in part.items()}


def _stage(stage: StageConfig) -> StageConfig:
    inputs = {name: replace(_port(port), attestation=_topic(port.attestation)) for name, port in stage.inputs.items()}
    outputs = {name: _port(port) for name, port in stage.outputs.items()}
    return replace(stage, inputs=inputs, outputs=outputs, attestation_topic=_topic(stage.attestation_topic))


def _port(port: _Port) -> _Port:
    return replace(port, topic=_topic(port.topic))


def _value(value: object) -> object:
    if isinstance(value, list):
        return [_value(item) for item in value]
    return _topic(value) if isinstance(value, str) else value


def _topic(text: str) -> str:
    return text if text.partition(":")[0] in SHARED else text.removeprefix("/")
