"""Small ONNX models with the shapes of other people's pipelines: a navigation controller, an arm's policy."""

from __future__ import annotations

from tiny_onnx import block, model, node, number, value_info


def concat(inputs: list[str], output: str, axis: int) -> bytes:
    attribute = block(5, block(1, "axis") + number(3, axis) + number(20, 2))
    return node("Concat", inputs, output, attribute)


def reshape(name: str, output: str, sizes: list[int]) -> tuple[bytes, bytes]:
    """A Reshape node, and the initializer with its shape (TensorProto of int64)."""
    packed = b"".join(size.to_bytes(8, "little", signed=True) for size in sizes)
    constant = number(1, len(sizes)) + number(2, 7) + block(8, f"{output}_shape") + block(9, packed)
    return node("Reshape", [name, f"{output}_shape"], output), constant


def nav_model() -> bytes:
    """command = the largest cost, and the largest coordinate of the plan."""
    flat, shape = reshape("costmap", "flat", [6])
    way, way_shape = reshape("plan", "way", [6])
    maximum = [node("ReduceMax", ["flat"], "cost"), node("ReduceMax", ["way"], "far")]
    return model(
        [flat, way, *maximum, concat(["cost", "far"], "command", 0)],
        [shape, way_shape],
        [value_info("costmap", (2, 3)), value_info("plan", (3, 2))],
        [value_info("command", (2,))],
    )


def policy_model() -> bytes:
    """A chunk of two actions: the state, and the state plus the mean of both images."""
    images = ["observation.images.front", "observation.images.wrist"]
    nodes = [
        node("GlobalAveragePool", [images[0]], "a"), node("GlobalAveragePool", [images[1]], "b"),
        node("Add", ["a", "b"], "c"), node("ReduceMean", ["c"], "d"),
    ]  # fmt: skip
    one, one_shape = reshape("d", "mean", [1, 1])
    now, now_shape = reshape("observation.state", "now", [1, 1, 2])
    nodes += [one, node("Add", ["observation.state", "mean"], "moved")]
    then, then_shape = reshape("moved", "then", [1, 1, 2])
    nodes += [now, then, concat(["now", "then"], "action", 1)]
    return model(
        nodes,
        [one_shape, now_shape, then_shape],
        [*(value_info(name, (1, 3, 6, 8)) for name in images), value_info("observation.state", (1, 2))],
        [value_info("action", (1, 2, 2))],
    )


def servo_model() -> bytes:
    """command = the state plus the mean of a camera's image; shapes as a policy's without chunks."""
    nodes = [node("ReduceMean", ["image"], "mean")]
    one, one_shape = reshape("mean", "shift", [1])
    nodes += [one, node("Add", ["state", "shift"], "command")]
    return model(
        nodes,
        [one_shape],
        [value_info("image", (1, 3, 6, 8)), value_info("state", (2,))],
        [value_info("command", (2,))],
    )
