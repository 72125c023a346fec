"""ONNX models whose engine hangs, throws or gives too little, as their input says."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LONG = 1e13  # turns that no test lives to see the end of


def looping(file, turns_always=0):
    """y = x; every call turns `turns_always` times, and as often again as the largest x says."""
    turn = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Cos", ["was"], ["is"])],
        "turn",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("was", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("is", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Cast", ["largest"], ["asked"], to=TensorProto.INT64),
        helper.make_node("Max", ["asked", "zero"], ["more"]),
        helper.make_node("Add", ["more", "always"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", "start"], ["unread"], body=turn),
        helper.make_node("Mul", ["unread", "nothing"], ["none"]),
        helper.make_node("Add", ["x", "none"], ["y"]),
    ]
    constants = {
        "zero": np.int64(0),
        "always": np.int64(turns_always),
        "yes": np.bool_(True),
        "start": np.float32(1),
        "nothing": np.float32(0),
    }
    return saved(file, nodes, constants)


def throwing(file):
    """y is what stands at place x of a list of three; the engine throws where there is no such place."""
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["list", "place"], ["y"]),
    ]
    return saved(file, nodes, {"list": np.array([7, 8, 9], np.float32)})


def shrinking(file):
    """y = x without its rows above 100."""
    nodes = [
        helper.make_node("Less", ["x", "most"], ["small"]),
        helper.make_node("Reshape", ["small", "flat"], ["rows"]),
        helper.make_node("Compress", ["x", "rows"], ["y"], axis=0),
    ]
    return saved(file, nodes, {"most": np.float32(100), "flat": np.array([-1], np.int64)})


def saved(file, nodes, constants):
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file
