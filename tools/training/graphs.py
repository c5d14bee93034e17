"""The networks as ONNX graphs, with their pre-processing and limits inside: what is hashed is what goes in."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from og_ros.sim.expert import Expert
from og_ros.sim.lidar import Lidar
from og_ros.sim.robot import Chassis
from training.exact import Network, weight_grid
from training.features import (
    CELL,
    COLUMNS,
    FLOOR_ROWS,
    LINE_LIMIT,
    LINE_SCALE,
    NEAR_FIELD,
    PLAN_SCALE,
    RANGE_MAX,
    ROWS,
    SALIENCE_LIMIT,
    SPEED_LIMIT,
    SPEED_SCALE,
    WHEEL_SCALE,
)

OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Collects nodes and constants, each under a name that follows from its order."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[np.generic] | float) -> str:
        """Add a constant (float32 unless it is of integers) and return its name."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"c{len(self._constants)}"
        kind = TensorProto.INT64 if array.dtype == np.int64 else TensorProto.FLOAT
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        self._constants.append(helper.make_tensor(name, kind, array.shape, data, raw=True))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: object) -> str:
        """Add a node with one output and return the name of that."""
        name = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def network(self, inputs: str, network: Network, scale: NDArray[np.float64]) -> str:
        """Add `network` on a [1, n] tensor; its outputs times `scale`, as a vector."""
        value = inputs
        for number, layer in enumerate(network.layers):
            value = self.node("MatMul", value, self.constant(weight_grid(layer.weights)))
            value = self.node("Add", value, self.constant(layer.bias))
            if number < len(network.layers) - 1:
                value = self.node("Relu", value)
        value = self.node("Reshape", value, self.constant(np.array([-1])))
        return self.node("Mul", value, self.constant(scale))

    def clipped(self, value: str, limit: NDArray[np.float64]) -> str:
        """`value` within +-limit, element by element; infinities become the limit."""
        return self.node("Min", self.node("Max", value, self.constant(-limit)), self.constant(limit))

    def without_nan(self, value: str, size: int) -> str:
        """`value`, a vector of `size`, with 0 in the place of every NaN."""
        return self.node("Where", self.node("IsNaN", value), self.constant(np.zeros(size)), value)

    def finish(self, name: str, purpose: str, inputs: list[onnx.ValueInfoProto], outputs: dict[str, int]) -> bytes:
        """The model's bytes; they depend on nothing but what was added."""
        results = [helper.make_tensor_value_info(key, TensorProto.FLOAT, [size]) for key, size in outputs.items()]
        graph = helper.make_graph(self._nodes, name, inputs, results, initializer=self._constants)
        model = helper.make_model(
            graph, producer_name="og_ros", producer_version="1", opset_imports=[helper.make_opsetid("", OPSET)]
        )
        model.ir_version, model.model_version, model.doc_string = IR_VERSION, 1, purpose
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))


def _vector(name: str, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [size])


