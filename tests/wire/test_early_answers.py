"""Refusals before a body has been read reach clients that send all of it first, directly and through proxies."""

from collections.abc import Iterator

import pytest

from tests.wire.client import converse
from tests.wire.conftest import MAX_BODY_BYTES, KeysFile, assert_answers, port_of
from tests.wire.messages import INFER, JSON, document, infer, message, post
from tests.wire.proxies import PROXIES, proxy
from tests.wire.senders import SENDERS

TIMES, FEW_TIMES = 8, 3
MIB = 2**20
KIND = {"Content-Type": "application/json"}
LARGE = b" " * (MAX_BODY_BYTES - 100_000)  # not over the limit


@pytest.fixture(scope="module", params=["direct", *PROXIES])
def address(request, guarded, tmp_path_factory) -> Iterator[tuple[str, str]]:
    """The guarded service's URL, or that of a proxy in front of it; and that proxy's name."""
    if request.param == "direct":
        yield guarded.url, "direct"
    else:
        with proxy(request.param, port_of(guarded), tmp_path_factory.mktemp("proxy")) as port:
            yield f"http://127.0.0.1:{port}", request.param


# What is sent: path, method, key's name, fields, body; and the answer's status and some of its words.
REFUSALS = {
    "too large by 1 MiB": (INFER, "POST", "good", KIND, b" " * 2 * MIB, 413, "; at most"),
    "no key": (INFER, "POST", None, KIND, LARGE, 401, "a key is needed"),
    "a wrong key": (INFER, "POST", "wrong", KIND, LARGE, 401, "not known"),
    "no path": ("/v2/models/nope/infer", "POST", "good", KIND, LARGE, 404, "nothing at"),
    "a wrong method": (INFER, "PUT", "good", KIND, LARGE, 405, "which takes POST"),
    "a wrong type": (INFER, "POST", "good", {"Content-Type": "text/html"}, LARGE, 415, "content type"),
    "a wrong type, natively": ("/iris/classify", "POST", "good", {"Content-Type": "text/html"}, LARGE, 415, ""),
    "too large, natively": ("/iris/classify", "POST", "good", KIND, b" " * 2 * MIB, 413, "; at most"),
    "a right one among them": (INFER, "POST", "good", KIND, document("x"), 200, ""),
}


def fields_with(keys: KeysFile, name: str | None, fields: dict[str, str]) -> dict[str, str]:
    if name is None:
        return fields
    return {**fields, "Authorization": "Bearer wrong" if name == "wrong" else keys.bearer(name).partition(": ")[2]}


