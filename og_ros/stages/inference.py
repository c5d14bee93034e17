"""The pure core of a stage: messages in, messages out. The node, a replay and an audit's re-execution share it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import og_ros.attest.cdr
import og_ros.stages.adapters.header
import og_ros.stages.adapters.vector
from og_ros.attest.statement import Runtime
from og_ros.errors import ConfigError, ModelError
from og_ros.stages.adapters import Adapter, Sample, adapter_for, create, digest_parts
from og_ros.stages.model import OnnxModel, Tensor
from og_ros.stages.pipeline import InputConfig, OutputConfig, StageConfig
from og_ros.stages.runtime import processing_digest, source_of


@dataclass(frozen=True, slots=True)
class Port:
    """One tensor of the model, and the adapter between it and its message."""

    name: str
    tensor: Tensor
    adapter: Adapter


@dataclass(frozen=True, slots=True)
class Result:
    """What one inference gave: a message an output, in the order of the configuration.

    `stamp_ns` is what outputs with a header were stamped with. Durations are monotonic, ns.
    """

    outputs: tuple[bytes, ...]
    stamp_ns: int
    decode_ns: int
    run_ns: int
    encode_ns: int


class Inference:
    """A model with its adapters. Keeps no state between runs."""

    def __init__(self, model: OnnxModel, inputs: Sequence[Port], outputs: Sequence[Port], frame_ids: Sequence[str]):
        self.model = model
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self._frame_ids = tuple(frame_ids)
        self._names = [port.tensor.name for port in self.outputs]
        self.runtime: Runtime = model.runtime(processing_digest(self._parts()))

    @classmethod
    def configure(cls, stage: StageConfig, model: OnnxModel | None = None) -> Inference:
        """Load the model of a stage (unless it is given) and fit adapters to its tensors.

        Raises ModelError for the model file, ConfigError where configuration, adapters and tensors do not fit.
        """
        if model is None:
            model = OnnxModel.load(stage.model.path, stage.model.session_options())
        inputs = [_port("inputs", n, i, model.inputs, model.name) for n, i in stage.inputs.items()]
        outputs = [_port("outputs", n, o, model.outputs, model.name) for n, o in stage.outputs.items()]
        for port in inputs:
            port.adapter.check_input(port.tensor)
        for port in outputs:
            port.adapter.check_output(port.tensor)
        fed = [port.tensor.name for port in inputs]
        for tensor in model.inputs:
            if fed.count(tensor.name) != 1:
                raise ConfigError(f"inputs: {model.name} has the input {tensor.name} ({tensor}); give it one topic")
        return cls(model, inputs, outputs, [output.frame_id for output in stage.outputs.values()])

    def decode(self, index: int, payload: bytes | memoryview) -> Sample:
        """Read the message of input `index`; raises an OgError for one that is malformed or does not fit the model."""
        port = self.inputs[index]
        sample = port.adapter.decode(payload)
        if not port.tensor.fits(sample.array.shape) or sample.array.dtype != port.tensor.dtype:
            found = Tensor("", sample.array.shape, sample.array.dtype.name)
            raise ModelError(
                f"input {port.name}: the message gives {found}, the model takes {port.tensor}"
                f"{_reshaped(port.adapter, sample.array.size, port.tensor)}"
            )
        return sample

    def run(self, samples: Sequence[Sample], *, stamp_ns: int, frame_id: str = "", decode_ns: int = 0) -> Result:
        """Run the model on one decoded message an input.

        Outputs with a header get the stamp `stamp_ns`, and the frame of the configuration or else `frame_id`.
        Raises an OgError when the model fails or gives what a message cannot express.
        """
        began = time.perf_counter_ns()
        arrays: dict[str, Any] = {
            port.tensor.name: sample.array for port, sample in zip(self.inputs, samples, strict=True)
        }
        found = self.model.run(arrays, self._names)
        ran = time.perf_counter_ns()
        outputs = tuple(
            port.adapter.encode(array, stamp_ns, frame or frame_id)
            for port, array, frame in zip(self.outputs, found, self._frame_ids, strict=True)
        )
        return Result(outputs, stamp_ns, decode_ns, ran - began, time.perf_counter_ns() - ran)

    def execute(self, payloads: Sequence[bytes | memoryview], *, stamp_ns: int, frame_id: str = "") -> Result:
        """Decode and run in one call: what an audit re-executes; see `run`."""
        began = time.perf_counter_ns()
        samples = [self.decode(index, payload) for index, payload in enumerate(payloads)]
        return self.run(samples, stamp_ns=stamp_ns, frame_id=frame_id, decode_ns=time.perf_counter_ns() - began)

    def _parts(self) -> Iterator[bytes]:
        """Yield everything around the model that can change an output."""
        for module in (og_ros.attest.cdr, og_ros.stages.adapters.header, og_ros.stages.adapters.vector):
            yield source_of(module)
        yield source_of(Inference)
        for port in (*self.inputs, *self.outputs):
            yield port.tensor.name.encode()
            yield from digest_parts(port.adapter)
        for frame_id in self._frame_ids:
            yield frame_id.encode()


def output_stamp(inputs: Sequence[Port], samples: Sequence[Sample], trigger: int, now_ns: int) -> int:
    """Return what outputs are stamped with: when what the model saw was measured.

    That is the stamp of the message that triggered, or of the newest input that has one, or else the node's clock.
    """
    if inputs[trigger].adapter.stamped:
        return samples[trigger].stamp_ns
    stamps = [s.stamp_ns for port, s in zip(inputs, samples, strict=True) if port.adapter.stamped]
    return max(stamps, default=now_ns)


def _port(side: str, name: str, config: InputConfig | OutputConfig, tensors: Sequence[Tensor], model: str) -> Port:
    wanted = config.tensor or name
    tensor = next((t for t in tensors if t.name == wanted), None)
    if tensor is None:
        known = ", ".join(f"{t.name} ({t})" for t in tensors)
        raise ConfigError(f"{side}.{name}: {model} has no tensor {wanted!r}; it has {known}")
    path = f"{side}.{name}.options"
    adapter = create(config.adapter or adapter_for(config.type), config.options, path)
    if adapter.message_type != config.type:
        raise ConfigError(f"{side}.{name}: adapter {adapter.name} is for {adapter.message_type}, not {config.type}")
    return Port(name, tensor, adapter)


def _reshaped(adapter: object, size: int, tensor: Tensor) -> str:
    """Return the option with which an adapter of arrays would give what the model takes; empty where none would."""
    known = [length for length in tensor.shape if isinstance(length, int)]
    if getattr(adapter, "shape", ()) is not None or len(known) < len(tensor.shape) - 1:
        return ""
    rest = size // max(1, math.prod(known))
    shape = [length if isinstance(length, int) else rest for length in tensor.shape]
    return f"; options: {{shape: {shape}}} of this input would make it fit" if math.prod(shape) == size else ""
