"""Bodies that are right though seldom (RFC 2046, 5.1.1; RFC 7578; RFC 8259), and members that are not taken."""

import json

import pytest

from tests.wire.client import converse, cut
from tests.wire.messages import (
    INFER,
    SEVEN,
    TENSOR,
    chunked,
    document,
    form,
    infer_chunked,
    is_answer,
    message,
    picture,
    post,
)

CLASSIFY = "/digits/classify"


def is_a_seven(port, body: bytes, boundary: str = "cut") -> None:
    """The form is read, whole, in pieces and in chunks."""
    kind = f"Content-Type: multipart/form-data; boundary={boundary}"
    whole = post(CLASSIFY, body, kind=kind)
    parts = message(f"POST {CLASSIFY} HTTP/1.1", kind, "Transfer-Encoding: chunked", body=chunked(cut(body, 100)))
    for pieces in ([whole], cut(whole, 211), [parts]):
        conversation = converse(port, *pieces, answers=1)
        assert conversation.statuses == [200], (str(conversation), conversation.responses and conversation.last.body)
        assert conversation.last.json["label"] == "7"


RIGHT_FORMS = {
    "plain": form(picture()),
    "a preamble": form(picture(), preamble=b"This is a message with multiple parts in MIME format.\r\n"),
    "a preamble of lines": form(picture(), preamble=b"one\r\ntwo\r\n\r\nthree--cut\r\n"),
    "an empty line first": form(picture(), preamble=b"\r\n"),
    "an epilogue": form(picture(), epilogue=b"This is the epilogue. It is ignored.\r\n"),
    "an epilogue that looks like a part": form(picture(), epilogue=b"--cut\r\n" + picture(b'form-data; name="image"')),
    "no line end after the last": form(picture())[:-2],
    "a blank after the boundary": form(picture(), blank=b" "),
    "blanks and tabs after the boundary": form(picture(), blank=b" \t  \t"),
    "only an extended name": form(picture(b"form-data; name=\"image\"; filename*=utf-8''seven.png")),
    "an extended name of others": form(picture(b"form-data; name=\"image\"; filename*=UTF-8''%e4%b8%83.png")),
    "both names": form(picture(b'form-data; name="image"; filename="7.png"; filename*=utf-8\'\'seven.png')),
    "no quotes": form(picture(b"form-data; name=image; filename=seven.png")),
    "a name with a quote": form(picture(b'form-data; name="image"; filename="se\\"ven.png"')),
    "a name with a semicolon": form(picture(b'form-data; name="image"; filename="se;ven=7.png"')),
    "an empty name": form(picture(b'form-data; name="image"; filename=""')),
    "blanks around": form(picture(b'form-data ;  name = "image" ; filename="seven.png"').replace(b" = ", b"=")),
    "the file name first": form(picture(b'form-data; filename="seven.png"; name="image"')),
    "further fields of the part": form(b"X-A: b\r\nContent-Length: %d\r\n" % len(SEVEN) + picture()),
    "no type of the part": form(b'Content-Disposition: form-data; name="image"; filename="seven.png"\r\n\r\n' + SEVEN),
    "binary encoding": form(b"Content-Transfer-Encoding: binary\r\n" + picture()),
}


@pytest.mark.parametrize("name", RIGHT_FORMS)
def test_a_right_form(port, name):
    is_a_seven(port, RIGHT_FORMS[name])


@pytest.mark.parametrize(
    ("said", "boundary"),
    [
        ('"cut"', b"cut"),
        ('"a b:c?d/e"', b"a b:c?d/e"),
        ("----WebKitFormBoundary7MA4YWxkTrZu0gW", b"----WebKitFormBoundary7MA4YWxkTrZu0gW"),
        ('"\'()+_,-./:=?"', b"'()+_,-./:=?"),
        ("x" * 70, b"x" * 70),
        ("cut; charset=utf-8", b"cut"),
        ("-", b"-"),
    ],
)
def test_boundaries(port, said, boundary):
    is_a_seven(port, form(picture(), boundary=boundary), said)


def test_a_part_that_holds_what_is_nearly_the_boundary(port):
    body = form(picture(), boundary=b"cut").replace(SEVEN, SEVEN + b"\r\n--cu\r\n-cut\r\n--\r\ncut--")
    is_a_seven(port, body)


WRONG_FORMS = {
    "no part": form(),
    "no end": form(picture())[: -len("--cut--\r\n")],
    "another boundary": form(picture(), boundary=b"other"),
    "another field": form(picture(b'form-data; name="picture"; filename="seven.png"')),
    "no name": form(picture(b'form-data; filename="seven.png"')),
    "cut off": form(picture())[:300],
    "empty": b"",
    "no disposition": form(b"Content-Type: image/png\r\n\r\n" + SEVEN),
}


@pytest.mark.parametrize("name", WRONG_FORMS)
def test_a_wrong_form_is_refused(port, name):
    request = post(CLASSIFY, WRONG_FORMS[name], kind="Content-Type: multipart/form-data; boundary=cut")
    conversation = converse(port, request, answers=1)
    assert conversation.statuses == [400] and conversation.last.json["error"], conversation.responses


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=" + "x" * 5000,
    ],
)
def test_a_form_without_a_boundary_is_refused(port, kind):
    conversation = converse(port, post(CLASSIFY, form(picture()), kind=f"Content-Type: {kind}"), answers=1)
    assert conversation.statuses[0] in (400, 415), conversation.last


