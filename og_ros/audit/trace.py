"""Traces: the tree from one command back to the sensor messages it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from og_ros.attest import DataReference
from og_ros.audit.auditor import Auditor
from og_ros.audit.records import Inference
from og_ros.errors import BagError


@dataclass(frozen=True)
class TraceNode:
    """A message in the tree: its reference, whether it was recorded, and the inference that made it, if attested."""

    reference: DataReference
    recorded: bool
    inference: Inference | None
    inputs: tuple[TraceNode, ...] = ()
    repeated: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the tree as plain data for JSON."""
        data: dict[str, Any] = {
            "topic": self.reference.topic,
            "type": self.reference.type,
            "digest": self.reference.digest.hex(),
            "stamp_ns": self.reference.stamp_ns,
            "recorded": self.recorded,
        }
        if self.inference is not None:
            statement = self.inference.attestation.statement
            data["attestation"] = {
                "digest": self.inference.attestation.digest.hex(),
                "robot": statement.robot,
                "stage": statement.stage,
                "node": statement.node,
                "sequence": statement.sequence,
                "session": statement.session.hex(),
                "model": statement.model.name,
                "model_version": statement.model.version,
                "model_digest": statement.model.digest.hex(),
                "key": statement.key_id.hex(),
                "start_ns": statement.start_ns,
                "clock": statement.clock.name.lower(),
                "duration_ns": statement.duration_ns,
                "signed": self.inference.signed,
                "certified": self.inference.certified,
                "logged": self.inference.logged,
                "linked": self.inference.linked,
            }
            data["inputs"] = [node.as_json() for node in self.inputs]
            if self.repeated:
                data["inputs_shown_above"] = True
        return data


def outputs_on(auditor: Auditor, topic: str) -> list[tuple[Inference, int]]:
    """Return the attested outputs on a topic in order, as (inference, index among its outputs)."""
    return [
        (inference, index)
        for inference in auditor.inferences
        for index, reference in enumerate(inference.attestation.statement.outputs)
        if reference.topic == topic
    ]


def trace(auditor: Auditor, topic: str, index: int = -1) -> TraceNode:
    """Return the tree of the index-th attested message on a topic (negative: from the end).

    Raises BagError when no such message was attested.
    """
    outputs = outputs_on(auditor, topic)
    if not outputs:
        attested = sorted({r.topic for i in auditor.inferences for r in i.attestation.statement.outputs})
        known = f"; attested topics are {', '.join(attested)}" if attested else "; nothing in it is attested"
        raise BagError(f"no message on {topic} is attested in this recording{known}")
    try:
        inference, output = outputs[index]
    except IndexError as error:
        raise BagError(f"{topic} has {len(outputs)} attested messages; there is no index {index}") from error
    return _node(inference, output, inference.outputs_seen[output], set())


def _node(inference: Inference, output: int, recorded: bool, shown: set[int]) -> TraceNode:
    statement = inference.attestation.statement
    reference = statement.outputs[output]
    if id(inference) in shown:
        return TraceNode(reference, recorded, inference, repeated=True)
    shown.add(id(inference))
    inputs = []
    for input_reference, source, seen in zip(statement.inputs, inference.sources, inference.seen, strict=True):
        # A stage that reads its own output: its history is the run itself, so the tree stops there.
        if source is None or source.stage == inference.stage:
            inputs.append(TraceNode(input_reference, seen, source, repeated=source is not None))
            continue
        at = [(r.topic, r.digest) for r in source.attestation.statement.outputs].index(
            (input_reference.topic, input_reference.digest)
        )
        inputs.append(_node(source, at, seen, shown))
    return TraceNode(reference, recorded, inference, tuple(inputs))
