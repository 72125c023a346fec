"""Messages of ModelInfer → arrays, as protobuf reads them, for signatures of every kind: open shapes, texts, BF16."""

import contextlib
import random
import tracemalloc
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from bentos.contract import BATCH, Signature, Tensor, float32_to_bfloat16
from serving.api.grpc import request as requests
from serving.api.grpc.request import RequestDecoder
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
    signature = Signature(inputs, (Y,), batched)
    decoder = RequestDecoder(service_pb2.ModelInferRequest.FromString)
    octets = request.SerializeToString()
    arrays, n_rows, _ = decoder.decode(octets).bind(signature, True, 10)
    again, same, _ = decoder.decode(octets).bind(signature, True, 10)  # as it is known by now
    values = [array.tolist() for array in arrays]
    assert ([array.tolist() for array in again], same) == (values, n_rows)
    return values, n_rows


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
def test_texts_come_in(typed: bool) -> None:
    words = text(["é", ""], ["a b", "\0"])
    assert bound(message(typed, words=(WORDS, words)), WORDS) == ([words.tolist()], 2)


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


IRIS = Signature((Tensor("x", "FP32", (BATCH, 2)), Tensor("n", "INT64", (BATCH,))), (Y, Tensor("z", "FP32", (BATCH,))))


def outcome(decoder: RequestDecoder, octets: bytes) -> Any:
    """All that a request is, or the words that refuse it."""
    try:
        request = decoder.decode(octets)
        arrays, n_rows, wanted = request.bind(IRIS, True, 5)
        values = [(array.dtype, array.tolist()) for array in arrays]
        return request.name, request.version, request.id, request.form, request.asks_for_final, values, n_rows, wanted
    except BadInput as error:
        return str(error)


def varint(value: int, n_bytes: int = 1) -> bytes:
    """At least so many bytes, which need not be the fewest."""
    octets = bytearray()
    while value > 0x7F or len(octets) < n_bytes - 1:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*octets, value])


def octets_of(fields: list[tuple[int, bytes]], draw: random.Random) -> bytes:
    """A message of length-delimited fields; some lengths and tags in more bytes than they need."""
    more = (1, 1, 1, 1, 1, 1, 2, 3)
    return b"".join(
        varint(number << 3 | 2, draw.choice(more)) + varint(len(octets), draw.choice(more)) + octets
        for number, octets in fields
    )


def some_fields(draw: random.Random) -> list[tuple[int, bytes]]:
    """The fields of a request that is right, or nearly so."""
    rows, raw = draw.randrange(1, 4), draw.random() < 0.8
    request = service_pb2.ModelInferRequest(model_name=draw.choice("ab"), model_version=draw.choice(["", "1"]))
    request.id = draw.choice(["", "7", "é" * 70])
    if draw.random() < 0.3:
        request.parameters["form"].string_param = draw.choice(["onnx", "int8"])
    if draw.random() < 0.2:
        request.parameters[requests.ASKS_FOR_FINAL].bool_param = draw.random() < 0.5
    for tensor in draw.sample(IRIS.inputs, 2):
        array = np.arange(rows * (2 if tensor.name == "x" else 1)).astype(tensor.dtype).reshape(rows, *tensor.shape[1:])
        item = request.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        if raw:
            request.raw_input_contents.append((array + draw.randrange(9)).tobytes())
        else:
            set_contents(item.contents, tensor, array)
    if draw.random() < 0.3:
        request.outputs.add(name=draw.choice("yz"))
    fields = [
        (field.number, part if isinstance(part, bytes) else part.encode() if isinstance(part, str) else b"")
        for field, value in request.ListFields()
        if field.name in ("model_name", "model_version", "id", "raw_input_contents")
        for part in (value if field.name == "raw_input_contents" else [value])
    ]
    fields += [(5, item.SerializeToString()) for item in request.inputs]
    fields += [(6, item.SerializeToString()) for item in request.outputs]
    only = service_pb2.ModelInferRequest()
    for key, value in request.parameters.items():
        only.ClearField("parameters")
        only.parameters[key].CopyFrom(value)
        fields.append((4, only.SerializeToString()[2:]))  # behind its tag and a length of one byte
    fields.sort(key=lambda field: field[0])
    strange = draw.random()
    if strange < 0.2:
        draw.shuffle(fields)
    elif strange < 0.3:
        fields.append(draw.choice(fields))  # a field twice
    elif strange < 0.4:
        fields.insert(draw.randrange(len(fields)), (draw.choice([8, 9, 16, 200]), b"unknown"))
    elif strange < 0.5:
        fields.remove(draw.choice(fields))
    return fields


