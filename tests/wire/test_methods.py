"""Methods, targets and versions (RFC 9110, 9; RFC 9112, 2.3 and 3)."""

import pytest

from tests.wire.client import converse
from tests.wire.messages import INFER, document, get, infer, is_answer, message, post

GETS = [
    "/livez",
    "/readyz",
    "/healthz",
    "/health",
    "/v2",
    "/v2/models/iris",
    "/v2/health/live",
    "/v2/models/iris/config",
]
GETS += ["/v2/models/iris/stats", "/v2/models/stats", "/metrics", "/", "/docs.json", "/static_content/swagger-ui.css"]
GETS += ["/ui", "/ui/iris", "/iris/random", "/nope"]
VARIES = {"/metrics", "/iris/random", "/v2/models/iris/stats", "/v2/models/stats"}  # from one ask to the next
MOVES = {"date", "x-trace-id"}


@pytest.mark.parametrize("path", GETS)
def test_head_is_as_get_without_the_body(port, path):
    whole = converse(port, get(path), answers=1).last
    conversation = converse(port, get(path, method="HEAD") + infer("next"), answers=2, methods=["HEAD"])
    assert conversation.ids == [None, "next"], str(conversation)
    head = conversation.responses[0]
    assert (head.status, head.body) == (whole.status, b"")
    assert [name for name, _ in head.fields] == [name for name, _ in whole.fields]
    moves = MOVES | ({"content-length"} if path in VARIES else set())
    assert [f for f in head.fields if f[0] not in moves] == [f for f in whole.fields if f[0] not in moves]
    assert "content-length" not in whole.headers or int(whole.headers["content-length"]) == len(whole.body)


@pytest.mark.parametrize("path", ["/livez", "/ui", "/static_content/swagger-ui.css"])
def test_heads_in_a_pipeline(port, path):
    methods = ["HEAD", "GET"] * 10
    conversation = converse(port, b"".join(get(path, method=m) for m in methods), answers=20, methods=methods)
    assert conversation.end == "answered" and set(conversation.statuses) == {200}, str(conversation)
    assert [bool(response.body) for response in conversation.responses] == [False, True] * 10


@pytest.mark.parametrize("path", [INFER, "/iris/classify"])
def test_head_where_there_is_only_post(port, path):
    conversation = converse(port, get(path, method="HEAD") + infer("next"), answers=2, methods=["HEAD"])
    assert conversation.statuses == [405, 200] and conversation.ids[1] == "next", str(conversation)


@pytest.mark.parametrize(
    "method", ["FOO", "PROPFIND", "MKCOL", "LOCK", "REPORT", "SOURCE", "M-SEARCH", "get", "Post", "BREW"]
)
@pytest.mark.parametrize("path", ["/livez", INFER, "/nope", "/static_content/swagger-ui.css", "/"])
def test_an_unknown_method_is_not_implemented(port, path, method):
    conversation = converse(port, message(f"{method} {path} HTTP/1.1"), answers=1)
    assert conversation.statuses == [501], str(conversation)
    assert conversation.last.json["error"]


@pytest.mark.parametrize("method", ["A" * 200, "A" * 20_000])
def test_a_long_method(port, method):
    conversation = converse(port, message(f"{method} /livez HTTP/1.1"), answers=1)
    assert conversation.statuses[0] in (400, 431, 501), str(conversation)


ALLOWED = {
    "/livez": {"GET", "HEAD"},
    "/v2": {"GET", "HEAD"},
    "/ui": {"GET", "HEAD"},
    "/metrics": {"GET", "HEAD"},
    "/": {"GET", "HEAD"},
    "/static_content/swagger-ui.css": {"GET", "HEAD"},
    INFER: {"POST"},
    "/iris/classify": {"POST"},
    "/v2/repository/index": {"POST"},
}


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize(("path", "method"), [(p, m) for p in ALLOWED for m in METHODS if m not in ALLOWED[p]])
def test_a_wrong_method_is_told_the_right_ones(port, path, method):
    conversation = converse(port, post(path, b"{}").replace(b"POST", method.encode(), 1) + infer("next"), answers=2)
    assert conversation.statuses[:1] == [405], str(conversation)
    refusal = conversation.responses[0]
    assert ALLOWED[path] <= {each.strip() for each in refusal.headers["allow"].split(",")}
    assert refusal.closes or conversation.ids[1] == "next"


@pytest.mark.parametrize("target", ["*", "/", "/livez", INFER, "http://localhost/livez"])
def test_options(port, target):
    """What it answers is free, but it answers, and the next as well."""
    conversation = converse(port, message(f"OPTIONS {target} HTTP/1.1") + infer("next"), answers=2)
    assert conversation.statuses[0] in (200, 204, 400, 404, 405, 501), str(conversation)
    assert conversation.responses[0].closes or conversation.ids[1] == "next"


