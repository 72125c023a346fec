"""Outputs → messages of ModelInfer, as protobuf reads and makes them."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from bentos.contract import BATCH, Signature, Tensor
from serving.api.grpc import response as responses
from serving.api.grpc.response import ResponseEncoder
from serving.api.v2 import texts

WORDS, Y = Tensor("words", "BYTES", (BATCH, -1)), Tensor("y", "FP32", (BATCH,))


@pytest.mark.parametrize("typed", [False, True])
def test_texts_go_out(typed: bool) -> None:
    words = texts.array_of(["é", "", "a b", "\0"], (2, 2))
    form = SimpleNamespace(version="1", signature=Signature((WORDS,), (WORDS,)))
    encoder = ResponseEncoder(service_pb2.ModelInferResponse)
    encoded = encoder.encode("m", "", form, [words], (0,), typed)  # type: ignore[arg-type]
    response = service_pb2.ModelInferResponse.FromString(encoded)
    if typed:
        assert [part.decode() for part in response.outputs[0].contents.bytes_contents] == ["é", "", "a b", "\0"]
    else:
        assert response.raw_output_contents[0] == texts.to_bytes(words)


def test_a_response_is_the_message_that_protobuf_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was described before it: another shape, another model, as many as are kept."""
    monkeypatch.setattr(responses, "MAX_DESCRIPTIONS", 2)
    encoder = ResponseEncoder(service_pb2.ModelInferResponse)
    logits = Tensor("logits", "FP32", (BATCH, 3))
    form: Any = SimpleNamespace(version="7", signature=Signature((WORDS,), (Y, logits)))
    for n_rows, name, wanted, request_id in itertools.product((1, 2, 300), ("m", "m-onnx"), ((0, 1), (1,)), ("", "é")):
        outputs = [np.arange(n_rows, dtype=np.float32), np.full((n_rows, 3), n_rows, np.float32)]
        expected = service_pb2.ModelInferResponse(model_name=name, model_version="7", id=request_id)
        for place in wanted:
            tensor, array = form.signature.outputs[place], outputs[place]
            expected.outputs.add(name=tensor.name, datatype="FP32", shape=array.shape)
            expected.raw_output_contents.append(array.tobytes())
        encoded = encoder.encode(name, request_id, form, outputs, wanted, False)
        assert service_pb2.ModelInferResponse.FromString(encoded) == expected
        expected.parameters["form"].string_param = "onnx"
        encoded += encoder.parameter("form", "onnx")
        assert service_pb2.ModelInferResponse.FromString(encoded) == expected
    assert len(encoder._descriptions) <= 2
