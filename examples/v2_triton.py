"""The Open Inference Protocol with Triton's own client: two rows as a binary tensor."""

import os

import numpy as np
import tritonclient.http as triton

ADDRESS = os.environ.get("EKIBEN_URL", "http://localhost:3000").removeprefix("http://")
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)

if __name__ == "__main__":
    with triton.InferenceServerClient(ADDRESS) as client:
        features = triton.InferInput("features", list(ROWS.shape), "FP32")
        features.set_data_from_numpy(ROWS)
        result = client.infer("iris", [features])
    print(result.as_numpy("label").tolist())
    print(result.as_numpy("probabilities").round(2).tolist())
