"""V2 requests of arrays, as clients write them."""

import json

import numpy as np

from bentos.contract import DATATYPES, Signature, Tensor
from serving.api.v2.decode import decode

NUMBERS = [name for name in DATATYPES if name not in ("BYTES", "BF16")]
X = Tensor("x", "FP32", (-1, 3))
Y = Tensor("y", "FP32", (-1, 3))
RIGHT = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}


def in_json(tensor, array, nested=False):
    data = array.tolist() if nested else array.reshape(-1).tolist()
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(array.shape), "data": data}


def in_binary(tensor, array):
    parameters = {"binary_data_size": array.nbytes}
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(array.shape), "parameters": parameters}


def dumped(*inputs, **members):
    return json.dumps({"inputs": inputs, **members}).encode()


def bound(body, inputs=(X,), outputs=(Y,), finite=True, max_rows=1000, length=None, max_depth=64):
    """(arrays, rows, outputs wanted) of a body."""
    return decode(body, length, max_depth).bind(Signature(tuple(inputs), tuple(outputs)), finite, max_rows)


def example(datatype, shape=(3, 2)):
    """Values of a datatype, its least and greatest among them."""
    dtype = DATATYPES[datatype]
    if dtype.kind == "b":
        return np.array([True, False, True, True, False, False]).reshape(shape)
    if dtype.kind == "f":
        return np.array([0, -1.5, 3.25, 100, 1e-3, 7], dtype).reshape(shape)
    return np.array([0, 1, 7, np.iinfo(dtype).max, np.iinfo(dtype).min, 42], dtype).reshape(shape)
