"""Triton's Python backend, calling ONNX Runtime on what Triton has batched; one file for all models."""

from __future__ import annotations  # Triton adds the classes below to its module only after this file is loaded

import json
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb


class TritonPythonModel:
    """One instance of a model: Triton hands it the requests of one dynamic batch at a time."""

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ[f"{config['name'].upper()}_ONNX"], options)
        self.input = config["input"][0]["name"]
        self.outputs = [output["name"] for output in config["output"]]

    def execute(self, requests: list[pb.InferenceRequest]) -> list[pb.InferenceResponse]:
        rows = [pb.get_input_tensor_by_name(request, self.input).as_numpy() for request in requests]
        like: dict[tuple[int, ...], list[int]] = {}  # places by shape: sentences have as many tokens as they have
        for place, row in enumerate(rows):
            like.setdefault(row.shape[1:], []).append(place)
        answers: dict[int, pb.InferenceResponse] = {}
        for places in like.values():
            joined = [rows[place] for place in places]
            results = self.session.run(self.outputs, {self.input: np.concatenate(joined)})
            ends = np.cumsum([len(part) for part in joined])[:-1]
            parts = zip(*(np.split(result, ends) for result in results), strict=True)
            answers.update(zip(places, map(self._respond, parts), strict=True))
        return [answers[place] for place in range(len(rows))]

    def _respond(self, parts: tuple[np.ndarray, ...]) -> pb.InferenceResponse:
        # Behind a batching model every output has a batch dimension and at least one more: label goes out as [n, 1].
        columns = [part.reshape(len(part), -1) for part in parts]
        return pb.InferenceResponse([pb.Tensor(name, part) for name, part in zip(self.outputs, columns, strict=True)])
