"""An ONNX model: hashed, then built from the very bytes that were hashed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from og_ros.attest.statement import NO_DIGEST, Runtime
from og_ros.errors import ModelError
from og_ros.stages.external_data import refuse_external_data
from og_ros.stages.providers import CPU, Providers, parse, recorded
from og_ros.stages.runtime import cpu_class

Optimization: TypeAlias = Literal["disabled", "basic", "extended", "all"]
Array: TypeAlias = NDArray[Any]

_DTYPES: Final = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(bool)": "bool",
    "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(uint16)": "uint16", "tensor(int16)": "int16",
    "tensor(uint32)": "uint32", "tensor(int32)": "int32", "tensor(uint64)": "uint64", "tensor(int64)": "int64",
}  # fmt: skip
MAX_THREADS: Final = 1024
# onnxruntime raises what it cannot do; said once, by og_ros, is enough.
_FATAL: Final = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model; a dimension that the model leaves open is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def fits(self, shape: Sequence[int | None]) -> bool:
        """Say whether an array of this shape can be the tensor; None matches any size."""
        return len(shape) == len(self.shape) and all(
            a is None or b is None or a == b for a, b in zip(shape, self.shape, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if size is None else str(size) for size in self.shape)}]"


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What of an onnxruntime session can change the numbers.

    One thread by default: with several, sums may be made in another order at each run.
    """

    threads: int = 1
    optimization: Optimization = "all"
    provider: str = "CPUExecutionProvider"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    fallback: tuple[str, ...] = ()

    @property
    def providers(self) -> Providers:
        """The providers with their options; raises ConfigError for what cannot be one."""
        return Providers(self.provider, self.provider_options, self.fallback)


class OnnxModel:
    """A loaded model. `digest` is the SHA-256 of the bytes that it was built from, which are not kept."""

    def __init__(self, data: bytes, name: str, options: SessionOptions | None = None) -> None:
        """Build a model from its bytes; `name` is for errors.

        Raises ModelError for bytes that are no self-contained ONNX model, for an execution provider that is not
        installed, and for a model with inputs or outputs other than tensors of numbers.
        """
        import onnxruntime as ort  # not at the top: configurations are checked where no runtime is installed

        options = options or SessionOptions()
        refuse_external_data(data, name)
        self.digest = hashlib.sha256(data).digest()
        self.name = name
        providers = options.providers
        chosen = providers.chosen(ort.get_available_providers(), name)
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.use_deterministic_compute = True
        settings.log_severity_level = _FATAL
        if CPU not in chosen:
            settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings.graph_optimization_level = {
            "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
            "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
            "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
            "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
        }[options.optimization]
        try:
            self._session = ort.InferenceSession(data, settings, providers=chosen)
        except Exception as error:  # onnxruntime raises a family of its own, without a public base class
            raise ModelError(f"{name} cannot be loaded: {_reason(error, ort.__version__)}") from error
        # A provider that fails later must not be replaced behind the back of what is signed.
        self._session.disable_fallback()
        used: list[str] = self._session.get_providers()
        providers.check_used(used, chosen, name)
        self.inputs = tuple(_tensor(name, argument) for argument in self._session.get_inputs())
        self.outputs = tuple(_tensor(name, argument) for argument in self._session.get_outputs())
        self._runtime = Runtime(
            name="onnxruntime",
            version=ort.__version__,
            provider=recorded(used),
            options=_options_text(options),
            cpu=cpu_class(),
        )

    @classmethod
    def load(cls, path: Path, options: SessionOptions | None = None) -> OnnxModel:
        """Read a model file once and build the model from what was read; raises ModelError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read the model {path}: {error.strerror}") from error
        return cls(data, str(path), options)

    def runtime(self, processing_digest: bytes = NO_DIGEST) -> Runtime:
        """Return the record of what executes the model, with the digest of the processing around it."""
        r = self._runtime
        return Runtime(r.name, r.version, r.provider, r.options, r.cpu, processing_digest)

    def run(self, arrays: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Run the model on an array a tensor; returns the named outputs. Releases the GIL meanwhile.

        Raises ModelError when onnxruntime refuses the arrays or fails.
        """
        try:
            found: list[Array] = self._session.run(list(outputs), dict(arrays))
        except Exception as error:  # as above
            raise ModelError(f"{self.name} failed: {_first_line(error)}") from error
        return [np.asarray(array) for array in found]


def _options_text(options: SessionOptions) -> str:
    numbers = {"intra_op_threads": options.threads, "optimization": options.optimization}
    fixed = {"deterministic": 1, "execution": "sequential", "inter_op_threads": 1}
    text = ";".join(f"{name}={value}" for name, value in sorted({**fixed, **numbers}.items()))
    return ";".join(filter(None, (text, options.providers.text())))


def options_from(text: str, provider: str) -> SessionOptions | None:
    """Return the options that `Runtime.options` of a statement names; None for a text that og_ros never wrote."""
    named = dict(part.partition("=")[::2] for part in text.split(";"))
    level, threads = named.get("optimization"), named.get("intra_op_threads", "")
    if level not in get_args(Optimization) or not threads.isdecimal() or not 1 <= int(threads[:5]) <= MAX_THREADS:
        return None
    providers = parse(text, provider)
    if providers is None:
        return None
    known = cast(Optimization, level)
    options = SessionOptions(int(threads[:5]), known, providers.name, providers.options, providers.fallback)
    return options if _options_text(options) == text else None


def _tensor(model: str, argument: Any) -> Tensor:
    dtype = _DTYPES.get(argument.type)
    if dtype is None:
        raise ModelError(f"{model}: tensor {argument.name} has type {argument.type}, which og_ros cannot feed")
    return Tensor(argument.name, tuple(size if isinstance(size, int) else None for size in argument.shape), dtype)


def _reason(error: Exception, version: str) -> str:
    """Return why onnxruntime did not load a model; that the file's format is too new is what newcomers meet first."""
    newer = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", str(error))
    if newer is None:
        return _first_line(error)
    return (
        f"its format, IR version {newer[1]}, is newer than onnxruntime {version} reads ({newer[2]}): write it with "
        f"ir_version={newer[2]}, or install a newer onnxruntime"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
