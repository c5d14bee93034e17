"""Writes brake.onnx, a model as small as can be: the speed is the shortest of 24 ranges, at most 0.5 m/s."""

import onnx
from onnx import TensorProto, helper

ranges = helper.make_tensor_value_info("ranges", TensorProto.FLOAT, [24])
speed = helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1])
shortest = helper.make_node("ReduceMin", ["ranges"], ["shortest"])
limit = helper.make_node("Clip", ["shortest", "", "most"], ["speed"])
most = helper.make_tensor("most", TensorProto.FLOAT, [], [0.5])
graph = helper.make_graph([shortest, limit], "brake", [ranges], [speed], [most])
onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), "brake.onnx")