def test_a_request_is_what_protobuf_reads_whatever_came_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields in any order, twice, unknown, missing, of long varints, cut off, and with a bit flipped."""
    draw = random.Random(1)  # noqa: S311
    monkeypatch.setattr(requests, "MAX_LAYOUTS", 20)
    known = RequestDecoder(service_pb2.ModelInferRequest.FromString)
    messages = []
    for _ in range(1500):
        octets = octets_of(some_fields(draw), draw)
        messages += [octets, octets[: draw.randrange(len(octets) + 1)]]
        flipped = bytearray(octets)
        flipped[draw.randrange(len(octets))] ^= 1 << draw.randrange(8)
        messages.append(bytes(flipped))
    seen = [(outcome(known, octets), outcome(known, octets)) for octets in messages]
    assert 0 < len(known._layouts) <= 20
    monkeypatch.setattr(requests, "_split", lambda message: None)
    for octets, outcomes in zip(messages, seen, strict=True):
        expected = outcome(RequestDecoder(service_pb2.ModelInferRequest.FromString), octets)
        assert outcomes == (expected, expected), octets
    right = sum(isinstance(first, tuple) for first, _ in seen)
    assert 1000 < right < 4000


def test_what_was_said_of_one_signature_is_not_taken_for_another() -> None:
    """As where a model is loaded anew under its name: the same bytes are held against what is served now."""
    decoder = RequestDecoder(service_pb2.ModelInferRequest.FromString)
    octets = message(False, y=(Y, np.array([1.0, 2.0], np.float32))).SerializeToString()
    decoder.decode(octets).bind(Signature((Y,), (Y,)), True, 5)
    wider = Signature((Tensor("y", "FP32", (BATCH, 1)),), (Y,))
    with pytest.raises(BadInput, match=r"shape is \[2\], expected \['batch', 1\]"):
        decoder.decode(octets).bind(wider, True, 5)
    ((array,), _, _) = decoder.decode(octets).bind(Signature((Y,), (Y,)), True, 5)
    assert array.tolist() == [1, 2]


def test_only_what_was_right_and_short_and_no_requests_own_is_remembered() -> None:
    decoder = RequestDecoder(service_pb2.ModelInferRequest.FromString)
    right = message(False, y=(Y, np.ones(2, np.float32)))
    wrong = message(False, x=(Tensor("x", "FP32", (BATCH,)), np.ones(2, np.float32)))
    long = message(False, y=(Y, np.ones(2, np.float32)))
    long.outputs.add(name="y").parameters["k" * requests.MAX_LAYOUT_BYTES].bool_param = True
    own = message(False, y=(Y, np.ones(2, np.float32)))
    own.parameters["user"].string_param = "7"
    typed = message(True, y=(Y, np.ones(2, np.float32)))
    for request in (wrong, long, own, typed):
        with pytest.raises(BadInput) if request is wrong else contextlib.nullcontext():
            decoder.decode(request.SerializeToString()).bind(Signature((Y,), (Y,)), True, 5)
    assert decoder._layouts == {}
    for request_id in ("", "1", "2"):
        right.id = request_id
        request = decoder.decode(right.SerializeToString())
        request.bind(Signature((Y,), (Y,)), True, 5)
        assert request.id == request_id
    assert len(decoder._layouts) == 1


@pytest.mark.parametrize("tensor", [Y, Tensor("y", "FP64", (BATCH,)), Tensor("y", "BOOL", (BATCH,))])
def test_fields_that_nobody_knows_among_typed_values_change_none(tensor: Tensor) -> None:
    """A later protocol may have them; the values are those that the field has."""
    item = message(True, y=(tensor, np.array([1, 0, 1], tensor.dtype))).inputs[0]
    item.contents.MergeFromString(b"\xa2\x01\x04\0\0\x80\x3f")  # field 20: four bytes
    request = service_pb2.ModelInferRequest(model_name="m", inputs=[item])
    assert bound(request, tensor) == ([[1, 0, 1]], 3)


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x1a\x01\xff\x1a\x017",  # an id that is no UTF-8, and another
        b"\x1a\x81\x80\x80\x80\x80\x007",  # a length of six bytes, before the id, and before raw contents
        b"\x3a\x84\x80\x80\x80\x80\x00\0\0\0\0",
    ],
)
def test_what_protobuf_refuses_is_refused(wrong: bytes) -> None:
    decoder = RequestDecoder(service_pb2.ModelInferRequest.FromString)
    right = message(False, y=(Y, np.ones(2, np.float32))).SerializeToString()
    decoder.decode(right).bind(Signature((Y,), (Y,)), True, 5)
    with pytest.raises(BadInput, match="the message is not a ModelInferRequest"):
        decoder.decode(wrong + right)


def test_a_shape_of_very_many_dimensions_is_refused_before_they_are_numbers() -> None:
    request = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b""])
    request.inputs.add(name="y", datatype="FP32", shape=[1] * 200_000)
    decoded = RequestDecoder(service_pb2.ModelInferRequest.FromString).decode(request.SerializeToString())
    tracemalloc.start()
    try:
        for tensor in (Y, Tensor("y", "FP32", (BATCH, "n"))):
            with pytest.raises(BadInput, match="not a list of more than 16"):
                decoded.bind(Signature((tensor,), (Y,)), True, 5)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


class Counted(bytes):
    """Counts its bytes that are looked at or copied."""

    seen = 0

    def __getitem__(self, place: Any) -> Any:
        part = super().__getitem__(place)
        self.seen += 1 if isinstance(part, int) else len(part)
        return part


LONG_NAME = b"\x0a\x84\x40" + b"n" * 8196


@pytest.mark.parametrize("unit", [b"\x4a\0\x3a\0", b"\x3a\0", b"\x4a\0\x1a\0", LONG_NAME + b"\x3a\0"])
def test_a_message_of_very_many_fields_is_left_to_protobuf_at_once(unit: bytes) -> None:
    octets = Counted(unit * 1000)
    assert requests._split(octets) is None
    assert octets.seen < 2000 + len(unit)
