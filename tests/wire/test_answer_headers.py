"""Headers that every answer carries, those of pages, and log lines that nobody can forge."""

import re
import time

import pytest

from tests.wire.client import HANG_SECONDS, converse
from tests.wire.conftest import MAX_BODY_BYTES, port_of
from tests.wire.messages import INFER, document, get, infer, message, post

PAGES = ["/", "/ui", "/ui/iris", "/ui/digits"]
SECURE = ["content-security-policy", "x-content-type-options", "x-frame-options"]
TRACE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_pages_are_fenced(port, path, method):
    response = converse(port, get(path, method=method), answers=1, methods=[method]).last
    assert response.status == 200
    assert "default-src" in response.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"].upper() == "DENY"


@pytest.mark.parametrize("path", ["/static_content/swagger-ui.css", "/docs.json", "/livez", "/v2", "/nope", "/metrics"])
def test_nothing_is_sniffed(port, path):
    response = converse(port, get(path), answers=1).last
    assert response.headers.get("x-content-type-options", "nosniff") == "nosniff"
    assert response.headers["content-type"]


ANSWERS = {
    "200": infer("r0"),
    "200 natively": post("/iris/classify", b'{"sepal_length":5,"sepal_width":3,"petal_length":1,"petal_width":0.2}'),
    "400 of the body": post(INFER, b"{"),
    "400 of the parser": b"nonsense\r\n\r\n",
    "400 of the parser in a field": message("GET /livez HTTP/1.1", "no colon"),
    "400 without host": message("GET /livez HTTP/1.1", host=None),
    "400 of a chunk": message(f"POST {INFER} HTTP/1.1", "Transfer-Encoding: chunked", body=b"x\r\n"),
    "404": get("/nope"),
    "405": get("/livez", method="DELETE"),
    "415": post(INFER, document("r0"), kind="Content-Type: text/html"),
    "413": message(f"POST {INFER} HTTP/1.1", "Content-Length: 999999999999"),
    "431": get("/livez", "X: " + "y" * 100_000),
    "501": message("FOO /livez HTTP/1.1"),
    "501 of a coding": message(f"POST {INFER} HTTP/1.1", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "505 or 400": message("GET /livez HTTP/2.0"),
    **{
        f"GET {path}": get(path)
        for path in (*PAGES, "/static_content/swagger-ui.css", "/docs.json", "/metrics", "/livez")
    },
    **{f"HEAD {path}": get(path, method="HEAD") for path in ("/", "/ui", "/static_content/swagger-ui.css", "/metrics")},
    "304": get("/static_content/swagger-ui.css", "If-None-Match: {etag}"),
    "206": get("/static_content/swagger-ui.css", "Range: bytes=0-9"),
    "404 of BentoML's": get("/static_content/nope.css"),
    "CONNECT": message("CONNECT a:1 HTTP/1.1"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_has_a_trace(port, name):
    method = "HEAD" if name.startswith("HEAD") else "GET"
    request = ANSWERS[name]
    if b"{etag}" in request:
        etag = converse(port, get("/static_content/swagger-ui.css"), answers=1).last.headers["etag"]
        request = request.replace(b"{etag}", etag.encode())
    response = converse(port, request, answers=1, methods=[method]).last
    assert name[:3] not in ("304", "206") or str(response.status) == name[:3]
    traces = [value for field, value in response.fields if field == "x-trace-id"]
    assert len(traces) == 1 and TRACE.fullmatch(traces[0]), (response.status, response.fields)
    dates = [value for field, value in response.fields if field == "date"]
    assert len(dates) == 1, "RFC 9110, 6.6.1: a server with a clock sends one date"


@pytest.mark.parametrize("path", ["/livez", "/", "/static_content/swagger-ui.css", "/metrics", "/nope", INFER])
def test_a_trace_is_the_clients(port, path):
    trace = "0af7651916cd43dd8448eb211c80319c"
    response = converse(port, get(path, f"traceparent: 00-{trace}-b7ad6b7169203331-01"), answers=1).last
    assert response.headers["x-trace-id"] == trace


def test_traces_of_timeouts_and_keys(guarded_port, keys):
    stalled = converse(guarded_port, infer("r0", keys.bearer())[:-5], answers=1)
    for conversation, status in (
        (stalled, 408),
        (converse(guarded_port, infer("r0"), answers=1), 401),
        (converse(guarded_port, get("/faults", keys.bearer()), answers=1), 404),
        (converse(guarded_port, post(INFER, b" " * (MAX_BODY_BYTES + 1), keys.bearer()), answers=1), 413),
    ):
        assert conversation.statuses == [status], str(conversation)
        assert TRACE.fullmatch(conversation.last.headers["x-trace-id"])
        assert conversation.last.json["error"]


# The log


QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
FORGERIES = {
    "a new line": "/nope%0a2026-01-01T00:00:00+0000 [INFO] [x] forged=yes".replace(" ", "%20"),
    "a carriage return": "/nope%0d%20forged=yes",
    "both": "/nope%0d%0aforged=yes",
    "an escape": "/nope%1b[31m%20forged=yes%1b[0m",
    "a quote": "/nope%22%20forged=yes%20x=%22y",
    "a raw quote": '/nope"%20forged=yes%20x="y',
    "a quote and a backslash": "/nope%5c%22%20forged=yes%20x=%22y",
    "a blank": "/nope%20forged=yes",
    "a tab": "/nope%09forged=yes",
    "a null": "/nope%00%20forged=yes",
    "a line separator": "/nope%e2%80%a8forged=yes",
    "a next line": "/nope%c2%85forged=yes",
    "a right-to-left override": "/nope%e2%80%ae%20forged=yes",
    "a C1 control": "/nope%c2%9b31m%20forged=yes",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_log_line_is_not_forged_by_a_path(plain, port, name):
    assert_not_forged(plain, lambda trace: get(FORGERIES[name], trace))


WORDS = {
    "a method": lambda trace: message("GET /nope HTTP/1.1", trace).replace(b"GET", b'FOO"X', 1),
    "an encoding": lambda trace: post(INFER, b"{}", trace, 'Content-Encoding: x" forged=yes x="y'),
    "a type": lambda trace: post(INFER, b"{}", trace, kind='Content-Type: x" forged=yes y="z'),
    "a tensor's name": lambda trace: post(
        INFER, document("r0").replace(b"features", b'x\\" forged=yes\\n\\u001b[31m\\nforged=yes'), trace
    ),
    "a form's name": lambda trace: post(
        INFER, document("r0", parameters={"form": 'x" forged=yes\nforged=yes\x1b[1m'}), trace
    ),
    "a query": lambda trace: post("/iris/classify?form=x%22%20forged=yes%0aforged=yes", b"{}", trace),
    "a field of a payload": lambda trace: post("/iris/classify", b'{"x\\" forged=yes\\nforged=yes":1}', trace),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_log_line_is_not_forged_by_words(plain, port, name):
    assert_not_forged(plain, WORDS[name])


def assert_not_forged(server, request) -> None:
    """Of what came with the request nothing begins a line, stands outside quotes or controls a terminal."""
    before = len(server.log_file.read_bytes())
    traceparent = f"traceparent: 00-{time.time_ns():032x}-b7ad6b7169203331-01"
    deadline = time.monotonic() + HANG_SECONDS
    text = trace = ""
    while not (trace and trace in text and "the-next-line" in text) and time.monotonic() < deadline:
        conversation = converse(port_of(server), request(traceparent), answers=1)
        assert conversation.statuses and conversation.statuses[0] in range(400, 502), str(conversation)
        trace = conversation.last.headers["x-trace-id"]
        converse(port_of(server), get("/the-next-line"), answers=1)
        time.sleep(0.02)  # lines have a budget: one that is left out is asked for again
        text = server.log_file.read_bytes()[before:].decode()
    assert trace in text and "the-next-line" in text, repr(text[:2000])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202e]", text), repr(text)
    for line in text.split("\n"):
        assert "forged=yes" not in QUOTED.sub('""', line).split(), line