def line_perception(network: Network) -> bytes:
    """image uint8 [120, 160, 3] -> line float32 [3]: offset m, heading rad, curvature 1/m."""
    graph = GraphBuilder()
    pixels = graph.node("Cast", "image", to=TensorProto.FLOAT)
    planes = graph.node("Unsqueeze", graph.node("Transpose", pixels, perm=[2, 0, 1]), graph.constant(np.array([0])))
    cells = graph.node("AveragePool", planes, kernel_shape=[CELL, CELL], strides=[CELL, CELL])
    rows = ROWS // CELL
    lowest = graph.node(
        "Slice",
        cells,
        graph.constant(np.array([rows - FLOOR_ROWS])),
        graph.constant(np.array([rows])),
        graph.constant(np.array([2])),
    )
    floor = graph.node("ReduceMean", lowest, axes=[2, 3], keepdims=1)
    difference = graph.node("Abs", graph.node("Sub", cells, floor))
    total = graph.node("ReduceSum", difference, graph.constant(np.array([1])), keepdims=0)
    flat = graph.node("Reshape", total, graph.constant(np.array([1, rows * (COLUMNS // CELL)])))
    mean = graph.node("Add", graph.node("ReduceMean", flat, axes=[1], keepdims=1), graph.constant(1.0))
    salience = graph.node("Min", graph.node("Div", flat, mean), graph.constant(SALIENCE_LIMIT))
    graph.node("Identity", graph.network(salience, network, LINE_SCALE), output="line")
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [ROWS, COLUMNS, 3])
    return graph.finish("line_perception", line_perception.__doc__ or "", [image], {"line": 3})


def line_planning(network: Network) -> bytes:
    """line float32 [3], ranges float32 [24] m -> reference float32 [2]: v m/s, omega rad/s.

    An infinite range is a free beam. A range that is not a number, or a line state that is not finite, is a robot that
    does not know what is before it: the reference is zero.
    """
    graph = GraphBuilder()
    beams = Lidar().beams
    ranges = graph.node("Max", graph.without_nan("ranges", beams), graph.constant(0.0))
    far = graph.node("Min", ranges, graph.constant(RANGE_MAX))
    share = graph.node("Mul", far, graph.constant(1.0 / NEAR_FIELD))
    nearness = graph.node("Relu", graph.node("Sub", graph.constant(1.0), share))
    line = graph.clipped(graph.without_nan("line", 3), LINE_LIMIT)
    scaled = graph.node("Mul", line, graph.constant(1.0 / LINE_SCALE))
    joined = graph.node("Concat", scaled, graph.node("Mul", nearness, graph.constant(2.0)), axis=0)
    row = graph.node("Reshape", joined, graph.constant(np.array([1, 3 + beams])))
    wish = graph.network(row, network, PLAN_SCALE)
    expert = Expert()
    low = np.array([0.0, -expert.max_curvature])
    high = np.array([expert.max_speed, expert.max_curvature])
    limited = graph.node("Min", graph.node("Max", wish, graph.constant(low)), graph.constant(high))
    first, second = graph.constant(np.array([0])), graph.constant(np.array([1]))
    allowed = graph.node("Gather", limited, first, axis=0)
    drives = graph.node("Cast", graph.node("Greater", allowed, graph.constant(expert.crawl)), to=TensorProto.FLOAT)
    v = graph.node("Mul", allowed, drives)
    omega = graph.node("Mul", v, graph.node("Gather", limited, second, axis=0))
    unknown = graph.node(
        "Concat",
        graph.node("Cast", graph.node("IsNaN", "ranges"), to=TensorProto.FLOAT),
        graph.node("Cast", graph.node("IsNaN", "line"), to=TensorProto.FLOAT),
        graph.node("Cast", graph.node("IsInf", "line"), to=TensorProto.FLOAT),
        axis=0,
    )
    known = graph.node("Sub", graph.constant(1.0), graph.node("ReduceMax", unknown, axes=[0], keepdims=1))
    graph.node("Mul", graph.node("Concat", v, omega, axis=0), known, output="reference")
    inputs = [_vector("line", 3), _vector("ranges", beams)]
    return graph.finish("line_planning", line_planning.__doc__ or "", inputs, {"reference": 2})


def wheel_control(network: Network) -> bytes:
    """reference float32 [2], measured float32 [2]: v m/s, omega rad/s -> wheels float32 [2]: left, right m/s.

    A number that is not one counts as zero.
    """
    graph = GraphBuilder()
    speeds = graph.clipped(graph.without_nan(graph.node("Concat", "reference", "measured", axis=0), 4), SPEED_LIMIT)
    scaled = graph.node("Mul", speeds, graph.constant(1.0 / SPEED_SCALE))
    row = graph.node("Reshape", scaled, graph.constant(np.array([1, 4])))
    wish = graph.network(row, network, np.full(2, WHEEL_SCALE))
    graph.node("Identity", graph.clipped(wish, np.full(2, Chassis().max_wheel)), output="wheels")
    inputs = [_vector("reference", 2), _vector("measured", 2)]
    return graph.finish("wheel_control", wheel_control.__doc__ or "", inputs, {"wheels": 2})
