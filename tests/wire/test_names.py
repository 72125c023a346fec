"""Names that have no case (RFC 9110: field names, media types, codings), and those that are not what they look like."""

import gzip
import json
import zlib

import numpy as np
import pytest

from tests.wire.client import converse
from tests.wire.messages import (
    FLOWER,
    INFER,
    SEVEN,
    chunked,
    document,
    form,
    get,
    infer,
    is_answer,
    message,
    picture,
    post,
)

TYPES = ["application/json", "Application/JSON", "APPLICATION/JSON", "application/json; charset=utf-8"]
TYPES += ["application/json;charset=UTF-8", "application/json ;charset=utf-8", 'Application/Json; Charset="UTF-8"']
ROUTES = {INFER: document("r0"), "/iris/classify": json.dumps(FLOWER).encode()}


def status_of(port, request):
    conversation = converse(port, request, answers=1)
    assert conversation.responses, str(conversation)
    return conversation.last.status


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE", "cOnTeNt-TyPe"])
def test_a_media_type_has_no_case(port, path, kind, name):
    for _ in range(2):
        assert status_of(port, post(path, ROUTES[path], kind=f"{name}: {kind}")) == 200


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "kind",
    [
        "application/jsonx",
        "application/json-seq",
        "application/octet-streams",
        "text/html",
        "application/json2; charset=utf-8",
        "application",
    ],
)
def test_what_only_begins_like_a_media_type_is_another(port, path, kind):
    assert status_of(port, post(path, ROUTES[path], kind=f"Content-Type: {kind}")) == 415


@pytest.mark.parametrize("kind", ["multipart/form-data", "Multipart/Form-Data", "MULTIPART/FORM-DATA"])
@pytest.mark.parametrize("parameter", ["boundary=cut", "Boundary=cut", "BOUNDARY=cut", 'charset=utf-8; boundary="cut"'])
def test_multipart_in_any_case(port, kind, parameter):
    body = form(picture())
    conversation = converse(port, post("/digits/classify", body, kind=f"Content-Type: {kind}; {parameter}"), answers=1)
    assert conversation.statuses == [200] and conversation.last.json["label"] == "7", conversation.last


def test_names_of_a_parts_fields_have_no_case(port):
    part = (
        b'CONTENT-DISPOSITION: Form-Data; NAME="image"; FILENAME="seven.png"\r\ncontent-TYPE: Image/PNG\r\n\r\n' + SEVEN
    )
    request = post("/digits/classify", form(part), kind="Content-Type: multipart/form-data; boundary=cut")
    assert status_of(port, request) == 200


CODINGS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_a_content_coding_has_no_case(port, path, coding, case):
    body = CODINGS[coding](ROUTES[path])
    for name in ("Content-Encoding", "content-encoding"):
        conversation = converse(port, post(path, body, f"{name}: {case(coding)}"), answers=1)
        assert conversation.statuses == [200], conversation.last


def test_native_routes_take_coded_pictures(port):
    kind = "Content-Type: multipart/form-data; boundary=cut"
    request = post("/digits/classify", gzip.compress(form(picture())), "Content-Encoding: gzip", kind=kind)
    conversation = converse(port, request, answers=1)
    assert conversation.statuses == [200] and conversation.last.json["label"] == "7", conversation.last


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("coding", ["br", "zstd", "gzipx", "gzip, br", "br, gzip", "compress"])
def test_another_content_coding_is_refused(port, path, coding):
    assert status_of(port, post(path, gzip.compress(ROUTES[path]), f"Content-Encoding: {coding}")) == 415


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"x", b"", b"{}", b"\x1f\x8b"],
    ids=["cut off", "more behind it", "nothing", "not compressed", "its first bytes"],
)
def test_what_is_not_its_coding_is_refused(port, path, body):
    assert status_of(port, post(path, body, "Content-Encoding: gzip")) == 400


# Binary tensors


def binary(*lengths: str, name: str = "Inference-Header-Content-Length") -> bytes:
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}
    text = json.dumps({"id": "r0", "inputs": [tensor]}).encode()
    raw = np.array([5.1, 3.5, 1.4, 0.2], "<f4").tobytes()
    fields = [f"{name}: {each.replace('{}', str(len(text)))}" for each in lengths]
    return post(INFER, text + raw, *fields, kind="Content-Type: application/octet-stream")


@pytest.mark.parametrize(
    "name", ["Inference-Header-Content-Length", "inference-header-content-length", "INFERENCE-HEADER-CONTENT-LENGTH"]
)
def test_the_length_of_a_json_part_in_any_case(port, name):
    conversation = converse(port, binary("{}", name=name), answers=1)
    assert is_answer(conversation.last, "r0"), conversation.last


@pytest.mark.parametrize(
    "lengths", [("{}", "{}"), ("{}", "3"), ("3", "{}"), ("{}, {}",), ("+{}",), ("{} {}",), ("0x{}",), ("",)]
)
def test_the_length_of_a_json_part_twice_or_malformed_is_refused(port, lengths):
    assert status_of(port, binary(*lengths)) == 400


@pytest.mark.parametrize("name", ["host", "HOST", "hOsT"])
def test_host_in_any_case(port, name):
    request = get().replace(b"Host:", name.encode() + b":")
    assert status_of(port, request) == 200


@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive", "foo"])
def test_connection_options_have_no_case(port, value):
    conversation = converse(port, get("/livez", f"CONNECTION: {value}") + infer("next"), answers=2)
    assert conversation.statuses == [200, 200] and conversation.ids[1] == "next", str(conversation)


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_a_transfer_coding_has_no_case_on_native_routes(port, coding):
    request = message(
        "POST /iris/classify HTTP/1.1",
        "CONTENT-TYPE: Application/JSON",
        f"TRANSFER-ENCODING: {coding}",
        body=chunked([ROUTES["/iris/classify"]]),
    )
    assert status_of(port, request) == 200


@pytest.mark.parametrize("field", ["authorization: {}", "AUTHORIZATION: {}"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_in_any_case(guarded_port, keys, field, scheme):
    key = keys.bearer().rpartition(" ")[2]
    assert status_of(guarded_port, infer("r0", field.format(f"{scheme} {key}"))) == 200
