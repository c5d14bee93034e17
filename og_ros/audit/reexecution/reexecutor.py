"""Runs one recorded inference again: the certified model, the same adapters, the recorded inputs; then compares."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

from og_ros.attest import DataReference, Disclosure, Runtime, Statement, digest
from og_ros.audit.recording.payloads import Key
from og_ros.audit.reexecution.comparison import DEFAULT_TOLERANCE, Tolerance, compare
from og_ros.audit.reexecution.reexecuted import Outcome, Reexecution, unavailable
from og_ros.errors import AttestationError, ModelError, OgError
from og_ros.stages.adapters import Sample
from og_ros.stages.inference import Inference, Result, output_stamp
from og_ros.stages.model import OnnxModel, SessionOptions, options_from
from og_ros.stages.model_files import ModelFiles
from og_ros.stages.pipeline import StageConfig

Payload: TypeAlias = "bytes | memoryview"

_KEPT_MODELS: Final = 8
_CPU_PROVIDER: Final = "CPUExecutionProvider"
_EXACT: Final = Tolerance(0.0, 0.0)


class _Unavailable(Exception):
    """Why an inference cannot be run again."""


class _Differs(Exception):
    """Why an inference cannot be what the certified model gives."""


class Reexecutor:
    """Runs inferences of the stages of a pipeline again; builds each model once.

    `stages` are the stages by name, as in the pipeline file that the robot ran. Models are found by digest among
    `models` (files or directories) and the stages' own paths. `definitions` holds the .msg text of message types
    that are not ROS 2's own. Needs onnxruntime (the extra `robot`).
    """

    def __init__(
        self,
        stages: Mapping[str, StageConfig],
        models: Sequence[Path] = (),
        tolerance: Tolerance | None = None,
        definitions: Mapping[str, str] | None = None,
    ) -> None:
        self._stages = stages
        self._files = ModelFiles([*models, *(stage.model.path for stage in stages.values())])
        self._tolerance = tolerance or DEFAULT_TOLERANCE
        self._definitions = definitions or {}
        self._built: OrderedDict[tuple[str, bytes, str, str], Inference | str] = OrderedDict()

    def reexecute(self, statement: Statement, payloads: Mapping[Key, Payload]) -> Reexecution:
        """Run an inference again from the recorded payloads of its inputs, and compare with what was attested.

        `payloads` should hold the outputs too: without them a difference cannot be named, nor a tolerance applied. Each
        is hashed again before it is used. Never raises for anything that statement, payloads or model hold.
        """
        try:
            stage = self._stage(statement)
            inputs = [_input(reference, payloads) for reference in statement.inputs]
            inference = self._inference(statement, stage)
            return self._run(statement, stage, inference, inputs, payloads)
        except _Unavailable as reason:
            return unavailable(str(reason))
        except _Differs as difference:
            return Reexecution(Outcome.DIFFERS, str(difference))
        except MemoryError:
            return unavailable("there is not enough memory to run it")
        except Exception as error:  # adapters of other packages, on bytes of anybody's choice
            return unavailable(f"running it failed with {type(error).__name__}: {_line(error)}")

    def _stage(self, statement: Statement) -> StageConfig:
        for side, references in (("input", statement.inputs), ("output", statement.outputs)):
            for reference in references:
                if reference.disclosure is not Disclosure.CLEAR:
                    hidden = reference.disclosure.name.lower()
                    raise _Unavailable(f"the digest of its {side} on {reference.topic} is {hidden}")
        if statement.runtime.name != "onnxruntime" or statement.model.format != "onnx":
            what = f"{statement.runtime.name or 'unknown code'} with a model of format {statement.model.format}"
            raise _Unavailable(f"the stage runs {what}, which og_ros cannot run again")
        stage = self._stages.get(statement.stage)
        if stage is None:
            raise _Unavailable(f"the pipeline file has no stage {statement.stage}")
        return stage

    def _inference(self, statement: Statement, stage: StageConfig) -> Inference:
        """Return the stage's model with its adapters, built once for each model, options and provider."""
        runtime = statement.runtime
        key = (statement.stage, statement.model.digest, runtime.options, runtime.provider)
        found = self._built.get(key)
        if found is None:
            found = self._built[key] = self._build(statement, stage)
            while len(self._built) > _KEPT_MODELS:
                self._built.popitem(last=False)
        self._built.move_to_end(key)
        if isinstance(found, str):
            raise _Unavailable(found)
        if found.runtime.processing_digest != runtime.processing_digest:
            raise _Unavailable(
                f"pre- and post-processing of stage {statement.stage} are not those that were attested: the pipeline "
                "file has other options, or the robot ran another version of og_ros, its adapters or their libraries"
            )
        return found

    def _build(self, statement: Statement, stage: StageConfig) -> Inference | str:
        """Return the inference, or why it cannot be built."""
        if statement.model.digest_algorithm != "sha256":
            return f"the model's digest is of the algorithm {statement.model.digest_algorithm}, and not SHA-256"
        data = self._files.find(statement.model.digest)
        if data is None:
            return f"no model file has the digest {statement.model.digest.hex()[:16]} that was attested"
        try:
            model = OnnxModel(data, f"model {statement.model.name}", _options(statement.runtime, stage))
            return Inference.configure(stage, model)
        except OgError as error:
            return _line(error)
        except ImportError:
            return "onnxruntime is not installed: install og_ros with the extra `robot`"
        except MemoryError:
            return f"there is not enough memory to load the model {statement.model.name}"

    def _run(
        self,
        statement: Statement,
        stage: StageConfig,
        inference: Inference,
        inputs: Sequence[Payload],
        payloads: Mapping[Key, Payload],
    ) -> Reexecution:
        if [r.type for r in statement.inputs] != [p.adapter.message_type for p in inference.inputs]:
            raise _Unavailable(f"the pipeline file describes other inputs of stage {statement.stage}")
        ports = _output_ports(statement, stage)
        samples = [_decode(inference, i, p, statement.inputs[i]) for i, p in enumerate(inputs)]
        results = _results(inference, stage, samples, statement)
        unlike = tuple(_unlike(statement.runtime, inference.runtime))
        found = [self._compare(statement, inference, ports, result, unlike, payloads) for result in results]
        return min(found, key=lambda reexecution: reexecution.outcome.badness)

    def _compare(
        self,
        statement: Statement,
        inference: Inference,
        ports: Sequence[int],
        result: Result,
        unlike: tuple[str, ...],
        payloads: Mapping[Key, Payload],
    ) -> Reexecution:
        """Compare what one run gave with what was attested, output by output."""
        worst, detail, errors = Outcome.REPRODUCED, "", {}
        for reference, port in zip(statement.outputs, ports, strict=True):
            computed = result.outputs[port]
            stamp = result.stamp_ns if inference.outputs[port].adapter.stamped else 0
            if reference.stamp_ns != stamp:
                problem = f"it says that the message has the stamp {reference.stamp_ns} ns, computed {stamp} ns"
                outcome, error = Outcome.DIFFERS, None
            elif digest(computed, reference.digest_algorithm) == reference.digest:
                continue
            else:
                outcome, problem, error = self._differ(reference, computed, unlike, payloads)
            if error is not None:
                errors[reference.topic] = error
            if outcome.badness > worst.badness:
                worst, detail = outcome, f"output on {reference.topic}: {problem}" if problem else ""
        return Reexecution(worst, detail, unlike, errors)

    def _differ(
        self, reference: DataReference, computed: bytes, unlike: tuple[str, ...], payloads: Mapping[Key, Payload]
    ) -> tuple[Outcome, str, float | None]:
        """Judge an output whose bytes are not those that were attested: outcome, reason, largest distance."""
        recorded = payloads.get((reference.topic, reference.digest))
        if recorded is None or digest(recorded, reference.digest_algorithm) != reference.digest:
            if unlike:
                return Outcome.UNAVAILABLE, f"it is not in the recording, and {_basis(unlike, self._tolerance)}", None
            return Outcome.DIFFERS, f"its digest is not the computed one; it is not in the recording; {_DEMANDED}", None
        tolerance = self._tolerance if unlike else _EXACT
        try:
            found = compare(recorded, computed, reference.type, tolerance, self._definitions)
        except AttestationError as error:
            if unlike:
                return Outcome.UNAVAILABLE, _line(error), None
            return Outcome.DIFFERS, f"its bytes are not the computed ones ({_line(error)}); {_DEMANDED}", None
        if unlike and not found.differing:
            return Outcome.WITHIN_TOLERANCE, "", found.largest_error
        basis = _basis(unlike, self._tolerance) if unlike else _DEMANDED
        what = str(found.worst) if found.worst else "only bytes that are no field's value differ"
        more = f" and {found.differing - 1} more" if found.differing > 1 else ""
        return Outcome.DIFFERS, f"{what}{more}; {basis}", found.largest_error


