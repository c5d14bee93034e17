"""Traces: the tree from one command back to the sensor messages it came from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from og_ros.attest import DataReference
from og_ros.audit.observer import Observer
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


class Tracer(Observer):
    """Finds one attested message while an audit runs: the index-th on a topic (negative: from the end)."""

    def __init__(self, topic: str, index: int = -1) -> None:
        self._topic, self._index = topic, index
        self._attested: set[str] = set()
        self._count = 0
        self._found: deque[TraceNode] = deque(maxlen=1 if index >= 0 else -index)

    def judged(self, inference: Inference) -> None:
        """Keep the tree of an inference if it may be the one."""
        for output, reference in enumerate(inference.attestation.statement.outputs):
            self._attested.add(reference.topic)
            if reference.topic == self._topic:
                if self._index < 0 or self._index == self._count:
                    self._found.append(_node(inference, output, inference.outputs_seen[output], set()))
                self._count += 1

    def result(self) -> TraceNode:
        """Return the tree of the message; raises BagError when no such message was attested."""
        if not self._count:
            attested = ", ".join(sorted(self._attested))
            known = f"; attested topics are {attested}" if attested else "; nothing in it is attested"
            raise BagError(f"no message on {self._topic} is attested in this recording{known}")
        if not -self._count <= self._index < self._count:
            raise BagError(f"{self._topic} has {self._count} attested messages; there is no index {self._index}")
        return self._found[0]


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
