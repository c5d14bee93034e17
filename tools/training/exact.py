"""A multilayer perceptron whose training gives the same bytes on every CPU.

A matrix product rounds differently with every BLAS kernel, and so do the weights that come of it. Here both factors of
every product are first rounded to a fixed-point grid so coarse that each partial sum is a whole multiple of the
product of the two steps and fits the 53 bits of a double. Such a sum is exact: neither the order of the additions, nor
the width of the vector unit, nor a fused multiply-add can change it. Everything else is element-wise + - * / and sqrt,
which IEEE 754 rounds correctly everywhere. The bits of the widest product, for k terms:

    forward   weights 18 + 2, activations 14 + 5, k <= 2^10 (inputs)   49
    gradient  errors 18 + 3, activations 14 + 5, k <= 2^9 (batch)      49
    backward  errors 18 + 3, weights 18 + 2, k <= 2^8 (width)          49
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BATCH = 256


def _grid(values: Array, bits: int, limit: float) -> Array:
    """`values` rounded to multiples of 2^-bits and clipped to +-limit."""
    scale = float(1 << bits)
    return np.asarray(np.rint(np.clip(values, -limit, limit) * scale) / scale)


def weight_grid(values: Array) -> Array:
    """Weights as the products see them: 20 bits, so that they are exact in float32, too."""
    return _grid(values, 18, 3.99)


def activation_grid(values: Array) -> Array:
    """Inputs and activations as the products see them."""
    return _grid(values, 14, 31.9)


def _error_grid(values: Array) -> Array:
    return _grid(values, 18, 7.99)


@dataclass(frozen=True)
class Layer:
    """One affine layer: weights float64 [inputs, outputs], bias float64 [outputs]."""

    weights: Array
    bias: Array


@dataclass(frozen=True)
class Network:
    """Affine layers with a rectifier between each two."""

    layers: tuple[Layer, ...]

    def __call__(self, inputs: Array) -> Array:
        """Outputs, float64 [samples, outputs], of inputs float64 [samples, inputs]."""
        return _activations(self.layers, inputs)[-1]


def _activations(layers: tuple[Layer, ...], inputs: Array) -> list[Array]:
    """Inputs of every layer (on the grid), then the outputs of the last (as they are)."""
    values = [activation_grid(inputs)]
    for number, layer in enumerate(layers):
        result = values[-1] @ weight_grid(layer.weights) + layer.bias
        last = number == len(layers) - 1
        values.append(result if last else activation_grid(np.maximum(result, 0.0)))
    return values


def new_network(sizes: tuple[int, ...], rng: np.random.Generator) -> Network:
    """A network with uniform He initialisation (no logarithm or sine goes into it)."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        bound = np.sqrt(6.0 / inputs)
        weights = (2.0 * rng.random((inputs, outputs)) - 1.0) * bound
        layers.append(Layer(weights, np.zeros(outputs)))
    return Network(tuple(layers))


def fit(
    network: Network, inputs: Array, targets: Array, *, epochs: int, rate: float, rng: np.random.Generator
) -> Network:
    """Minimise the squared error by Adam, the rate falling linearly to zero (Kingma and Ba, 2015).

    Args:
        network: where to start; it is not changed.
        inputs: float64 [samples, inputs], within +-31.
        targets: float64 [samples, outputs], of the order of 1.
        epochs: passes over the samples.
        rate: first learning rate.
        rng: draws the order of the samples.
    """
    inputs = activation_grid(inputs)
    parameters = [value for layer in network.layers for value in (layer.weights.copy(), layer.bias.copy())]
    first = [np.zeros_like(value) for value in parameters]
    second = [np.zeros_like(value) for value in parameters]
    batches = len(inputs) // _BATCH
    decay_first = decay_second = 1.0
    for step in range(epochs * batches):
        if step % batches == 0:
            order = rng.permutation(len(inputs))
        chosen = order[(step % batches) * _BATCH : (step % batches + 1) * _BATCH]
        layers = tuple(Layer(parameters[i], parameters[i + 1]) for i in range(0, len(parameters), 2))
        gradients = _gradients(layers, inputs[chosen], targets[chosen])
        decay_first, decay_second = decay_first * 0.9, decay_second * 0.999
        pace = rate * (1.0 - step / (epochs * batches))
        for value, gradient, mean, square in zip(parameters, gradients, first, second, strict=True):
            mean *= 0.9
            mean += 0.1 * gradient
            square *= 0.999
            square += 0.001 * (gradient * gradient)
            value -= pace * (mean / (1.0 - decay_first)) / (np.sqrt(square / (1.0 - decay_second)) + 1e-8)
    return Network(tuple(Layer(parameters[i], parameters[i + 1]) for i in range(0, len(parameters), 2)))


def _gradients(layers: tuple[Layer, ...], inputs: Array, targets: Array) -> list[Array]:
    """Gradients of weights and bias of every layer, in order, of half the squared error, averaged over the batch."""
    values = _activations(layers, inputs)
    error = _error_grid(values[-1] - targets)
    ones = np.ones((1, len(inputs)))
    gradients: list[Array] = []
    for number in range(len(layers) - 1, -1, -1):
        gradients = [values[number].T @ error / len(inputs), (ones @ error)[0] / len(inputs), *gradients]
        if number:
            error = _error_grid((error @ weight_grid(layers[number].weights).T) * (values[number] > 0.0))
    return gradients
