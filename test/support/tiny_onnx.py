"""ONNX models of a few dozen bytes, encoded by hand (onnx.proto3), so that tests need no onnx package."""

from __future__ import annotations

import struct

FLOAT, UINT8 = 1, 2


def varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def value_info(name: str, shape: tuple[int, ...], dtype: int = FLOAT) -> bytes:
    dims = b"".join(block(1, number(1, size)) for size in shape)
    return block(1, name) + block(2, block(1, number(1, dtype) + block(2, dims)))


def weights(name: str, values: list[float]) -> bytes:
    """A TensorProto with its data inside."""
    data = struct.pack(f"<{len(values)}f", *values)
    return number(1, len(values)) + number(2, FLOAT) + block(8, name) + block(9, data)


def external_weights(name: str, size: int, file: str) -> bytes:
    """A TensorProto whose data lie in another file."""
    location = block(13, block(1, "location") + block(2, file))
    return number(1, size) + number(2, FLOAT) + block(8, name) + location + number(14, 1)


def node(operator: str, inputs: list[str], output: str, attributes: bytes = b"", domain: str = "") -> bytes:
    names = b"".join(block(1, name) for name in inputs)
    return names + block(2, output) + block(4, operator) + attributes + (block(7, domain) if domain else b"")


def model(nodes: list[bytes], initializers: list[bytes], inputs: list[bytes], outputs: list[bytes]) -> bytes:
    graph = b"".join(
        [
            *(block(1, n) for n in nodes),
            block(2, "tiny"),
            *(block(5, i) for i in initializers),
            *(block(11, i) for i in inputs),
            *(block(12, o) for o in outputs),
        ]
    )
    return number(1, 8) + block(7, graph) + block(8, number(2, 17))


def add(initializer: bytes, size: int) -> bytes:
    """y = x + w, for vectors."""
    return model([node("Add", ["x", "w"], "y")], [initializer], [value_info("x", (size,))], [value_info("y", (size,))])


def adder(values: list[float]) -> bytes:
    """y = x + values."""
    return add(weights("w", values), len(values))


def weighted_sum(size: int) -> bytes:
    """y = a + b, for vectors of two inputs."""
    ports = [value_info("a", (size,)), value_info("b", (size,))]
    return model([node("Add", ["a", "b"], "y")], [], ports, [value_info("y", (size,))])