# JSON


def inputs(data: str, shape: str = "[1,4]", more: str = "") -> bytes:
    return b'{"id":"r0","inputs":[{"name":"features","shape":%b,"datatype":"FP32","data":%b%b}]}' % (
        shape.encode(),
        data.encode(),
        more.encode(),
    )


@pytest.mark.parametrize(
    "number",
    [
        "100000000000000000000",
        "-100000000000000000000",
        "18446744073709551616",
        "9223372036854775808",
        "340282346638528859811704183484516925440",
        "1e20",
        "1E+20",
        "1.0e20",
        "100000000000000000000.0",
        "0.1e21",
        "-0",
        "-0.0",
        "0e0",
        "1E-400",
        "4.9e-324",
        "0." + "0" * 60 + "1",
        "1" + "0" * 38,
        "1." + "1" * 400,
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_numbers_are_numbers_however_they_are_written(port, number, nested):
    flat = f"5.1,3.5,1.4,{number}"
    conversation = converse(port, post(INFER, inputs(f"[[{flat}]]" if nested else f"[{flat}]")), answers=1)
    assert conversation.statuses == [200], conversation.last.body
    written = json.loads(f"[{number}]")[0]
    same = converse(port, post(INFER, inputs(f"[5.1,3.5,1.4,{float(written)!r}]")), answers=1)
    assert conversation.last.json["outputs"] == same.last.json["outputs"]


@pytest.mark.parametrize(
    "number",
    [
        "340282346638528859811704183484516925441000",
        "1e39",
        "1" + "0" * 39,
        "1" + "0" * 400,
        "-1e400",
        "NaN",
        "Infinity",
        "01",
        "+1",
        "1.",
        ".5",
        "0x1",
        "1_000",
        "true",
        "null",
        '"1"',
        "[1]",
        "{}",
        "",
    ],
)
def test_what_is_no_number_of_fp32_is_refused(port, number):
    conversation = converse(port, post(INFER, inputs(f"[5.1,3.5,1.4,{number}]")), answers=1)
    assert conversation.statuses == [400] and conversation.last.json["error"], conversation.last


@pytest.mark.parametrize("value", ["false", "true", "no", "", 0, 1, [], {}, 1.5])
@pytest.mark.parametrize("where", ["outputs", "request"])
def test_binary_data_is_true_or_false(port, value, where):
    if where == "outputs":
        body = document("r0", outputs=[{"name": "label", "parameters": {"binary_data": value}}])
    else:
        body = document("r0", parameters={"binary_data_output": value})
    conversation = converse(port, post(INFER, body), answers=1)
    assert conversation.statuses == [400], conversation.last


@pytest.mark.parametrize("value", ["region", 1])
@pytest.mark.parametrize(
    ("where", "parameter"),
    [("outputs", "shared_memory_region"), ("outputs", "classification"), ("inputs", "shared_memory_region")],
)
def test_what_is_not_supported_is_refused_where_it_is_asked_for(port, where, parameter, value):
    """Silently answering without it would be a wrong answer."""
    tensor = TENSOR if where == "inputs" else {"name": "label"}
    body = document("r0", **{where: [{**tensor, "parameters": {parameter: value}}]})
    conversation = converse(port, post(INFER, body), answers=1)
    assert conversation.statuses == [400], conversation.last
    assert parameter.split("_")[0] in conversation.last.json["error"]


WRITTEN = {
    "blanks": b' \t\r\n{ "id" : "r0" , "inputs" : [ %b ] } \n' % json.dumps(TENSOR).encode(),
    "indented": json.dumps(json.loads(document("r0")), indent=4).encode(),
    "another order": json.dumps(dict(reversed(json.loads(document("r0")).items()))).encode(),
    "escapes": document("r0").replace(b'"inputs"', b'"inp\\u0075ts"').replace(b'"id"', b'"\\u0069d"'),
    "members that nobody knows": document("r0", x={"inputs": []}, y=[1, {"id": "r9"}]),
    "numbers as integers": document("r0").replace(b"5.1", b"5"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_json_however_it_is_written(port, name):
    for _ in range(2):
        conversation = converse(port, post(INFER, WRITTEN[name]), answers=1)
        assert is_answer(conversation.last, "r0"), conversation.last


@pytest.mark.parametrize(
    "tag", ["", "é", "七", "\U0001f371", '"', "\\", "\n", "a" * 10_000, "\x00", "<script>", "r0\r\nX: y"]
)
def test_an_id_of_any_text_comes_back(port, tag):
    conversation = converse(port, post(INFER, document(tag)) * 2, answers=2)
    assert conversation.ids == [tag, tag], str(conversation)
    raw = document("r0").replace(b'"r0"', json.dumps(tag, ensure_ascii=False).encode())
    assert converse(port, post(INFER, raw), answers=1).ids == [tag]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_body_in_chunks_of_any_size(port, size):
    conversation = converse(port, *[infer_chunked(f"r{i}", size=size) for i in range(20)], answers=20)
    assert conversation.ids == [f"r{i}" for i in range(20)], str(conversation)
