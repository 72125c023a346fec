"""Requests as bytes → arrays, on signatures made for the purpose; and against a reference that knows json alone."""

import json
import math
import random
import re
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bentos.contract import Signature, Tensor
from serving.api.v2 import careful, numbers
from serving.api.v2.decode import LARGE_BODY_BYTES, LONG_BODY_BYTES, decode, header_length, is_large
from serving.errors import BadInput
from tests.serving.api.v2.requests import NUMBERS, RIGHT, X, Y, bound, dumped, example, in_binary, in_json

quick = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("repeats", [1, 40, 20_000])  # a list, one piece, several
@pytest.mark.parametrize("datatype", NUMBERS)
def test_every_datatype_is_read_flat_nested_and_binary(datatype, repeats, reader):
    tensor, array = Tensor("x", datatype, (-1, 2)), np.tile(example(datatype), (repeats, 1))
    raw = dumped(in_binary(tensor, array))
    for body, length in (
        (dumped(in_json(tensor, array)), None),
        (dumped(in_json(tensor, array, nested=True)), None),
        (raw + array.tobytes(), len(raw)),
    ):
        (read,), n_rows, _ = bound(body, [tensor], length=length, max_rows=10**6)
        assert n_rows == 3 * repeats
        assert read.dtype == array.dtype
        assert (read == array).all()


@pytest.mark.parametrize("between", [(",", ":"), (", ", ": "), (" ,\n ", " :\t")])
@pytest.mark.parametrize("rows", [1, 200])
def test_json_may_be_written_with_and_without_blanks(between, rows):
    array = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    for nested in (False, True):
        body = json.dumps({"inputs": [in_json(X, array, nested)]}, separators=between).encode()
        assert (bound(body)[0][0] == array).all()


def test_several_inputs_come_in_any_order_in_json_and_binary_at_once():
    a, b, c = Tensor("a", "FP32", (-1, 400)), Tensor("b", "INT64", (-1, 1)), Tensor("c", "FP64", (-1, 300))
    x, y, z = np.ones((2, 400), np.float32), np.array([[3], [4]]), np.full((2, 300), 0.1)
    head = dumped(in_binary(b, y), in_json(c, z, nested=True), in_json(a, x))
    (first, second, third), n_rows, _ = bound(head + y.tobytes(), [a, b, c], length=len(head))
    assert n_rows == 2
    assert (first == x).all()
    assert (second == y).all()
    assert (third == z).all()


