"""The Open Inference Protocol as plain JSON over one kept connection: what any HTTP client of any language sends."""

import http.client
import json
import os
from urllib.parse import urlsplit

ADDRESS = urlsplit(os.environ.get("EKIBEN_URL", "http://localhost:3000"))
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


def infer(connection: http.client.HTTPConnection, row: list[float], tag: str) -> int:
    """The class of one row; `tag` comes back as the response's id."""
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": row}
    body = json.dumps({"id": tag, "inputs": [tensor]})
    connection.request("POST", "/v2/models/iris/infer", body, {"Content-Type": "application/json"})
    answer = json.load(connection.getresponse())
    assert answer["id"] == tag
    return int(next(output["data"][0] for output in answer["outputs"] if output["name"] == "label"))


if __name__ == "__main__":
    connection = http.client.HTTPConnection(ADDRESS.hostname or "localhost", ADDRESS.port or 80, timeout=10)
    for place, row in enumerate(FLOWERS):
        print(infer(connection, row, f"flower-{place}"))
    connection.close()
