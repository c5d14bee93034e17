"""Training is exact: products do not depend on the order of their sums, and so not on the CPU."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from og_ros.sim import World
from og_ros.sim.policy import MODELS

# Of a tiny network after a fit; the same for every BLAS kernel.
GOLDEN = "309fc2b3ce5efbe269aaaed36896a73ecc73599f985f7ba11ea1fdc28c5df2de"


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "tools"))
    monkeypatch.delitem(sys.modules, "training", raising=False)


def test_products_are_exact() -> None:
    from training.exact import activation_grid, weight_grid

    rng = np.random.default_rng(0)
    left = activation_grid(rng.normal(size=(20, 768)) * 30.0)
    right = weight_grid(rng.normal(size=(768, 16)) * 4.0)
    whole = (left * 2**14).astype(np.int64).astype(object) @ (right * 2**18).astype(np.int64).astype(object)
    assert (whole.astype(np.float64) / 2.0**32 == left @ right).all()
    order = rng.permutation(768)
    assert (left[:, order] @ right[order] == left @ right).all()


def test_a_fit_gives_the_same_bytes_everywhere() -> None:
    from training.exact import fit, new_network

    rng = np.random.Generator(np.random.PCG64(3))
    inputs = 4.0 * rng.random((2048, 8)) - 2.0
    targets = np.maximum(inputs[:, :2], inputs[:, 2:4])
    network = fit(new_network((8, 24, 16, 2), rng), inputs, targets, epochs=60, rate=1e-2, rng=rng)
    assert float(np.abs(network(inputs) - targets).mean()) < 0.1
    digest = hashlib.sha256(b"".join(layer.weights.tobytes() + layer.bias.tobytes() for layer in network.layers))
    assert digest.hexdigest() == GOLDEN


def test_the_graph_of_perception_computes_what_training_saw() -> None:
    """The committed weights, under training's features and arithmetic, against the committed graph."""
    onnx = pytest.importorskip("onnx")
    ort = pytest.importorskip("onnxruntime")
    from training.exact import Layer, Network
    from training.features import LINE_SCALE, salience

    data = (MODELS / "line_perception.onnx").read_bytes()
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load_from_string(data).graph.initializer}
    nodes = onnx.load_from_string(data).graph.node
    weights = [constants[node.input[1]].astype(float) for node in nodes if node.op_type == "MatMul"]
    biases = [constants[node.input[1]].astype(float) for node in nodes if node.op_type == "Add"][1:]
    network = Network(tuple(Layer(w, b) for w, b in zip(weights, biases, strict=True)))
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    for seed in range(3):
        image = World(seed).camera()
        expected = network(salience(image)[None])[0] * LINE_SCALE
        assert session.run(None, {"image": image})[0] == pytest.approx(expected, abs=1e-3)
