"""LitServe: a LitAPI per model, which LitServe runs in a worker process of its own and batches for."""

import os
import sys

import litserve
import numpy as np
import onnxruntime


class Onnx(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = os.environ[f"{self.api_path.strip('/').upper()}_ONNX"]
        self.session = onnxruntime.InferenceSession(path, options)
        self.input = self.session.get_inputs()[0]

    def decode_request(self, request: dict) -> np.ndarray:
        return np.array(request[self.input.name], np.float32).reshape(self.input.shape[1:])

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {self.input.name: rows}), strict=True))

    def unbatch(self, output: dict[str, np.ndarray]) -> list[dict]:
        return [dict(zip(output, row, strict=True)) for row in zip(*output.values(), strict=True)]

    def encode_response(self, output: dict) -> dict:
        return {name: value.tolist() for name, value in output.items()}


if __name__ == "__main__":
    models = [Onnx(max_batch_size=32, batch_timeout=0.001, api_path=f"/{name}") for name in ("iris", "digits")]
    server = litserve.LitServer(models, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False, access_log=False)
