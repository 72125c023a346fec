"""Pipelined requests (RFC 9112, 9.3.2): every one is answered, in their order, however the bytes are cut."""

import random
import time

import pytest

from tests.wire.client import Received, converse, cut
from tests.wire.conftest import BODY_TIMEOUT_S, KeysFile
from tests.wire.messages import INFER, distinct, document, get, infer, infer_chunked, is_answer, message, post

MANY = 2000


def assert_all_in_order(conversation, count):
    assert conversation.end == "answered", str(conversation)
    assert conversation.ids == [f"r{i}" for i in range(count)]
    assert set(conversation.statuses) == {200}


def tagged(count, *fields):
    """So many requests, each with an id and a head of its own."""
    return [infer(f"r{i}", *distinct(i), *fields) for i in range(count)]


@pytest.mark.parametrize("seed", [1, 2])
def test_in_packets_of_one_to_four_requests(port, seed):
    rng, requests = random.Random(seed), tagged(MANY)  # noqa: S311
    pieces, start = [], 0
    while start < MANY:
        n = rng.randint(1, 4)
        pieces.append(b"".join(requests[start : start + n]))
        start += n
    assert_all_in_order(converse(port, *pieces, answers=MANY), MANY)


@pytest.mark.parametrize("alike", [True, False], ids=["heads alike", "heads apart"])
@pytest.mark.parametrize(("count", "size"), [(1000, 1448), (1000, 65536), (300, 97), (300, 7)])
def test_in_pieces_of_one_size(port, count, size, alike):
    requests = [infer(f"r{i}") for i in range(count)] if alike else tagged(count)
    conversation = converse(port, *cut(b"".join(requests), size), answers=count)
    assert_all_in_order(conversation, count)


def test_in_pieces_of_any_size_with_pauses(port):
    rng, data, pieces = random.Random(3), b"".join(tagged(200)), []  # noqa: S311
    while data:
        n = rng.choice([1, 2, 5, 60, 400, 1448, 5000])
        pieces += [data[:n], rng.choice([0.0, 0.0, 0.001])]
        data = data[n:]
    assert_all_in_order(converse(port, *pieces, answers=200), 200)


def test_byte_by_byte(port):
    requests = b"".join([*tagged(2), infer_chunked("r2", size=7), infer("r3", "Expect: 100-continue")])
    assert_all_in_order(converse(port, *cut(requests, 1), answers=4, pace=0.0002), 4)


def test_all_in_one_write(port):
    assert_all_in_order(converse(port, b"".join(tagged(MANY)), answers=MANY), MANY)


def test_answers_come_also_to_who_reads_none_until_all_is_sent(port):
    requests = tagged(500)
    conversation = converse(port, *requests, answers=500, read_while_sending=False)
    assert_all_in_order(conversation, 500)


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01])
def test_two_in_a_packet_and_a_third_right_after(port, pause):
    for turn in range(20):
        a, b, c = (infer(f"r{i}", *distinct(turn * 3 + i)) for i in range(3))
        assert_all_in_order(converse(port, a + b, pause, c, answers=3), 3)


def test_a_request_whose_end_comes_with_the_next_ones_beginning(port):
    data = b"".join(tagged(3))
    for at in range(1, len(data), 17):
        assert_all_in_order(converse(port, data[:at], 0.001, data[at:], answers=3), 3)


# Refusals, and what is slow or fast to answer, in one stream.

KINDS = {
    404: lambda i: post("/v2/models/nope/infer", document(f"r{i}"), *distinct(i)),
    400: lambda i: post(INFER, b'{"id": "r%d"' % i, *distinct(i)),
    415: lambda i: post(INFER, document(f"r{i}"), *distinct(i), kind="Content-Type: text/html"),
    405: lambda i: get(INFER, *distinct(i)),
    200: lambda i: infer(f"r{i}", *distinct(i)),
}


def assert_statuses_in_order(conversation, statuses):
    assert conversation.end == "answered", str(conversation)
    assert conversation.statuses == statuses
    for i, response in enumerate(conversation.responses):
        assert response.status != 200 or response.id == f"r{i}"


@pytest.mark.parametrize("size", [10**9, 1448, 211])
@pytest.mark.parametrize("statuses", [(404,), (400,), (415,), (405,), (404, 400, 200, 415, 405, 200)], ids=str)
def test_a_thousand_refusals_in_one_write(port, statuses, size):
    expected = [statuses[i % len(statuses)] for i in range(1000)]
    data = b"".join(KINDS[status](i) for i, status in enumerate(expected))
    assert_statuses_in_order(converse(port, *cut(data, size), answers=1000), expected)


def test_refusals_for_want_of_a_key_in_one_write(guarded_port, keys: KeysFile):
    expected = [(401, 200, 404)[i % 3] for i in range(1000)]
    data = b"".join(
        infer(f"r{i}", *distinct(i))
        if status == 401
        else infer(f"r{i}", keys.bearer(), *distinct(i))
        if status == 200
        else post("/nope", b"{}", keys.bearer(), *distinct(i))
        for i, status in enumerate(expected)
    )
    assert_statuses_in_order(converse(guarded_port, data, answers=1000), expected)


