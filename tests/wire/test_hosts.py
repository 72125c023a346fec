"""Host (RFC 9112, 3.2; RFC 9110, 7.2), which hosts are answered, and whose pages may ask for faults."""

import pytest

from tests.wire.client import converse
from tests.wire.messages import INFER, document, get, infer, is_answer, message, post

MISDIRECTED = {400, 403, 421}
LINES = {
    "GET": ("GET /livez HTTP/1.1", (), b""),
    "static": ("GET /static_content/swagger-ui.css HTTP/1.1", (), b""),
    "POST": (f"POST {INFER} HTTP/1.1", ("Content-Type: application/json", "Content-Length: {}"), document("r0")),
    "nowhere": ("GET /nope HTTP/1.1", (), b""),
}


def asking(kind: str, *hosts: str | bytes) -> bytes:
    line, fields, body = LINES[kind]
    named = [b"Host: " + (host if isinstance(host, bytes) else host.encode("latin-1")) for host in hosts]
    return message(line, *[each.format(len(body)) for each in fields], *named, body=body, host=None)


@pytest.mark.parametrize("kind", LINES)
def test_without_host_a_request_is_refused(port, kind):
    """RFC 9112, 3.2: a server MUST answer 400 to a 1.1 request without Host, with two, or with a wrong one."""
    assert_400(port, asking(kind))


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("hosts", [("a", "b"), ("localhost", "localhost"), ("a", ""), ("a", "b", "c")])
def test_more_than_one_host_is_refused(port, kind, hosts):
    assert_400(port, asking(kind, *hosts))


WRONG = [
    "a b",
    "x@y",
    "a/b",
    "a:b:c",
    "a:b",
    "a\\b",
    "a?b",
    "a#b",
    "http://a",
    "[::1",
    "::1]",
    '"a"',
]
WRONG += ["<a>", "a:-1", "[a b]", "a|b", "a^b", "a`b", "{a}"]


@pytest.mark.parametrize("kind", ["GET", "POST"])
@pytest.mark.parametrize("host", WRONG)
def test_a_malformed_host_is_refused(port, kind, host):
    assert_400(port, asking(kind, host))


def assert_400(port, request):
    for pieces in ([request], [request[:-3], 0.005, request[-3:]]):
        conversation = converse(port, *pieces, answers=1)
        assert conversation.statuses == [400], str(conversation)
        assert "x-trace-id" in conversation.last.headers


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:3000",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:3000",
        "example.com",
        "EXAMPLE.com.",
        "a-b.c_d",
        "a,b;c=d!",
        "xn--bcher-kva.example",
        "a%41",
        "a:",
        "",
    ],
)
def test_right_hosts(port, host):
    """RFC 3986, 3.2.2; an empty one too. Escapes and delimiters are nobody's: they may be refused."""
    conversation = converse(port, asking("GET", host), answers=1)
    assert conversation.statuses == [200] or (host in ("a%41", "a,b;c=d!") and conversation.statuses == [400])


def test_http_1_0_needs_no_host(port):
    conversation = converse(port, message("GET /livez HTTP/1.0", host=None))
    assert conversation.statuses == [200]


# EKIBEN_ALLOWED_HOSTS


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.com",
        "example.com.elsewhere.com",
        "notexample.com",
        "a.example.com",
        "10.0.0.1",
        "[::1]",
        "",
        "example.co",
    ],
)
def test_another_host_is_misdirected(strict_port, kind, host):
    conversation = converse(strict_port, asking(kind, host), answers=1)
    assert conversation.statuses and conversation.statuses[0] in MISDIRECTED, str(conversation)


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:3000", "Example.COM", "EXAMPLE.COM:80", "localhost", "LOCALHOST:1"]
)
def test_a_listed_host_is_answered(strict_port, host):
    conversation = converse(strict_port, asking("GET", host) + asking("POST", host), answers=2)
    assert conversation.statuses == [200, 200] and is_answer(conversation.last, "r0"), str(conversation)
    assert converse(strict_port, asking("static", host), answers=1).statuses == [200]


def test_the_host_of_an_absolute_target_counts(strict_port):
    """RFC 9112, 3.2.2: of an absolute target the host is taken, and Host is ignored."""
    for target, host, right in (
        ("http://example.com/livez", "elsewhere.com", True),
        ("http://elsewhere.com/livez", "example.com", False),
        ("http://elsewhere.com/livez", "elsewhere.com", False),
        ("http://example.com:3000/livez", "example.com", True),
    ):
        conversation = converse(strict_port, message(f"GET {target} HTTP/1.1", host=host), answers=1)
        assert conversation.statuses == [200] if right else conversation.statuses[0] in MISDIRECTED, (target, host)


def test_a_misdirected_request_is_one_request(strict_port):
    """The good ones around it are answered, or the connection ends with it."""
    conversation = converse(strict_port, infer("a") + asking("POST", "elsewhere.com") + infer("b"), answers=3)
    assert conversation.ids[0] == "a" and conversation.statuses[1] in MISDIRECTED, str(conversation)
    assert conversation.ids[2:] == ["b"] or conversation.responses[1].closes


# Origin


@pytest.mark.parametrize("path", ["/faults/errors?share=0", "/faults/latency?seconds=0", "/faults/sleep?seconds=0"])
def test_a_foreign_page_may_not_ask_for_faults(strict_port, path):
    for origin in ("http://elsewhere.com", "https://localhost.elsewhere.com", "null"):
        request = post(path, b"", f"Origin: {origin}", kind="Content-Type: text/plain")
        assert converse(strict_port, request, answers=1).statuses == [403], origin
    delete = get("/faults", "Origin: http://elsewhere.com", method="DELETE")
    assert converse(strict_port, delete, answers=1).statuses == [403]


def test_faults_without_an_origin_and_from_the_own_one(strict_port):
    path = "/faults/errors?share=0&for=1"
    for fields in ((), (f"Origin: http://localhost:{strict_port}",)):
        request = message(f"POST {path} HTTP/1.1", "Content-Length: 0", *fields, host=f"localhost:{strict_port}")
        assert converse(strict_port, request, answers=1).statuses == [200]
    assert converse(strict_port, get("/faults", method="DELETE"), answers=1).statuses == [200]


def test_the_preflight_of_another_page_allows_nothing(strict_port):
    fields = ("Origin: http://elsewhere.com", "Access-Control-Request-Method: POST")
    conversation = converse(strict_port, get("/faults/errors", *fields, method="OPTIONS"), answers=1)
    assert not any(name.startswith("access-control-allow") for name, _ in conversation.last.fields)
