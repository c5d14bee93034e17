"""Models of a wanted duration: an image network of some milliseconds, and a controller of some microseconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from og_ros.stages.model import OnnxModel

WIDTH, HEIGHT = 640, 480


def image_model(seconds: float, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """Return a network from an image [height, width, 3] of uint8 to two numbers that takes about `seconds`."""
    return _of_duration(lambda depth: _image_model(depth, width, height), seconds)


def controller(seconds: float, inputs: int = 16) -> bytes:
    """Return a network from a vector of float32 to two numbers that takes about `seconds`."""
    return _of_duration(lambda depth: _controller(depth, inputs), seconds)


def _of_duration(make: Callable[[int], bytes], seconds: float) -> bytes:
    one, many = _duration(make(1)), _duration(make(9))
    return make(max(1, round(1 + (seconds - one) / max((many - one) / 8, 1e-7))))


def _duration(data: bytes) -> float:
    model = OnnxModel(data, "bench")
    (tensor,) = model.inputs
    array = np.ones([size or 1 for size in tensor.shape], dtype=tensor.dtype)
    names = [output.name for output in model.outputs]
    times = []
    for _ in range(60):
        began = time.perf_counter()
        model.run({tensor.name: array}, names)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _weights(name: str, *shape: int) -> Any:
    generator = np.random.default_rng(len(name))
    return numpy_helper.from_array(generator.normal(0, 0.05, shape).astype(np.float32), name)


def _image_model(depth: int, width: int, height: int) -> bytes:
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["planes", "axis"], ["batch"]),
        helper.make_node("Conv", ["batch", "w0"], ["c0"], strides=[4, 4]),
    ]
    weights = [numpy_helper.from_array(np.array([0], dtype=np.int64), "axis"), _weights("w0", 8, 3, 4, 4)]
    for layer in range(1, depth + 1):
        nodes.append(helper.make_node("Conv", [f"c{layer - 1}", f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]))
        weights.append(_weights(f"w{layer}", 8, 8, 3, 3))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"c{depth}"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("MatMul", ["flat", "out"], ["y"]),
    ]
    weights.append(_weights("out", 8, 2))
    return _model(nodes, weights, ("x", TensorProto.UINT8, [height, width, 3]))


def _controller(depth: int, inputs: int) -> bytes:
    nodes = [helper.make_node("Unsqueeze", ["x", "axis"], ["h0"])]
    weights = [numpy_helper.from_array(np.array([0], dtype=np.int64), "axis")]
    for layer in range(1, depth + 1):
        nodes.append(helper.make_node("MatMul", [f"h{layer - 1}", f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"h{layer}"]))
        weights.append(_weights(f"w{layer}", inputs if layer == 1 else 64, 64))
    nodes.append(helper.make_node("MatMul", [f"h{depth}", "out"], ["y"]))
    weights.append(_weights("out", 64, 2))
    return _model(nodes, weights, ("x", TensorProto.FLOAT, [inputs]))


def _model(nodes: list[Any], weights: list[Any], source: tuple[str, int, list[int]]) -> bytes:
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info(*source)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