_DEMANDED: Final = "the same bytes were demanded, since runtime, options and CPU class are those of this machine"


def _basis(unlike: Sequence[str], tolerance: Tolerance) -> str:
    return f"{tolerance.text} apart was allowed, since {', '.join(unlike)}"


def _input(reference: DataReference, payloads: Mapping[Key, Payload]) -> Payload:
    payload = payloads.get((reference.topic, reference.digest))
    if payload is None:
        raise _Unavailable(f"its input on {reference.topic} is not in the recording")
    try:
        same = digest(payload, reference.digest_algorithm) == reference.digest
    except AttestationError as error:
        raise _Unavailable(str(error)) from error
    if not same:
        raise _Unavailable(f"its input on {reference.topic} is not the message that it attested")
    return payload


def _decode(inference: Inference, index: int, payload: Payload, reference: DataReference) -> Sample:
    try:
        sample = inference.decode(index, payload)
    except OgError as error:
        raise _Differs(f"its input on {reference.topic} cannot be read by this stage: {_line(error)}") from error
    if sample.stamp_ns != reference.stamp_ns:
        raise _Differs(
            f"it says that its input on {reference.topic} has the stamp {reference.stamp_ns} ns; the message has "
            f"{sample.stamp_ns} ns"
        )
    return sample