def test_other_routes_among_inferences(port):
    """What takes another way through the server (pages, BentoML's own, metrics) waits for its turn as well."""
    paths = [
        "/livez",
        "/v2",
        "/static_content/swagger-ui.css",
        "/docs.json",
        "/metrics",
        "/",
        "/ui",
        "/health",
        "/nope",
    ]
    requests = [infer(f"r{i}") if i % 2 else get(paths[i // 2 % len(paths)]) for i in range(54)]
    conversation = converse(port, b"".join(requests), answers=54)
    assert conversation.end == "answered", str(conversation)
    for i, response in enumerate(conversation.responses):
        if i % 2:
            assert is_answer(response, f"r{i}"), response
        else:
            alone = converse(port, requests[i], answers=1).last
            assert (response.status, response.headers.get("content-type")) == (
                alone.status,
                alone.headers.get("content-type"),
            )


# Expect: 100-continue (RFC 9110, 10.1.1)


def test_a_client_that_waits_is_told_to_go_on(port):
    head, _, body = infer("r0", "Expect: 100-continue").partition(b"\r\n\r\n")
    conversation = converse(port, head + b"\r\n\r\n", Received(1), body, answers=1)
    assert [m.status for m in conversation.messages] == [100, 200]
    assert conversation.ids == ["r0"]


@pytest.mark.parametrize("name", ["Expect", "expect", "EXPECT"])
@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
def test_an_expectation_in_any_case(port, name, value):
    head, _, body = infer("r0", f"{name}: {value}").partition(b"\r\n\r\n")
    conversation = converse(port, head + b"\r\n\r\n", Received(1), body, answers=1)
    assert [m.status for m in conversation.messages] == [100, 200]


@pytest.mark.parametrize("before", [1, 3, 30])
@pytest.mark.parametrize("chunks", [True, False])
def test_no_100_before_the_answers_to_earlier_requests(port, before, chunks):
    requests = b"".join(tagged(before))
    last = (
        infer_chunked(f"r{before}", "Expect: 100-continue") if chunks else infer(f"r{before}", "Expect: 100-continue")
    )
    head, _, body = last.partition(b"\r\n\r\n")
    conversation = converse(port, requests + head + b"\r\n\r\n", Received(before + 1), body, answers=before + 1)
    assert [m.status for m in conversation.messages] == [200] * before + [100, 200]
    assert conversation.ids == [f"r{i}" for i in range(before + 1)]


def test_a_body_that_came_with_its_head_may_go_without_a_100(port):
    """RFC 9110: a server MAY omit sending a 100 if it has received some or all of the content."""
    requests = b"".join(infer(f"r{i}", "Expect: 100-continue") for i in range(50))
    conversation = converse(port, requests, answers=50)
    assert conversation.ids == [f"r{i}" for i in range(50)]
    previous = 200
    for one in conversation.messages:
        assert (previous, one.status) != (100, 100)
        previous = one.status


def test_no_100_to_http_1_0(port):
    head, _, body = infer("r0", "Expect: 100-continue", version="HTTP/1.0").partition(b"\r\n\r\n")
    assert [m.status for m in converse(port, head + b"\r\n\r\n", 0.2, body).messages] == [200]


def test_another_expectation_fails_or_is_ignored(port):
    """RFC 9110: a server MAY answer 417 to an expectation that it does not know."""
    conversation = converse(port, infer("r0", "Expect: tea"), infer("r1"), answers=2)
    assert conversation.statuses in ([417], [417, 200], [200, 200])


# What is wrong after what is right


WRONG = {
    "malformed": (b"GET /livez HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    "no request line": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 30 + b"\r\n\r\n", 400),
    "over-long head": (get("/livez", "X: " + "y" * 70_000), 431),
    "wrong chunk": (
        message(f"POST {INFER} HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
        400,
    ),
}


@pytest.mark.parametrize("before", [1, 7, 100])
@pytest.mark.parametrize("kind", WRONG)
def test_what_is_malformed_is_refused_after_the_answers_before_it(port, kind, before):
    wrong, status = WRONG[kind]
    for pieces in ([b"".join(tagged(before)) + wrong], [*tagged(before), wrong]):
        conversation = converse(port, *pieces)
        assert conversation.statuses == [200] * before + [status], str(conversation)
        assert conversation.ids[:-1] == [f"r{i}" for i in range(before)]
        assert conversation.last.closes
        assert conversation.end in ("closed", "reset")


@pytest.mark.parametrize("at", [10, 60, -7])
def test_what_stalls_is_ended_after_the_answers_before_it(guarded_port, keys, at):
    requests = tagged(5, keys.bearer())
    started = time.monotonic()
    conversation = converse(guarded_port, b"".join(requests[:4]) + requests[4][:at])
    assert conversation.statuses == [200] * 4 + [408], str(conversation)
    assert conversation.ids[:4] == [f"r{i}" for i in range(4)]
    assert conversation.end == "closed" and conversation.last.closes
    assert conversation.last.at - started >= BODY_TIMEOUT_S * 0.9


def test_nothing_after_a_malformed_request_is_read(port):
    for wrong, status in WRONG.values():
        conversation = converse(port, wrong + b"\r\n\r\n" + infer("smuggled"))
        assert conversation.statuses == [status], str(conversation)


def test_connection_close_ends_the_pipeline(port):
    """RFC 9112, 9.6: no request after the one with `close` is processed."""
    data = b"".join([infer("r0"), infer("r1", "Connection: close"), infer("r2")])
    conversation = converse(port, data)
    assert conversation.ids == ["r0", "r1"]
    assert conversation.last.closes and conversation.end in ("closed", "reset")
