"""Mosec: its Rust front and a Python worker process per route, with and without batching; orjson where it has json."""

import os
from typing import Any

import numpy as np
import onnxruntime
import orjson
from mosec import Runtime, Server, Worker


class Onnx(Worker):
    """One sample, or with batching a list of them; mosec calls forward with what max_batch_size says."""

    model = ""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ[f"{self.model.upper()}_ONNX"], options)
        self.input = self.session.get_inputs()[0]
        self.outputs = [output.name for output in self.session.get_outputs()]

    def deserialize(self, data: bytes) -> np.ndarray:
        return np.array(orjson.loads(data)[self.input.name], np.float32).reshape(self.input.shape[1:])

    def serialize(self, data: Any) -> bytes:
        return orjson.dumps(data)

    def forward(self, data: Any) -> Any:
        batched = isinstance(data, list)
        results = self.session.run(self.outputs, {self.input.name: np.stack(data if batched else [data])})
        columns = [result.tolist() for result in results]
        rows = [dict(zip(self.outputs, row, strict=True)) for row in zip(*columns, strict=True)]
        return rows if batched else rows[0]


class Iris(Onnx):
    model = "iris"


class Digits(Onnx):
    model = "digits"


if __name__ == "__main__":
    routes = {}
    for worker in (Iris, Digits):
        routes[f"/{worker.model}"] = [Runtime(worker, num=1)]
        routes[f"/{worker.model}/batched"] = [Runtime(worker, num=1, max_batch_size=32, max_wait_time=1)]
    server = Server()
    server.register_runtime(routes)
    server.run()
