"""KServe's Python server, Open Inference Protocol over REST: a Model per file, predict() as its documentation has it.

KServe batches in a sidecar of the cluster (the agent), not in this process: there is no batching to switch on here.
"""

import asyncio
import logging
import os
import sys

import kserve
import onnxruntime
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


def main(port: int) -> None:
    logging.getLogger("kserve.trace").setLevel(logging.WARNING)  # no line per request, as with every other peer
    server = kserve.ModelServer(http_port=port, enable_grpc=False, enable_latency_logging=False)
    for name in ("iris", "digits"):
        server.register_model(Onnx(name))
    rest = RESTServer("kserve.model_server:app", server.dataplane, server.model_repository_extension, port)
    rest.config.host = "127.0.0.1"  # ModelServer.start() would bind every interface, and has no option for it
    asyncio.run(rest.start())


if __name__ == "__main__":
    port = int(sys.argv.pop())  # popped: KServe reads the command line too, when it is imported
    main(port)
