"""Every way to get V2 wrong is told in words, with the right status, and harms nobody."""

import httpx
import pytest

GOOD = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url) as client:
        yield client


def wrong(**change):
    tensor = {**GOOD, **change}
    return {"inputs": [{k: v for k, v in tensor.items() if v is not ...}]}


CASES = {
    "no inputs": ({}, "inputs must be a list of tensors: 'features'"),
    "inputs not a list": ({"inputs": 3}, "inputs must be a list of tensors"),
    "empty inputs": ({"inputs": []}, "input 'features' is missing"),
    "not an object": ([1], "the request must be a JSON object"),
    "unknown input": (wrong(name="x"), "input 'x' is unknown; the inputs are 'features'"),
    "input twice": ({"inputs": [GOOD, GOOD]}, "'features' is given twice"),
    "input not an object": ({"inputs": [1]}, "every input must be an object"),
    "no name": (wrong(name=...), "input None is unknown"),
    "wrong datatype": (wrong(datatype="FP64"), "datatype is 'FP64', expected 'FP32'"),
    "datatype of another kind": (wrong(datatype=["FP32"]), "datatype is a list, expected 'FP32'"),
    "no datatype": (wrong(datatype=...), "datatype is None"),
    "no shape": (wrong(shape=...), "shape must be a list of whole numbers, not None"),
    "shape of words": (wrong(shape=["1", 4]), "shape must be a list of whole numbers"),
    "shape with a fraction": (wrong(shape=[1.0, 4]), "shape must be a list of whole numbers"),
    "shape with true": (wrong(shape=[True, 4]), "shape must be a list of whole numbers"),
    "wrong rank": (wrong(shape=[4]), "shape is [4], expected [-1, 4]"),
    "wrong width": (wrong(shape=[1, 5]), "shape is [1, 5], expected [-1, 4]"),
    "no rows": (wrong(shape=[0, 4], data=[]), "shape is [0, 4], expected [-1, 4]"),
    "minus one": (wrong(shape=[-1, 4]), "shape is [-1, 4]"),
    "too many rows": (wrong(shape=[100000, 4]), "100000 rows in one request, the limit is 1024"),
    "shape of ten thousand": (wrong(shape=[1] * 10000), "shape must be a list of whole numbers, not a list"),
    "too few values": (wrong(data=[1, 2, 3]), "3 values do not fill shape [1, 4]"),
    "too many values": (wrong(data=[1, 2, 3, 4, 5]), "5 values do not fill shape [1, 4]"),
    "no data": (wrong(data=...), "data must be a list of FP32 values, not None"),
    "data not a list": (wrong(data="1,2,3,4"), "data must be a list of FP32 values, not '1,2,3,4'"),
    "words in data": (wrong(data=[1, 2, "3", 4]), "data must be numbers that fit FP32"),
    "null in data": (wrong(data=[1, 2, None, 4]), "data must be numbers that fit FP32"),
    "true in data": (wrong(data=[1, 2, True, 4]), "data must be numbers that fit FP32"),
    "integer over FP32": (wrong(data=[1, 2, 10**39, 4]), "value 2 is inf; this model takes finite numbers only"),
    "integer of 400 digits": (wrong(data=[1, 2, 10**400, 4]), "data must be numbers that fit FP32"),
    "ragged data": (wrong(shape=[2, 4], data=[[1, 2, 3, 4], [5, 6, 7]]), "nested otherwise than its shape [2, 4]"),
    "nested otherwise": (wrong(data=[[1, 2], [3, 4]]), "data is nested otherwise than its shape [1, 4]"),
    "nested in part": (wrong(data=[1, [2, 3], 4]), "data is nested in part, expected shape [1, 4]"),
    "nested words": (wrong(data=[["a", "b", "c", "d"]]), "data must be numbers"),
    "over FP32": (wrong(data=[1, 2, 1e39, 4]), "value 2 is inf; this model takes finite numbers only"),
    "id not a string": ({**wrong(), "id": 7}, "id must be a string, not 7"),
    "parameters not an object": ({**wrong(), "parameters": 7}, "parameters must be an object, not 7"),
    "form not a string": ({**wrong(), "parameters": {"form": 7}}, "parameters.form must be a string"),
    "outputs not a list": ({**wrong(), "outputs": 7}, "outputs must be a list of objects with a name"),
    "outputs of words": ({**wrong(), "outputs": ["label"]}, "outputs must be a list of objects with a name"),
    "unknown output": (
        {**wrong(), "outputs": [{"name": "y"}]},
        "output 'y' is unknown; the outputs are 'label', 'prob",
    ),
    "output parameters": ({**wrong(), "outputs": [{"name": "label", "parameters": 3}]}, "parameters must be an object"),
    "classification": (
        {**wrong(), "outputs": [{"name": "label", "parameters": {"classification": 3}}]},
        "classification extension is not supported",
    ),
    "shared memory": (wrong(parameters={"shared_memory_region": "x"}), "shared memory is not served"),
    "output to shared memory": (
        {**wrong(), "outputs": [{"name": "label", "parameters": {"shared_memory_region": "x"}}]},
        "output 'label': shared memory is not served",
    ),
    "binary data of words": (
        {**wrong(), "outputs": [{"name": "label", "parameters": {"binary_data": "false"}}]},
        "output 'label': binary_data must be true or false, not 'false'",
    ),
    "binary output of words": (
        {**wrong(), "parameters": {"binary_data_output": 1}},
        "binary_data_output must be true or false, not 1",
    ),
    "binary size of words": (
        wrong(parameters={"binary_data_size": "16"}),
        "binary_data_size must be a number of bytes",
    ),
    "binary size but no bytes": (wrong(parameters={"binary_data_size": 16}), "0 bytes of binary data, shape [1, 4]"),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_a_400_in_words(http, name):
    body, words = CASES[name]
    answer = http.post("/v2/models/iris/infer", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json().keys() == {"error"}
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) < 300


RAW = {
    "empty": (b"", {}, 400, "not JSON"),
    "not JSON": (b"{", {}, 400, "not JSON"),
    "NaN": (
        b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[1,2,NaN,4]}]}',
        {},
        400,
        "not JSON",
    ),
    "not UTF-8": (b'{"id":"\xff"}', {}, 400, "not JSON"),
    "deep": (b"[" * 100_000, {}, 400, "not JSON"),
    "content type": (b"{}", {"content-type": "text/html"}, 415, "content type 'text/html'"),
    "encoding": (b"{}", {"content-encoding": "br"}, 415, "content encoding 'br'"),
    "not gzip": (b"{}", {"content-encoding": "gzip"}, 400, "the body is not gzip"),
    "header length": (b"{}", {"inference-header-content-length": "3"}, 400, "the body has 2 bytes"),
    "header length of words": (b"{}", {"inference-header-content-length": "x"}, 400, "Content-Length is 'x'"),
    "header length negative": (b"{}", {"inference-header-content-length": "-1"}, 400, "Content-Length is '-1'"),
    "too large": (b"[" + b" " * 2**24 + b"]", {}, 413, "over 16 MB; at most 16 MB"),
}


