"""KServe's Python server, Open Inference Protocol over REST and gRPC: a Model per file, predict() as it is documented.

KServe batches in a sidecar of the cluster (the agent), not in this process: there is no batching to switch on here.
"""

import asyncio
import logging
import os
import sys

import kserve
import onnxruntime
from grpc import aio
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.rest.server import RESTServer
from kserve.utils.numpy_codec import from_np_dtype
from kserve.utils.utils import generate_uuid


class Onnx(kserve.Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ[f"{name.upper()}_ONNX"], options)
        self.ready = True

    async def predict(
        self, payload: kserve.InferRequest, headers: dict | None = None, response_headers: dict | None = None
    ) -> kserve.InferResponse:
        rows = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        outputs = []
        for output, array in zip(self.session.get_outputs(), self.session.run(None, rows), strict=True):
            tensor = kserve.InferOutput(output.name, list(array.shape), from_np_dtype(array.dtype))
            tensor.set_data_from_numpy(array, binary_data=False)
            outputs.append(tensor)
        return kserve.InferResponse(payload.id or generate_uuid(), self.name, outputs)


async def serve(server: kserve.ModelServer, port: int, grpc_port: int) -> None:
    """As ModelServer.start() does, which would bind every interface, and has no option for it."""
    parts = server.dataplane, server.model_repository_extension
    by_grpc = aio.server(interceptors=(LoggingInterceptor(), ExceptionToStatusInterceptor()))
    add_GRPCInferenceServiceServicer_to_server(InferenceServicer(*parts), by_grpc)
    by_grpc.add_insecure_port(f"127.0.0.1:{grpc_port}")
    await by_grpc.start()
    rest = RESTServer("kserve.model_server:app", *parts, port)
    rest.config.host = "127.0.0.1"
    await rest.start()


def main(port: int, grpc_port: int) -> None:
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)  # no line per request, as with every other peer
    server = kserve.ModelServer(http_port=port, grpc_port=grpc_port, enable_latency_logging=False)
    for name in ("iris", "digits"):
        server.register_model(Onnx(name))
    asyncio.run(serve(server, port, grpc_port))


if __name__ == "__main__":
    ports = [int(sys.argv.pop()) for _ in range(2)]  # popped: KServe reads the command line too, when it is imported
    main(*reversed(ports))
