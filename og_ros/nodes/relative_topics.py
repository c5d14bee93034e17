"""Moves a pipeline's topics into the namespace of its nodes, so that one file serves several robots at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from og_ros.stages.pipeline import InputConfig, OutputConfig, Pipeline, StageConfig

# Topics that the robots of one ROS domain share, whatever the namespace.
SHARED: Final = frozenset({"/clock", "/diagnostics", "/parameter_events", "/rosout"})
# Fields of the sections beside stages that hold topics, some as TOPIC:TYPE.
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "auditor": ("topics", "attestations"),
    "recorder": ("topics", "committed"),
    "gate": ("input", "output", "sensors", "attestations", "hand_over"),
}
_Port = TypeVar("_Port", InputConfig, OutputConfig)


def relative(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose topics begin with no slash, but for those that robots share: ROS puts each into the
    namespace of the node that names it. Topics in policies and envelopes are in other files, and stay as they are.
    """
    return replace(
        pipeline,
        stages={name: _stage(stage) for name, stage in pipeline.stages.items()},
        sections={
            name: {key: _value(value) if key in _FIELDS.get(name, ()) else value for key, value in section.items()}
            for name, section in pipeline.sections.items()
        },
    )


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
