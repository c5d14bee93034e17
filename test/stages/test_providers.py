"""Execution providers: what was asked for runs, or the stage does not; what stands in is named, and recorded.

Only the CPU and Azure's provider are in this onnxruntime. That CUDA, TensorRT or OpenVINO run is not shown.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tiny_onnx import adder

from og_ros.errors import ConfigError, ModelError
from og_ros.stages.model import OnnxModel, SessionOptions, options_from
from og_ros.stages.pipeline import ModelConfig, from_parameters, load_pipeline, to_parameters
from og_ros.stages.providers import CPU, Providers, full_name, parse, recorded

AZURE = "AzureExecutionProvider"
needs_azure = pytest.mark.skipif(
    AZURE not in onnxruntime.get_available_providers(), reason=f"this onnxruntime has no {AZURE}"
)


def load(**options: object) -> OnnxModel:
    return OnnxModel(adder([1.0, 2.0]), "m", ModelConfig(Path("m"), "m", **options).session_options())  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt", "openvino", "TensorrtExecutionProvider"])
def test_one_that_is_not_installed_ends_in_one_line(provider: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(provider=provider)
    assert str(caught.value).startswith(f"m: {full_name(provider)} is not installed; there is ")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ModelError, match="m: none of CUDAExecutionProvider, OpenVINOExecutionProvider is installed"):
        load(provider="cuda", fallback=("openvino",))


def test_what_stands_in_is_configured_and_recorded() -> None:
    model = load(
        provider="tensorrt", provider_options={"trt_fp16_enable": True, "device_id": 0}, fallback=("cuda", "cpu")
    )
    runtime = model.runtime()
    assert runtime.provider == CPU
    assert runtime.options.endswith(
        ";provider=TensorrtExecutionProvider;fallback=CUDAExecutionProvider+CPUExecutionProvider;"
        "provider_options=device_id:0,trt_fp16_enable:1"
    )
    assert model.run({"x": np.zeros(2, np.float32)}, ["y"])[0].tolist() == [1.0, 2.0]
    again = options_from(runtime.options, runtime.provider)
    assert again is not None
    assert (again.provider, again.fallback) == (full_name("tensorrt"), (full_name("cuda"), CPU))
    assert OnnxModel(adder([1.0, 2.0]), "m", again).runtime() == runtime


def test_a_provider_alone_says_what_it_always_said() -> None:
    """Records of earlier versions have these options, and are run again by them."""
    text = "deterministic=1;execution=sequential;inter_op_threads=1;intra_op_threads=1;optimization=all"
    assert load().runtime().options == load(provider="cpu").runtime().options == text
    assert options_from(text, CPU) == SessionOptions()
    assert options_from(f"{text};provider=x", CPU) is None
    assert options_from(f"{text};anything=else", CPU) is None


@needs_azure
def test_nothing_runs_on_the_cpu_unasked() -> None:
    """Azure's provider takes no Add: without fallback onnxruntime would give it to the CPU, and not say so."""
    with pytest.raises(ModelError, match="fallback to CPU EP has been explicitly disabled"):
        load(provider="azure")
    model = load(provider="azure", fallback=("cpu",))
    assert model.runtime().provider == f"{AZURE},{CPU}"
    assert "provider=AzureExecutionProvider;fallback=CPUExecutionProvider" in model.runtime().options
    assert model.run({"x": np.zeros(2, np.float32)}, ["y"])[0].tolist() == [1.0, 2.0]


@needs_azure
def test_onnxruntime_adds_no_lines_of_its_own() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tiny_onnx import adder\n"
        "from og_ros.errors import OgError\n"
        "from og_ros.stages.model import OnnxModel, SessionOptions\n"
        "try: OnnxModel(adder([1.0]), 'm', SessionOptions(provider='azure'))\n"
        "except OgError as error: print(error)\n"
    )
    support = str(Path(__file__).resolve().parents[1] / "support")
    done = subprocess.run(
        [sys.executable, "-c", code, support], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"provider": "gpu"}, "provider is 'gpu'; give cpu, cuda"),
        ({"provider": "Cu;daExecutionProvider"}, "provider is"),
        ({"fallback": ("cpu",)}, "fallback names a provider twice"),
        ({"provider": "cuda", "fallback": ("cpu", "CPUExecutionProvider")}, "fallback names a provider twice"),
        ({"provider": "cuda", "provider_options": {"a": "b;c"}}, "provider_options.a: names and values"),
        ({"provider": "cuda", "provider_options": {"a:b": 1}}, "names and values"),
        ({"provider": "cuda", "provider_options": {"a": [1]}}, "is no text, number, true or false"),
        ({"provider": "cuda", "provider_options": {f"o{n}": "v" * 40 for n in range(9)}}, "320 are allowed"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ModelConfig(Path("m"), "m", **given)  # type: ignore[arg-type]


def test_many_providers_fit_a_statement() -> None:
    used = ["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU]
    assert recorded(used) == "TensorrtExecutionProvider,CUDAExecutionProvider"
    assert recorded(used[1:]) == f"CUDAExecutionProvider,{CPU}"
    assert parse("fallback=nonsense", CPU) is None


def test_a_session_that_lost_its_provider_is_refused() -> None:
    """onnxruntime drops a provider that does not start, such as CUDA without a driver, and goes on without it."""
    cuda = Providers("cuda")
    with pytest.raises(ModelError, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        cuda.check_used([CPU], ["CUDAExecutionProvider"], "m")
    with pytest.raises(ModelError, match="fell back"):
        Providers("cuda", {"device_id": "0"}).check_used([CPU], [("CUDAExecutionProvider", {"device_id": "0"})], "m")
    Providers("cuda", fallback=("cpu",)).check_used([CPU], ["CUDAExecutionProvider", CPU], "m")


def test_by_pipeline_file_and_by_parameters(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(
        "robot: r\nstages:\n  s:\n    model: {path: m.onnx, name: m, provider: cuda, provider_options: {device_id: 1},"
        " fallback: [cpu]}\n    key: k\n    inputs: {x: {topic: /x, type: std_msgs/msg/Float32MultiArray}}\n"
        "    outputs: {y: {topic: /y, type: std_msgs/msg/Float32MultiArray}}\n"
    )
    stage = load_pipeline(tmp_path / "pipeline.yaml").stages["s"]
    options = stage.model.session_options()
    assert (options.provider, dict(options.provider_options), options.fallback) == (
        full_name("cuda"), {"device_id": "1"}, (CPU,)
    )  # fmt: skip
    parameters = to_parameters(stage)
    assert parameters["model.provider_options.device_id"] == 1
    assert from_parameters(parameters).model.session_options() == options
