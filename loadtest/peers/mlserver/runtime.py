"""An MLServer runtime that calls ONNX Runtime; MLServer batches in front of predict() as model-settings.json says."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ[f"{self.name.upper()}_ONNX"], options)
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        outputs = zip(self._names, self._session.run(None, rows), strict=True)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output(name, array) for name, array in outputs]
        )
