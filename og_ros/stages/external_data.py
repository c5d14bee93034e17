"""Finds out whether an ONNX model keeps everything in its own bytes, by walking its protobuf fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from og_ros.errors import ModelError

# Messages of onnx.proto3 that can hold a tensor somewhere below, and the fields that lead there.
_CHILDREN: Final[dict[str, dict[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto", 22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}  # fmt: skip
_TENSOR_EXTERNAL_DATA: Final = 13
_TENSOR_DATA_LOCATION: Final = 14
_NODE_OP_TYPE: Final = 4
_GRAPH: Final = 7
_MAX_DEPTH: Final = 100
_ORT_FORMAT: Final = b"ORTM"
_FIXED_SIZE: Final = {1: 8, 5: 4}


def refuse_external_data(model: bytes, name: str) -> None:
    """Check that a model's bytes are the whole model.

    The digest of a file says nothing about weights in another file. Refused are tensors with external data
    (TensorProto.data_location or .external_data), EPContext nodes (which may name a compiled file), and onnxruntime's
    own ORT format, which this walk does not understand. Any occurrence counts, since the last of a repeated protobuf
    field wins and only a decoder knows which one that is.

    Raises ModelError, naming the model, for these and for bytes that are no ONNX protobuf.
    """
    if model[4:8] == _ORT_FORMAT:
        raise ModelError(f"{name} is in ORT format; convert it to ONNX, so that one file can be hashed and checked")
    try:
        found = _walk(memoryview(model), "ModelProto", 0)
    except ValueError as error:
        raise ModelError(f"{name} is no ONNX model: {error}") from error
    if found == "none":
        raise ModelError(f"{name} is no ONNX model: it has no graph")
    if found:
        raise ModelError(f"{name} {found}; save it as one file (onnx.save(model, path, save_as_external_data=False))")


def _walk(data: memoryview, kind: str, depth: int) -> str:
    """Return what is wrong with a message or anything below it, "none" for a model without a graph, "" if nothing."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
    children = _CHILDREN[kind]
    has_graph = False
    for number, wire_type, value in _fields(data):
        if kind == "TensorProto" and (
            number == _TENSOR_EXTERNAL_DATA or (number == _TENSOR_DATA_LOCATION and value != 0)
        ):
            return "keeps weights outside its own bytes (external data)"
        if kind == "NodeProto" and number == _NODE_OP_TYPE and _bytes(value) == b"EPContext":
            return "has an EPContext node, which runs compiled code instead of the graph"
        if number in children:
            if wire_type != 2:
                raise ValueError(f"field {number} of {kind} has wire type {wire_type}")
            assert isinstance(value, memoryview)
            found = _walk(value, children[number], depth + 1)
            if found:
                return found
            has_graph = has_graph or number == _GRAPH
    return "none" if kind == "ModelProto" and not has_graph else ""


def _bytes(value: int | memoryview) -> bytes:
    return value.tobytes() if isinstance(value, memoryview) else b""


def _fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield field number, wire type and value of each field (https://protobuf.dev/programming-guides/encoding/)."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number < 2**29:
            raise ValueError(f"field number {number}")
        value: int | memoryview
        if wire_type == 0:
            value, at = _varint(data, at)
        elif wire_type == 2:
            size, at = _varint(data, at)
            value = data[at : at + size]
            at += size
        elif wire_type in _FIXED_SIZE:
            value = data[at : at + _FIXED_SIZE[wire_type]]
            at += _FIXED_SIZE[wire_type]
        else:  # groups (3, 4), which ONNX never had
            raise ValueError(f"wire type {wire_type}")
        if at > len(data):
            raise ValueError("it is truncated")
        yield number, wire_type, value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("it is truncated")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number is longer than ten bytes")
