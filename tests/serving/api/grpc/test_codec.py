"""Messages of ModelInfer → arrays and back, for signatures of every kind: open shapes, texts, BF16."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from bentos.contract import BATCH, Signature, Tensor, float32_to_bfloat16
from serving.api.grpc import codec
from serving.api.grpc.codec import ResponseEncoder, bind
from serving.api.grpc.tensors import FIELDS, set_contents
from serving.api.v2 import texts
from serving.errors import BadInput

IDS, MASK = Tensor("ids", "INT64", (BATCH, "n")), Tensor("mask", "FP32", (BATCH, "n"))
STATE, RATE = Tensor("state", "FP32", (2, BATCH)), Tensor("rate", "INT64", ())
WORDS, HALVES = Tensor("words", "BYTES", (BATCH, -1)), Tensor("halves", "BF16", (BATCH, 2))
Y = Tensor("y", "FP32", (BATCH,))


def text(*rows: list[str]) -> np.ndarray:
    return texts.array_of([word for row in rows for word in row], (len(rows), len(rows[0])))


def message(typed: bool, **sent: tuple[Tensor, np.ndarray]) -> Any:
    request = service_pb2.ModelInferRequest(model_name="m")
    for tensor, array in sent.values():
        item = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        if typed:
            set_contents(item.contents, tensor, array)
        else:
            octets = texts.to_bytes(array) if tensor.datatype == "BYTES" else array.tobytes()
            request.raw_input_contents.append(octets)
    return request


def bound(request: Any, *inputs: Tensor, batched: bool = True) -> tuple[list[Any], int]:
    arrays, n_rows, _ = bind(request, Signature(inputs, (Y,), batched), True, 10)
    return [array.tolist() for array in arrays], n_rows


@pytest.mark.parametrize("typed", [False, True])
def test_sizes_that_are_open_a_batch_anywhere_and_scalars(typed: bool) -> None:
    state, rate = np.arange(6, dtype=np.float32).reshape(2, 3), np.array(8)
    request = message(typed, rate=(RATE, rate), state=(STATE, state))
    assert bound(request, STATE, RATE) == ([state.tolist(), 8], 3)
    ids = np.arange(6).reshape(2, 3)
    request = message(typed, ids=(IDS, ids), mask=(MASK, np.ones((2, 3), np.float32)))
    assert bound(request, IDS, MASK) == ([ids.tolist(), [[1.0] * 3] * 2], 2)
    nothing = message(typed, ids=(IDS, np.zeros((2, 0), np.int64)), mask=(MASK, np.zeros((2, 0), np.float32)))
    assert bound(nothing, IDS, MASK) == ([[[], []], [[], []]], 2)
    length = Tensor("x", "FP32", ("n",))
    assert bound(message(typed, x=(length, np.ones(20, np.float32))), length, batched=False) == ([[1.0] * 20], 1)


def test_sizes_of_one_name_are_one() -> None:
    request = message(False, ids=(IDS, np.zeros((2, 3), np.int64)), mask=(MASK, np.ones((2, 4), np.float32)))
    with pytest.raises(BadInput, match="'n' is 3 in input 'ids' and 4 in input 'mask'"):
        bound(request, IDS, MASK)
    with pytest.raises(BadInput, match="11 rows in one request, the limit is 10"):
        bound(message(False, ids=(IDS, np.zeros((11, 1), np.int64))), IDS)


@pytest.mark.parametrize("typed", [False, True])
def test_texts_come_in_and_go_out(typed: bool) -> None:
    words = text(["é", ""], ["a b", "\0"])
    assert bound(message(typed, words=(WORDS, words)), WORDS) == ([words.tolist()], 2)
    form = SimpleNamespace(version="1", signature=Signature((WORDS,), (WORDS,)))
    encoder = ResponseEncoder(service_pb2.ModelInferResponse)
    encoded = encoder.encode("m", "", form, [words], (0,), typed)  # type: ignore[arg-type]
    response = service_pb2.ModelInferResponse.FromString(encoded)
    if typed:
        assert [part.decode() for part in response.outputs[0].contents.bytes_contents] == ["é", "", "a b", "\0"]
    else:
        assert response.raw_output_contents[0] == texts.to_bytes(words)


def test_what_is_no_text_is_refused() -> None:
    request = message(True, words=(WORDS, text(["a"])))
    request.inputs[0].contents.bytes_contents[0] = b"\xff"
    with pytest.raises(BadInput, match="text 0 is not UTF-8"):
        bound(request, WORDS)


def test_bf16_is_two_bytes_and_goes_raw() -> None:
    halves = float32_to_bfloat16(np.array([[1.5, -2]], np.float32))
    assert bound(message(False, halves=(HALVES, halves)), HALVES) == ([halves.tolist()], 1)
    assert "BF16" not in FIELDS and "FP16" not in FIELDS
    with pytest.raises(BadInput, match="finite numbers only"):
        bound(message(False, halves=(HALVES, float32_to_bfloat16(np.array([[np.nan, 1]], np.float32)))), HALVES)


def test_a_response_is_the_message_that_protobuf_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was described before it: another shape, another model, as many as are kept."""
    monkeypatch.setattr(codec, "MAX_DESCRIPTIONS", 2)
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