def test_inputs_must_all_be_there_with_the_same_rows():
    a, b = Tensor("a", "FP32", (-1, 1)), Tensor("b", "FP32", (-1, 1))
    one, two = np.ones((1, 1), np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(BadInput, match="input 'b' is missing"):
        bound(dumped(in_json(a, one)), [a, b])
    with pytest.raises(BadInput, match="inputs differ in rows: a 1, b 2"):
        bound(dumped(in_json(a, one), in_json(b, two)), [a, b])


def test_bytes_that_nobody_claims_are_told():
    head, x = dumped(in_binary(X, np.ones((1, 3), np.float32))), bytes(12)
    with pytest.raises(
        BadInput, match="the body has 13 bytes of binary data, the inputs' binary_data_size add up to 12"
    ):
        bound(head + x + b"!", length=len(head))


def test_data_as_json_and_as_bytes_is_one_too_many():
    head = dumped({**RIGHT, "parameters": {"binary_data_size": 12}})
    with pytest.raises(BadInput, match="input 'x': data is given twice"):
        bound(head + bytes(12), length=len(head))


def test_id_and_form_are_known_before_the_signature():
    request = decode(dumped(id="7", parameters={"form": "int8", "priority": 3}))
    assert (request.id, request.form) == ("7", "int8")
    assert (decode(dumped(id="")).id, decode(dumped(id=None)).id, decode(dumped()).id) == ("", None, None)


def test_outputs_come_as_asked_in_the_order_asked():
    outputs = [Tensor(name, "FP32", (-1, 1)) for name in ("a", "b", "c")]
    asked = [{"name": "c"}, {"name": "a", "parameters": {"binary_data": True}}]
    every = {"binary_data_output": True}

    def wanted(**members):
        return list(bound(dumped(RIGHT, **members), outputs=outputs)[2])

    assert wanted() == wanted(outputs=[]) == [(0, False), (1, False), (2, False)]
    assert wanted(outputs=asked) == [(2, False), (0, True)]
    assert wanted(parameters=every) == [(0, True), (1, True), (2, True)]
    assert wanted(outputs=asked, parameters=every) == [(2, True), (0, True)]
    plain = [{"name": "b", "parameters": {"binary_data": False}}]
    assert wanted(outputs=plain, parameters=every) == [(1, False)]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {"outputs": [{"name": "y", "parameters": {"binary_data": "false"}}]},
            "output 'y': binary_data must be true or",
        ),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": 0}}]}, "must be true or false, not 0"),
        ({"parameters": {"binary_data_output": "false"}}, "binary_data_output must be true or false, not 'false'"),
        ({"parameters": {"binary_data_output": [True]}}, "binary_data_output must be true or false, not a list"),
        ({"outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "classification extension is not supp"),
        ({"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "'y': shared memory is not served"),
        ({"inputs": [{**RIGHT, "parameters": {"shared_memory_region": "r"}}]}, "'x': shared memory is not served"),
        ({"inputs": [{**RIGHT, "parameters": [1]}]}, "input 'x': parameters must be an object, not a list"),
    ],
)
def test_parameters_of_another_kind_are_told(members, words):
    with pytest.raises(BadInput, match=words):
        bound(dumped(*members.pop("inputs", [RIGHT]), **members))


LONG = {**RIGHT, "shape": [300, 3], "data": [1.5] * 900}
PLACES = [
    (b'"inputs"', b'"id": "1", "inputs"', b'"id": "2", "inputs"'),
    (b'"name"', b'"name": "x", "name"', b'"n\\u0061me": "x", "name"'),
    (b'"data"', b'"data": [1, 2, 3], "data"', b'"d\\u0061ta": [1, 2, 3], "data"'),
    (b'"shape"', b'"shape" : [1, 3], "shape"', b'"shape": [1, 3], "shape"'),
]


@pytest.mark.parametrize("tensor", [RIGHT, LONG])
@pytest.mark.parametrize("place", PLACES)
def test_a_key_twice_is_told(place, tensor):
    key, *twice = place
    body = dumped(tensor, id="a:b")
    for words in twice:
        with pytest.raises(BadInput, match="a key twice"):
            bound(body.replace(key, words, 1))


@pytest.mark.parametrize("tensor", [RIGHT, LONG])
@pytest.mark.parametrize("id", ["1", "a:b:c", 'a "data": [1, 2] b', "\\", '\\"data": [', "é\n", "{[" * 50])
def test_an_id_may_be_any_text(id, tensor):
    body = dumped(tensor, id=id)
    assert decode(body).id == id
    assert bound(body)[0][0].tolist() == np.reshape(tensor["data"], tensor["shape"]).tolist()


@pytest.mark.parametrize("tensor", [RIGHT, LONG])
def test_members_of_no_meaning_are_passed_over(tensor):
    (read,), _, _ = bound(dumped({**tensor, "data type": {"data": [9]}, "note": ":"}, data=[7], more={"data": [1, 2]}))
    assert read.tolist() == np.reshape(tensor["data"], tensor["shape"]).tolist()


@pytest.mark.parametrize("member", [b'"note": {"data": [1]]}', b'"data": [1 2]', b'"parameters": {"data": [1]]}'])
def test_lists_of_no_meaning_must_be_json_too(member):
    with pytest.raises(BadInput, match="not JSON"):
        bound(dumped(RIGHT)[:-1] + b", " + member + b"}")


def test_a_plain_request_needs_no_careful_reading(monkeypatch):
    """So that a speed that was measured is the speed of what clients send."""
    monkeypatch.setattr(careful, "decode", None)
    for body in (dumped(RIGHT), dumped(LONG, id="urn:7"), dumped(RIGHT, id="7", outputs=[{"name": "y"}])):
        bound(body)
    head = dumped(in_binary(X, np.ones((1, 3), np.float32)), parameters={"binary_data_output": True})
    bound(head + np.ones(3, np.float32).tobytes(), length=len(head))
    with pytest.raises(TypeError):
        bound(dumped(RIGHT, note=1))


@pytest.mark.parametrize(
    ("value", "words"),
    [(b"3", None), (b"0", None), (b"", "is ''"), (b"5", "is '5', the body has 4"), (b"-1", "'-1'"), (b"+1", r"'\+1'"),
     (b"2, 2", "is '2, 2'"), (b"1_0", "is '1_0'"), (b" 2", "is ' 2'"), ("²".encode(), "is"), (b"9" * 5000, "is '99")],
)  # fmt: skip
def test_a_header_length_is_digits_within_the_body(value, words):
    if words is None:
        assert header_length(value, b"1234") == int(value)
    else:
        with pytest.raises(BadInput, match=words):
            header_length(value, b"1234")


def test_large_bodies_are_told_by_their_size():
    assert is_large(bytes(LARGE_BODY_BYTES))
    assert not is_large(bytes(LARGE_BODY_BYTES - 1))


def test_threads_decode_at_once():
    bodies = [dumped(in_json(X, np.full((n, 3), n, np.float32))) for n in (1, 40, 5000)]
    failures = []

    def work(n_rows, body):
        for _ in range(20):
            (read,), count, _ = bound(body, max_rows=10**6)
            if count != n_rows or (read != n_rows).any():
                failures.append(count)

    threads = [threading.Thread(target=work, args=pair) for pair in zip((1, 40, 5000), bodies, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# What is sent to exhaust somebody: each is refused by counting, not by converting. 3 MB each, made by its test.
MILLION = 10**6
BOMBS = {
    "numbers": (lambda: dumped({**RIGHT, "data": [1] * MILLION}), "over 3 values do not fill shape"),
    "lists": (lambda: dumped({**RIGHT, "data": []}).replace(b"[]", b"[" + b"[]," * MILLION + b"[]]"), "data is nested"),
    "sizes": (lambda: dumped({**RIGHT, "shape": [1] * MILLION}), "inputs hold over 16384 values"),
    "inputs": (lambda: b'{"inputs": [' + b"{}," * MILLION + b"{}]}", "inputs hold over .* given twice"),
    "numbers as inputs": (lambda: b'{"inputs": [' + b"1," * MILLION + b"1]}", "inputs hold over"),
    "outputs": (lambda: b'{"outputs": [' + b"{}," * MILLION + b"{}]}", "outputs hold over .* each at most once"),
    "parameters": (lambda: dumped(RIGHT, parameters={str(n): 1 for n in range(MILLION)}), "parameters hold over 16384"),
    "members": (lambda: dumped(**{str(n): 1 for n in range(MILLION)}), "inputs hold over|not JSON of the protocol"),
    "depth": (lambda: b'{"inputs": ' + b"[" * MILLION + b"]" * MILLION + b"}", "inputs hold over"),
    "objects": (lambda: b'{"a":' * MILLION + b"1" + b"}" * MILLION, "not JSON of the protocol"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_sent_to_exhaust_is_counted_and_never_converted(name, monkeypatch):
    make, words = BOMBS[name]
    body = make()
    monkeypatch.setattr(numbers, "_read_list", lambda text, _: [1] * text.count(b",") if len(text) < 70_000 else 1 / 0)
    monkeypatch.setattr(numbers, "simdjson", None)
    monkeypatch.setattr(careful.json, "loads", lambda text, **_: json.loads(text) if len(text) < 1000 else 1 / 0)
    with pytest.raises(BadInput, match=words):
        bound(body)


def test_json_is_as_deep_as_its_limit():
    nested = {**RIGHT, "data": [[1, 2, 3]]}
    assert bound(dumped(nested), max_depth=5)
    with pytest.raises(BadInput, match="nested 5 deep, the limit is 4"):
        bound(dumped(nested), max_depth=4)
    long = {**RIGHT, "shape": [300, 3], "data": [[1, 2, 3]] * 300}
    with pytest.raises(BadInput, match="nested 5 deep, the limit is 4"):
        bound(dumped(long), max_depth=4)
    with pytest.raises(BadInput, match="nested 100 deep"):
        bound(b'{"inputs": [], "id": ' + b"[" * 99 + b"]" * 99 + b"}")


# --- against a reference ----------------------------------------------------------------------------------------------


def reference(body):
    """What a request means, read by json alone: (rows, values, id), or BadInput. One input x, FP32 [−1, 3]."""

    def once(pairs):
        if len(dict(pairs)) < len(pairs):
            raise BadInput("twice")
        return dict(pairs)

    def refuse(name):
        raise ValueError

    try:
        document = json.loads(body.decode(), object_pairs_hook=once, parse_constant=refuse)
        json.dumps(document, ensure_ascii=False).encode()  # UnicodeEncodeError for half of a surrogate pair
    except (ValueError, RecursionError):
        raise BadInput("not JSON") from None
    try:
        (item,) = document["inputs"]
        id, parameters, outputs = document.get("id"), document.get("parameters"), document.get("outputs", [])
        rows = meant(item)
        assert id is None or isinstance(id, str)
        assert parameters is None or isinstance(parameters, dict)
        assert type((parameters or {}).get("form", "")) in (str, type(None))
        assert type((parameters or {}).get("binary_data_output", True)) in (bool, type(None))
        assert isinstance(outputs, list)
        assert outputs == [] or (outputs[0]["name"] == "y" and len(outputs) == 1)
        for output in outputs:
            told = {} if output.get("parameters") is None else output["parameters"]
            assert not {"classification", "shared_memory_region"} & told.keys()
            assert type(told.get("binary_data", True)) in (bool, type(None))
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        raise BadInput("not a request") from None
    return rows, id


def meant(item):
    assert item["name"] == "x"
    assert item["datatype"] == "FP32"
    n_rows, width = item["shape"]
    assert type(n_rows) is type(width) is int
    assert 0 < n_rows <= 1000
    assert width == 3
    parameters = {} if item.get("parameters") is None else item["parameters"]
    assert isinstance(parameters, dict)
    assert "shared_memory_region" not in parameters
    assert parameters.get("binary_data_size") is None
    data = item["data"]
    assert isinstance(data, list)
    if data and isinstance(data[0], list):
        assert len(data) == n_rows
        assert all(isinstance(row, list) and len(row) == 3 for row in data)
        data = [value for row in data for value in row]
    assert len(data) == n_rows * 3
    assert all(type(value) in (int, float) and abs(value) < 2**1024 for value in data)
    with np.errstate(over="ignore"):
        array = np.array([float(value) for value in data], np.float32).reshape(n_rows, 3)
    assert np.isfinite(array).all()
    return array.tolist()


def outcome(read, body):
    try:
        return read(body)
    except BadInput:
        return BadInput


def as_served(body):
    request = decode(body)
    (array,), _, _ = request.bind(SIGNATURE, True, 1000)
    return array.tolist(), request.id


SIGNATURE = Signature((X,), (Y,))
PADDING = {"id": "x" * LONG_BODY_BYTES}  # so that it goes the way of long ones


def same(body):
    assert outcome(as_served, body) == outcome(reference, body), body


KEYS = [
    "inputs",
    "outputs",
    "name",
    "shape",
    "datatype",
    "data",
    "parameters",
    "binary_data_size",
    "id",
    "form",
    ":",
    '"data":[',
]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
    | st.sampled_from([10**20, 10**39, 10**400, -1, 2**64, "data", '"data":[1]', '\\"', "FP32"])
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)


@given(JSON, st.booleans())
@quick
def test_any_json_anywhere_in_a_request_is_what_json_says(anything, ascii):
    places = [anything, {"inputs": [anything]}, {"inputs": anything}]
    places += [{"inputs": [{**RIGHT, key: anything}]} for key in (*RIGHT, "parameters", "data ", "note")]
    places += [{"inputs": [RIGHT], key: anything} for key in ("id", "outputs", "parameters", "note")]
    places += [{"inputs": [RIGHT], "outputs": [{"name": "y", "parameters": anything}]}]
    for document in places:
        for long in (False, True):
            if long and not (isinstance(document, dict) and "id" not in document):
                continue
            sent = {**PADDING, **document} if long else document
            for indent in (None, 1):
                same(json.dumps(sent, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200), st.none() | st.integers(0, 200))
@quick
def test_any_bytes_are_a_request_or_bad_input(body, length):
    try:
        bound(body, length=None if length is None else min(length, len(body)))
    except BadInput as error:
        assert 0 < len(str(error)) < 400
    if length is None:
        same(body)


TOKENS = [
    b'"', b"[", b"]", b"{", b"}", b":", b",", b"\\", b" ", b"\n", b"1", b"-", b".", b"e9", b"null", b"true", b"\xff",
    b'"data":[', b'"data"', b'"id":', b'"x":1,', b"[1,2,3]", b'\\"', b"\\u0061", b"\\ud800", b"NaN", b"\0", b"9" * 30,
]  # fmt: skip


@pytest.mark.parametrize("rows", [1, 150])
@pytest.mark.parametrize("between", [(",", ":"), (", ", ": ")])
def test_right_requests_spoiled_are_what_json_says(rows, between):
    draw = random.Random(f"{rows} {between}")  # noqa: S311
    seeds = []
    for nested in (False, True):
        item = in_json(X, np.round(np.linspace(-5, 5, rows * 3, dtype=np.float32).reshape(rows, 3), 2), nested)
        for members in ({}, {"id": "7"}, {"id": "a:b"}, {"outputs": [{"name": "y"}], "parameters": {"a": 1}}):
            seeds.append(json.dumps({**members, "inputs": [item]}, separators=between).encode())
            seeds.append(
                json.dumps({"inputs": [{**item, "parameters": {"b": "c"}}], **members}, separators=between).encode()
            )
    taken = 0
    for _ in range(6000 if rows == 1 else 1500):
        body = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 2)):
            marks = [m.start() for m in re.finditer(rb'["\[\]{}:,]', body)]
            at = draw.choice(marks) if marks and draw.random() < 0.7 else draw.randrange(len(body) + 1)
            span = draw.choice((0, 0, 1, 1, 2, 8))
            body[at : at + span] = draw.choice(TOKENS) if draw.random() < 0.7 else body[at : at + draw.randint(1, 30)]
        same(bytes(body))
        taken += outcome(reference, bytes(body)) is not BadInput
    assert taken > 50  # both kinds are met


@given(st.lists(st.floats(width=32) | st.integers(-(10**30), 10**30), min_size=1, max_size=200), st.booleans())
@quick
def test_numbers_are_to_the_bit_what_json_says(values, padded):
    values = [float(v) if not isinstance(v, int) and math.isnan(v) else v for v in values]
    finite = [v if isinstance(v, int) or math.isfinite(v) else 0.0 for v in values]
    tensor = Tensor("x", "FP32", (-1, 1))
    item = {"name": "x", "datatype": "FP32", "shape": [len(finite), 1], "data": finite}
    (read,), _, _ = bound(dumped(item, **(PADDING if padded else {})), [tensor])
    expected = np.array([float(v) for v in finite], np.float32)
    assert (read.reshape(-1).view(np.uint32) == expected.view(np.uint32)).all()