@pytest.mark.parametrize("target", ["/", "/livez", INFER])
def test_trace_tells_nothing(port, target):
    conversation = converse(port, message(f"TRACE {target} HTTP/1.1", "Cookie: secret"), answers=1)
    assert conversation.statuses[0] in (400, 405, 501) and b"secret" not in conversation.last.body, str(conversation)


# Targets


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "example.com", "127.0.0.1:3000"])
@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("", "/"),
        ("/", "/"),
        ("/livez", "/livez"),
        ("/v2/models/iris?x=1", "/v2/models/iris?x=1"),
        ("/nope", "/nope"),
        ("?x=1", "/?x=1"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_an_absolute_target_is_its_path(port, scheme, host, target, path):
    whole = converse(port, get(path), answers=1).last
    request = message(f"GET {scheme}://{host}{target} HTTP/1.1", host=host)
    conversation = converse(port, request + infer("next"), answers=2)
    assert conversation.statuses == [whole.status, 200] and conversation.ids[1] == "next", str(conversation)
    assert conversation.responses[0].body == whole.body


def test_an_inference_by_an_absolute_target(port):
    request = infer("r0").replace(INFER.encode(), f"http://localhost{INFER}".encode(), 1)
    assert is_answer(converse(port, request, answers=1).last, "r0")


@pytest.mark.parametrize(
    "target",
    [
        "livez",
        "*",
        "localhost:80",
        "//livez",
        "?x=1",
        "#livez",
        "%",
        "/%",
        "/%zz",
        "/livez%00",
        "/../livez",
        "/./livez",
        "/%2e%2e/livez",
        "/v2//models/iris",
        "/static_content/../livez",
        "/static_content/%2e%2e/%2e%2e/service.py",
        "/static_content/..%2f..%2fservice.py",
        "/\\livez",
    ],
)
def test_odd_targets_are_refused_or_nowhere(port, target):
    conversation = converse(port, message(f"GET {target} HTTP/1.1") + infer("next"), answers=2)
    assert conversation.statuses[0] in (400, 404, 405), str(conversation)
    assert conversation.responses[0].closes or conversation.ids[1] == "next"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/%6civez", "/livez"),
        ("/v2/models/%69ris", "/v2/models/iris"),
        ("/livez?", "/livez"),
        ("/livez?a=%00&b", "/livez"),
        ("/livez/", "/livez"),
    ],
)
def test_an_escaped_target_is_the_same(port, target, path):
    assert converse(port, get(target), answers=1).last.body == converse(port, get(path), answers=1).last.body


# Versions


@pytest.mark.parametrize(
    "version",
    [
        "HTTP/2.0",
        "HTTP/3.0",
        "HTTP/0.9",
        "HTTP/9.9",
        "HTTP/2",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1.11",
        "HTTP/01.1",
        "HTTP/1.1.1",
        "http/1.1",
        "HTTPS/1.1",
        "HTP/1.1",
        "ICE/1.0",
        "HTTP 1.1",
        "HTTP/1,1",
        "HTTP/-1.1",
        "HTTP/1.1x",
    ],
)
@pytest.mark.parametrize("make", [lambda v: get(version=v), lambda v: infer("r0", version=v)])
def test_another_version_is_refused(port, version, make):
    conversation = converse(port, make(version) + infer("smuggled"))
    assert len(conversation.statuses) == 1 and conversation.statuses[0] in (400, 505), str(conversation)
    assert conversation.end in ("closed", "reset") and conversation.last.closes


@pytest.mark.parametrize(
    "request_", [b"GET /livez\r\n", b"GET /livez\r\n\r\n", b"GET /\r\n\r\n", b"GET\r\n\r\n", b"GET /livez \r\n\r\n"]
)
def test_no_version_is_refused(port, request_):
    conversation = converse(port, request_, 0.02, infer("smuggled"))
    assert len(conversation.statuses) == 1 and conversation.statuses[0] in (400, 505), str(conversation)
    assert conversation.end in ("closed", "reset")


def test_a_minor_version_that_is_higher_is_ours(port):
    """RFC 9110, 2.5: a message of a higher minor version is processed as the highest that is known; or 505."""
    conversation = converse(port, get(version="HTTP/1.2"), answers=1)
    assert conversation.statuses[0] in (200, 400, 505), str(conversation)


@pytest.mark.parametrize("path", ["/livez", "/ui", "/static_content/swagger-ui.css", "/nope"])
def test_answers_are_of_1_1(port, path):
    """RFC 9112, 2.3: the version of an answer is the server's own, also to a 1.0 request."""
    for version in ("HTTP/1.0", "HTTP/1.1"):  # the parser takes no other
        assert converse(port, get(path, "Connection: close", version=version)).end == "closed"


def test_a_body_of_another_id_is_not_mixed_up_with_methods(port):
    requests = [get(), infer("r1"), get("/v2/models/iris"), post("/v2/repository/index", b""), infer("r4", "X: y")]
    conversation = converse(port, b"".join(requests) + post(INFER, document("r5")), answers=6)
    assert [conversation.ids[i] for i in (1, 4, 5)] == ["r1", "r4", "r5"] and set(conversation.statuses) == {200}