def send(sender: str, address, path, body, fields, times, method="POST"):
    """Over one connection where it is kept.

    nginx tells a client that it keeps a connection, and closes it, where the answer comes before all of a body that it
    does not buffer; there each request gets a connection of its own.
    """
    url, proxied_by = address
    connections = times if proxied_by == "nginx, unbuffered" else 1
    return [
        answer
        for _ in range(connections)
        for answer in SENDERS[sender](url + path, body, fields, times // connections, method)
    ]


def assert_told(answers, times, status, said):
    assert [answer[0] for answer in answers] == [status] * times, answers
    assert all(said in answer[1] for answer in answers), answers


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("sender", SENDERS)
def test_every_refusal_is_read(address, keys, sender, name):
    path, method, key, fields, body, status, said = REFUSALS[name]
    answers = send(sender, address, path, body, fields_with(keys, key, fields), TIMES, method)
    assert_told(answers, TIMES, status, said)


@pytest.mark.parametrize("sender", SENDERS)
def test_a_refusal_of_twenty_mib_is_read(address, keys, sender):
    answers = send(sender, address, INFER, b" " * 20 * MIB, fields_with(keys, "good", KIND), FEW_TIMES)
    assert_told(answers, FEW_TIMES, 413, "; at most")


@pytest.mark.parametrize("sender", SENDERS)
def test_who_asks_too_often_reads_it(address, keys, sender):
    fields = fields_with(keys, "slow", KIND)
    send(sender, address, INFER, document("x"), fields, 1)
    answers = send(sender, address, INFER, LARGE, fields, TIMES)
    assert [answer[0] for answer in answers] == [429] * TIMES, answers


# By hand, to the byte


def test_a_length_over_the_limit_is_refused_without_a_100(guarded_port, keys):
    for size in (MAX_BODY_BYTES + 1, 2**40):
        request = message(
            f"POST {INFER} HTTP/1.1", JSON, keys.bearer(), f"Content-Length: {size}", "Expect: 100-continue"
        )
        conversation = converse(guarded_port, request, answers=1)
        assert [m.status for m in conversation.messages] == [413], str(conversation)


@pytest.mark.parametrize("fields", [("Authorization: Bearer wrong",), ()])
def test_who_may_not_enter_is_told_so_without_a_100(guarded_port, fields):
    request = message(f"POST {INFER} HTTP/1.1", JSON, "Content-Length: 100", "Expect: 100-continue", *fields)
    conversation = converse(guarded_port, request, answers=1)
    assert [m.status for m in conversation.messages] == [401], str(conversation)


def test_a_chunked_body_over_the_limit(guarded_port, keys):
    head = message(f"POST {INFER} HTTP/1.1", JSON, keys.bearer(), "Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (65536, b" " * 65536)
    for read in (True, False):
        conversation = converse(guarded_port, head, *[chunk] * 32, b"0\r\n\r\n", read_while_sending=read)
        assert conversation.statuses == [413] and conversation.end in ("closed", "reset"), str(conversation)
    enough = [chunk] * (MAX_BODY_BYTES // 65536)
    assert converse(guarded_port, head, *enough, b"0\r\n\r\n", answers=1).statuses == [400]  # blanks only
    assert converse(guarded_port, head, *enough, b"1\r\n \r\n0\r\n\r\n", answers=1).statuses == [413]


def test_the_limit_is_to_the_byte(guarded_port, keys):
    for size, status in ((MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)):
        body = document("r0")
        request = post(INFER, body + b" " * (size - len(body)), keys.bearer())
        assert converse(guarded_port, request, answers=1).statuses == [status]


REFUSED = {
    "401": (INFER, JSON, (), 401),
    "404": ("/nope", JSON, ("good",), 404),
    "413": (INFER, JSON, ("good",), 413),
    "415": (INFER, "Content-Type: text/html", ("good",), (413, 415)),
}


@pytest.mark.parametrize("coding", ["length", "chunked"])
@pytest.mark.parametrize("name", REFUSED)
def test_an_endless_body_ends_after_its_refusal(guarded_port, keys, name, coding):
    """The refusal is read, and what is sent on is bounded: in bytes, or in seconds for who sends slowly."""
    path, kind, key, status = REFUSED[name]
    fields = [keys.bearer(each) for each in key]
    length = f"Content-Length: {2**40}" if coding == "length" else "Transfer-Encoding: chunked"
    piece = b"%x\r\n%b\r\n" % (MIB, b" " * MIB) if coding == "chunked" else b" " * MIB
    conversation = converse(guarded_port, message(f"POST {path} HTTP/1.1", kind, length, *fields), *[piece] * 2000)
    assert len(conversation.statuses) == 1 and conversation.statuses[0] in (
        status if isinstance(status, tuple) else (status,)
    )
    assert conversation.end in ("closed", "reset"), str(conversation)
    assert conversation.sent < 200 * MIB, str(conversation)


@pytest.mark.parametrize("name", REFUSED)
def test_a_slow_body_ends_after_its_refusal(guarded_port, keys, name):
    path, kind, key, status = REFUSED[name]
    fields = [keys.bearer(each) for each in key]
    head = message(f"POST {path} HTTP/1.1", kind, f"Content-Length: {2**40}", *fields)
    conversation = converse(guarded_port, head, *[b" "] * 1000, pace=0.1)
    assert conversation.statuses and conversation.statuses[0] in (status if isinstance(status, tuple) else (status,))
    assert conversation.end in ("closed", "reset"), str(conversation)


@pytest.mark.parametrize("path", [INFER, "/nope", "/livez"])
def test_after_a_refused_body_that_is_whole_the_connection_is_of_use_or_says_close(guarded_port, keys, path):
    """The bytes of a body that was not wanted are never read as a request."""
    body = infer("smuggled", keys.bearer()) * 100
    for fields in ((), (keys.bearer(),)):
        request = post(path, body, *fields, kind="Content-Type: text/html")
        conversation = converse(guarded_port, request + infer("next", keys.bearer()), answers=2)
        assert "smuggled" not in conversation.ids
        if len(conversation.statuses) == 1:
            assert conversation.last.closes and conversation.end in ("closed", "reset"), str(conversation)
        else:
            assert conversation.ids[1] == "next", str(conversation)
    assert_answers(guarded_port, keys.bearer())
