"""A model is what its hashed bytes are, and the runtime record says how it runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import adder

from og_ros.attest.statement import TEXT_BOUNDS
from og_ros.errors import ModelError
from og_ros.stages.model import OnnxModel, SessionOptions, Tensor
from og_ros.stages.runtime import cpu_class, processing_digest


def test_digest_is_of_the_bytes_that_run(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(adder([1.0, 2.0]))
    model = OnnxModel.load(path)
    path.write_bytes(adder([5.0, 5.0]))
    assert model.digest == hashlib.sha256(adder([1.0, 2.0])).digest()
    assert model.run({"x": np.zeros(2, dtype=np.float32)}, ["y"])[0].tolist() == [1.0, 2.0]


def test_runtime_says_how() -> None:
    runtime = OnnxModel(adder([1.0]), "m", SessionOptions(threads=2, optimization="basic")).runtime(b"p" * 32)
    assert runtime.name == "onnxruntime"
    assert runtime.provider == "CPUExecutionProvider"
    assert runtime.options == (
        "deterministic=1;execution=sequential;inter_op_threads=1;intra_op_threads=2;optimization=basic"
    )
    assert runtime.processing_digest == b"p" * 32
    assert runtime.cpu.split()[0] in ("x86_64", "aarch64", "arm64")
    assert len(runtime.cpu) <= TEXT_BOUNDS["runtime.cpu"]
    assert runtime.cpu == cpu_class()


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (adder([1.0]), SessionOptions(provider="TensorrtExecutionProvider"), "is not installed; there is"),
        (b"no model", None, "no ONNX model"),
        (adder([1.0]).replace(b"Add", b"Zzz"), None, "cannot be loaded"),
    ],
)
def test_what_cannot_run_is_refused(data: bytes, options: SessionOptions | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        OnnxModel(data, "m.onnx", options)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx"):
        OnnxModel.load(tmp_path / "nowhere.onnx")


def test_wrong_array_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="failed"):
        OnnxModel(adder([1.0]), "m").run({"x": np.zeros(7, dtype=np.float32)}, ["y"])


def test_open_dimensions_fit_anything() -> None:
    tensor = Tensor("x", (None, 3), "float32")
    assert tensor.fits((5, 3))
    assert tensor.fits((None, None))
    assert not tensor.fits((5, 4))
    assert not tensor.fits((3,))
    assert str(tensor) == "float32[?, 3]"


def test_parts_of_a_processing_digest_do_not_run_together() -> None:
    assert processing_digest([b"ab", b"c"]) != processing_digest([b"a", b"bc"])
    assert processing_digest([b"abc"]) != processing_digest([b"abc", b""])


def test_a_model_format_that_is_too_new_says_what_to_do() -> None:
    data = adder([1.0])
    assert data.startswith(b"\x08\x08")  # ir_version 8
    with pytest.raises(ModelError, match=r"IR version 99, is newer than onnxruntime .* reads \(\d+\): write it with"):
        OnnxModel(b"\x08\x63" + data[2:], "m")
