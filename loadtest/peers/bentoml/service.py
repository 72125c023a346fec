"""BentoML as installed: typed API methods with its own adaptive batching, and every default left as it is."""

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Models:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.iris_session = onnxruntime.InferenceSession(os.environ["IRIS_ONNX"], options)
        self.digits_session = onnxruntime.InferenceSession(os.environ["DIGITS_ONNX"], options)

    @bentoml.api(batchable=True, max_batch_size=32)
    def iris(self, features: np.ndarray) -> list[dict]:
        labels, probabilities = self.iris_session.run(None, {"features": features.astype(np.float32)})
        rows = zip(labels.tolist(), probabilities.tolist(), strict=True)
        return [{"label": label, "probabilities": row} for label, row in rows]

    @bentoml.api(batchable=True, max_batch_size=32)
    def digits(self, image: np.ndarray) -> np.ndarray:
        return self.digits_session.run(None, {"image": image.astype(np.float32).reshape(-1, 1, 28, 28)})[0]
