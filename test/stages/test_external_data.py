"""Models that keep weights outside their bytes are refused, whichever way they say so."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_onnx import add, adder, block, external_weights, model, node, number, value_info, weights

from og_ros.errors import ModelError
from og_ros.stages.external_data import refuse_external_data

MODELS = Path(__file__).resolve().parents[2] / "og_ros" / "sim" / "models"


@pytest.mark.parametrize("name", ["line_perception", "line_planning", "wheel_control"])
def test_models_in_one_file_pass(name: str) -> None:
    refuse_external_data((MODELS / f"{name}.onnx").read_bytes(), name)


def test_external_weights_that_onnxruntime_would_load_are_refused(tmp_path: Path) -> None:
    data = add(external_weights("w", 2, "weights.bin"), 2)
    (tmp_path / "weights.bin").write_bytes(np.array([10, 20], dtype="<f4").tobytes())
    (tmp_path / "model.onnx").write_bytes(data)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert session.run(None, {"x": np.zeros(2, dtype=np.float32)})[0].tolist() == [10, 20]
    with pytest.raises(ModelError, match="outside its own bytes"):
        refuse_external_data(data, "model.onnx")


def external_in_an_attribute() -> bytes:
    constant = node("Constant", [], "y", block(5, block(1, "value") + block(5, external_weights("w", 2, "f"))))
    return model([constant], [], [], [value_info("y", (2,))])


def external_in_a_subgraph() -> bytes:
    branch = block(1, node("Identity", ["w"], "b")) + block(5, external_weights("w", 2, "f"))
    condition = node("If", ["c"], "y", block(5, block(1, "then_branch") + block(6, branch)))
    return model([condition], [], [], [value_info("y", (2,))])


def external_in_a_sparse_tensor() -> bytes:
    graph = block(2, "tiny") + block(15, block(1, external_weights("w", 2, "f")))
    return number(1, 8) + block(7, graph)


def external_in_a_function() -> bytes:
    constant = node("Constant", [], "y", block(5, block(1, "value") + block(5, external_weights("w", 2, "f"))))
    return adder([1.0]) + block(25, block(1, "f") + block(7, constant))


def external_in_training_info() -> bytes:
    return adder([1.0]) + block(20, block(1, block(5, external_weights("w", 2, "f"))))


def external_behind_a_later_default() -> bytes:
    """The last data_location says "here", but a decoder that merges differently may not."""
    tensor = external_weights("w", 2, "f") + number(14, 0)
    return add(tensor, 2)


def external_in_a_second_graph_field() -> bytes:
    """A protobuf message that is given twice is merged."""
    return adder([1.0]) + block(7, block(5, external_weights("v", 2, "f")))


@pytest.mark.parametrize(
    "make",
    [
        external_in_an_attribute,
        external_in_a_subgraph,
        external_in_a_sparse_tensor,
        external_in_a_function,
        external_in_training_info,
        external_behind_a_later_default,
        external_in_a_second_graph_field,
    ],
)
def test_hidden_external_data_is_found(make: object) -> None:
    with pytest.raises(ModelError, match="outside its own bytes"):
        refuse_external_data(make(), "m.onnx")  # type: ignore[operator]


def test_compiled_context_is_refused() -> None:
    context = node("EPContext", [], "y", domain="com.microsoft")
    with pytest.raises(ModelError, match="EPContext"):
        refuse_external_data(model([context], [], [], [value_info("y", (1,))]), "m.onnx")


def test_ort_format_is_refused() -> None:
    with pytest.raises(ModelError, match="ORT format"):
        refuse_external_data(b"\x18\0\0\0ORTM" + bytes(64), "m.ort")


@pytest.mark.parametrize("data", [b"", b"hello, world", bytes(100), adder([1.0, 2.0])[:-3], b"\x0b\x0c"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="is no ONNX model"):
        refuse_external_data(data, "m.onnx")


def test_nesting_has_a_limit() -> None:
    graph = block(2, "deepest")
    for _ in range(200):
        graph = block(1, node("If", ["c"], "y", block(5, block(6, graph))))
    with pytest.raises(ModelError, match="nested"):
        refuse_external_data(number(1, 8) + block(7, graph), "m.onnx")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.builds(lambda i, b: _spliced(i, b), st.integers(0, 200), st.binary(max_size=8)))
def test_any_bytes_give_a_model_error_or_nothing(data: bytes) -> None:
    with contextlib.suppress(ModelError):
        refuse_external_data(data, "fuzz")


def _spliced(at: int, data: bytes) -> bytes:
    whole = add(weights("w", [1.0, 2.0]), 2)
    at %= len(whole)
    return whole[:at] + data + whole[at + len(data) :]