def _results(
    inference: Inference, stage: StageConfig, samples: Sequence[Sample], statement: Statement
) -> Sequence[Result]:
    """Run once for each stamp and frame that the outputs may have: those of each input that may have triggered."""
    settings = dict.fromkeys(
        (output_stamp(inference.inputs, samples, index, statement.start_ns), samples[index].frame_id)
        for index, port in enumerate(stage.inputs.values())
        if port.trigger
    )
    try:
        return [inference.run(samples, stamp_ns=stamp_ns, frame_id=frame_id) for stamp_ns, frame_id in settings]
    except ModelError as error:
        raise _Unavailable(_line(error)) from error
    except OgError as error:
        raise _Differs(f"the model gives what no message can hold: {_line(error)}") from error


def _output_ports(statement: Statement, stage: StageConfig) -> Sequence[int]:
    """Return the port of each attested output; a stage leaves out an output that it failed to publish."""
    types = [port.type for port in stage.outputs.values()]
    attested = [reference.type for reference in statement.outputs]
    if attested == types:
        return range(len(types))
    topics = [f"/{port.topic.lstrip('/')}" for port in stage.outputs.values()]
    try:
        return [topics.index(reference.topic) for reference in statement.outputs]
    except ValueError:
        raise _Unavailable(f"the pipeline file describes other outputs of stage {statement.stage}") from None


def _options(runtime: Runtime, stage: StageConfig) -> SessionOptions:
    """Return the options that were attested, as far as this machine has them, or else those of the pipeline file."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    provider = runtime.provider.partition(",")[0]
    if provider not in available:
        provider = _CPU_PROVIDER
    model = stage.model
    options = options_from(runtime.options, provider) or SessionOptions(model.threads, model.optimization, provider)
    if not {options.provider, *options.fallback} & set(available):
        options = replace(options, provider=_CPU_PROVIDER, provider_options={}, fallback=())
    return replace(options, threads=min(options.threads, os.cpu_count() or 1))


def _unlike(attested: Runtime, ours: Runtime) -> list[str]:
    """Return what of two runtimes may change the last bits of a result; empty: the same bytes must come out."""
    found = []
    names = {"version": "onnxruntime", "provider": "provider", "options": "options", "cpu": "CPU class"}
    for name, said in names.items():
        there, here = getattr(attested, name), getattr(ours, name)
        if there != here:
            found.append(f"the {said} was {there or 'not said'!r} and here is {here!r}")
    if not found and "intra_op_threads=1;" not in f"{ours.options};":
        found.append("several threads may make sums in another order each time")
    if not found and " " not in ours.cpu:
        found.append("the CPU class names no extensions, so two machines of it may use different kernels")
    return found


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
