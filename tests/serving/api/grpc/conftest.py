"""One server for all that only ask it, and clients of it that we did not write."""

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.serving.grpc.grpc_server import grpc_server

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.0, 3.0, 5.0, 2.0]], np.float32)


@pytest.fixture(scope="module")
def server(stored_here):
    with grpc_server(max_body_bytes=4 * 2**20) as running:
        yield running


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(server.address) as client:
        yield client


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address) as channel:
        yield channel


def features(rows=ROWS, datatype="FP32", name="features"):
    tensor = triton.InferInput(name, list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows)
    return tensor