@pytest.mark.parametrize("name", RAW)
def test_bodies_that_are_no_request(http, name):
    body, headers, status, words = RAW[name]
    answer = http.post("/v2/models/iris/infer", content=body, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


def test_a_gzip_bomb_is_too_large(http):
    import gzip

    bomb = gzip.compress(b" " * 2**26)
    answer = http.post("/v2/models/iris/infer", content=bomb, headers={"content-encoding": "gzip"})
    assert answer.status_code == 413
    assert "inflates to over 200 times its" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/v2/models/nope/infer", 404, "unknown model or version; models are digits, digits-int8"),
        ("GET", "/v2/models/nope", 404, "unknown model or version"),
        ("GET", "/v2/models/iris/versions/9", 404, "unknown model or version"),
        ("GET", "/v2/models/iris/infer", 405, "GET is not allowed on /v2/models/iris/infer, which takes POST"),
        ("GET", "/nowhere", 404, "nothing at /nowhere; GET / lists every route"),
        ("GET", "/" + "x" * 5000, 404, "nothing at /xxx"),
        ("POST", "/iris/price", 404, "there is /iris/classify, /iris/random"),
        ("DELETE", "/health", 405, "which takes GET, HEAD"),
    ],
)
def test_paths_and_methods_that_are_not_there(http, method, path, status, words):
    answer = http.request(method, path)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert len(answer.json()["error"]) < 500
    assert status != 405 or answer.headers["allow"]


def test_nested_data_is_taken(http):
    nested = wrong(shape=[2, 4], data=[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    answer = http.post("/v2/models/iris/infer", json=nested)
    assert answer.json()["outputs"][0]["data"] == [0, 2]


def test_a_wrong_request_leaves_its_connection_usable(http):
    assert http.post("/v2/models/iris/infer", json={}).status_code == 400
    assert http.post("/v2/models/iris/infer", json=wrong()).status_code == 200


def test_what_clients_invent_does_not_reach_the_metrics(http):
    http.get("/a-path-nobody-has")
    http.post("/v2/models/a-model-nobody-has/infer", json=wrong())
    http.post("/v2/models/iris/infer", json={**wrong(), "parameters": {"form": "a-form-nobody-has"}})
    text = http.get("/metrics").text
    assert "nobody" not in text
    assert 'ekiben_failures_total{form="onnx",model="iris",reason="bad_input"' in text
