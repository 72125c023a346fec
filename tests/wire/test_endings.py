"""How a connection ends: half-closed, after an answer, after a time without requests, for being one too many."""

import socket

import pytest

from tests.wire.client import SHUT_WR, Received, converse
from tests.wire.conftest import KEEP_ALIVE_S, MAX_CONNECTIONS, assert_answers, port_of, wait_for_connections
from tests.wire.messages import INFER, get, infer, infer_chunked, post
from tests.wire.senders import SENDERS

# Half-close: a client that sends no more may still read.


@pytest.mark.parametrize("count", [1, 2, 50, 500])
@pytest.mark.parametrize("make", [infer, infer_chunked, lambda tag: get()])
def test_what_is_whole_is_answered_after_a_half_close(port, count, make):
    conversation = converse(port, b"".join(make(f"r{i}") for i in range(count)), SHUT_WR)
    assert conversation.statuses == [200] * count, str(conversation)
    assert conversation.end == "closed"
    assert make is not infer or conversation.ids == [f"r{i}" for i in range(count)]


@pytest.mark.parametrize("path", ["/", "/metrics", "/static_content/swagger-ui.css", "/ui", "/nope"])
def test_other_routes_answer_after_a_half_close(port, path):
    conversation = converse(port, get(path), SHUT_WR)
    assert len(conversation.statuses) == 1 and conversation.end == "closed", str(conversation)


@pytest.mark.parametrize("pause", [0.0, 0.005, 0.1])
def test_a_half_close_in_its_own_time(port, pause):
    conversation = converse(port, infer("r0"), infer("r1"), pause, SHUT_WR)
    assert conversation.ids == ["r0", "r1"] and conversation.end == "closed", str(conversation)


@pytest.mark.parametrize("at", [5, 40, -30, -1])
@pytest.mark.parametrize("before", [0, 3])
def test_what_is_not_whole_is_not_answered_as_if_it_were(port, before, at):
    for request in (infer("part"), infer_chunked("part")):
        whole = b"".join(infer(f"r{i}") for i in range(before))
        conversation = converse(port, whole + request[:at], SHUT_WR)
        assert conversation.statuses in ([200] * before, [200] * before + [400]), str(conversation)
        assert conversation.ids[:before] == [f"r{i}" for i in range(before)]
        assert conversation.end in ("closed", "reset"), "a client that sends no more is not waited for"


def test_a_client_that_only_hangs_up(port):
    assert (converse(port, SHUT_WR).end) == "closed"
    conversation = converse(port, infer("r0"), 0.05, SHUT_WR)
    assert conversation.ids == ["r0"] and conversation.end == "closed"


def test_slow_answers_after_a_half_close(strict_port):
    conversation = converse(strict_port, get("/faults/sleep?seconds=0.5") + infer("r1"), SHUT_WR, seconds=5)
    assert conversation.statuses == [200, 200] and conversation.ids[1] == "r1", str(conversation)
    assert conversation.end == "closed"


# Connection: close and HTTP/1.0 (RFC 9112, 9.3 and 9.6)

PATHS = ["/livez", "/v2", "/", "/static_content/swagger-ui.css", "/metrics", "/nope", "/ui"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["close", "Close", "CLOSE", "foo, close", "close, foo", "close,keep-alive"])
def test_a_client_that_closes(port, path, value):
    conversation = converse(port, get(path, f"Connection: {value}"))
    assert conversation.end == "closed" and len(conversation.statuses) == 1, str(conversation)
    assert conversation.last.closes, conversation.last.fields


def test_close_in_a_field_of_its_own(port):
    conversation = converse(port, get("/livez", "Connection: foo", "Connection: close"))
    assert conversation.end == "closed" and conversation.last.closes, str(conversation)


@pytest.mark.parametrize("make", [infer, infer_chunked])
def test_an_inference_that_closes(port, make):
    conversation = converse(port, make("r0", "Connection: close"))
    assert conversation.ids == ["r0"] and conversation.end == "closed" and conversation.last.closes


@pytest.mark.parametrize("path", PATHS)
def test_http_1_0_closes(port, path):
    conversation = converse(port, get(path, version="HTTP/1.0"))
    assert conversation.end == "closed" and len(conversation.statuses) == 1, str(conversation)
    assert "transfer-encoding" not in conversation.last.headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["keep-alive", "Keep-Alive"])
def test_http_1_0_that_keeps_alive_is_told_so(port, path, value):
    conversation = converse(port, get(path, f"Connection: {value}", version="HTTP/1.0"), 0.05, infer("next"), answers=2)
    assert len(conversation.statuses) == 2 and conversation.ids[1] == "next", str(conversation)
    assert conversation.responses[0].headers.get("connection", "").lower() == "keep-alive"


def test_an_inference_by_http_1_0(port):
    conversation = converse(port, infer("r0", version="HTTP/1.0"))
    assert conversation.ids == ["r0"] and conversation.end == "closed"
    requests = b"".join(infer(f"r{i}", "Connection: keep-alive", version="HTTP/1.0") for i in range(20))
    conversation = converse(port, requests, answers=20)
    assert conversation.ids == [f"r{i}" for i in range(20)] and conversation.end == "answered"


def test_http_1_1_keeps_alive(port):
    conversation = converse(port, get("/livez"), infer("r1"), answers=2)
    assert conversation.end == "answered" and not any(response.closes for response in conversation.responses)


# Keep-alive


@pytest.mark.parametrize("path", ["/livez", "/static_content/swagger-ui.css", "/nope"])
def test_an_idle_connection_is_closed(strict_port, path):
    conversation = converse(strict_port, get(path))
    assert conversation.end == "closed" and len(conversation.statuses) == 1, str(conversation)
    assert conversation.seconds > KEEP_ALIVE_S


def test_idleness_begins_with_the_end_of_the_answer(strict_port):
    sleeps = KEEP_ALIVE_S * 1.5
    request = get(f"/faults/sleep?seconds={sleeps}")
    conversation = converse(strict_port, request)
    assert conversation.statuses == [200] and conversation.end == "closed", str(conversation)
    assert conversation.seconds > sleeps + KEEP_ALIVE_S


def test_a_busy_connection_stays_open(strict_port):
    pieces = [piece for i in range(20) for piece in (infer(f"r{i}"), Received(i + 1), KEEP_ALIVE_S * 0.15)]

    def stays() -> bool:
        conversation = converse(strict_port, *pieces, answers=20)
        assert conversation.ids == [f"r{i}" for i in range(len(conversation.ids))]
        return conversation.end == "answered"

    # A client whom the machine gives no time between two requests is idle, which may happen here, but not always.
    assert any(stays() for _ in range(10))


def test_a_connection_without_a_request_is_closed(strict_port):
    assert converse(strict_port).end == "closed"


def test_a_request_that_began_in_time_is_waited_for(strict_port):
    """Its beginning ends the idleness: from then on the time for a request to arrive counts."""
    request = infer("r1")
    conversation = converse(strict_port, get() + request[:30], 2.5 * KEEP_ALIVE_S, request[30:], answers=2)
    assert conversation.statuses == [200, 200] and conversation.ids[1] == "r1", str(conversation)


def test_by_default_an_idle_connection_stays(port):
    conversation = converse(port, get(), seconds=6)
    assert conversation.end == "timeout" and conversation.statuses == [200]


# EKIBEN_MAX_CONNECTIONS


@pytest.fixture
def full(strict, strict_port):
    """The port of a service that has all the connections that it may."""
    held = [socket.create_connection(("127.0.0.1", strict_port), 60) for _ in range(MAX_CONNECTIONS)]
    partly = get()[:-2]
    for connection in held:  # not idle, and not yet too slow
        connection.sendall(partly)
    wait_for_connections(strict, MAX_CONNECTIONS)
    yield strict_port
    for connection in held:
        connection.close()


@pytest.mark.parametrize("read_while_sending", [True, False])
def test_one_connection_too_many_is_told_so_also_with_a_long_body(full, read_while_sending):
    body = b" " * 2**21
    for pieces in ([get()], [infer("r0")], [post(INFER, body)], [post(INFER, body)[:200], 0.05, body]):
        conversation = converse(full, *pieces, read_while_sending=read_while_sending)
        assert conversation.statuses == [503], str(conversation)
        assert "retry-after" in conversation.last.headers and conversation.last.closes
        assert conversation.end in ("closed", "reset")


@pytest.mark.parametrize("sender", SENDERS)
def test_one_connection_too_many_is_told_so_to_other_peoples_clients(full, sender):
    fields = {"Content-Type": "application/json", "Host": "localhost"}
    answers = SENDERS[sender](f"http://127.0.0.1:{full}{INFER}", b" " * 2**21, fields, 3, "POST")
    assert [status for status, _ in answers] == [503] * 3, answers
    assert all("as many as there may be" in words for _, words in answers)


def test_a_place_that_is_free_again_is_taken(strict, strict_port):
    for _ in range(3):
        held = [socket.create_connection(("127.0.0.1", strict_port), 60) for _ in range(MAX_CONNECTIONS)]
        wait_for_connections(strict, MAX_CONNECTIONS)
        for connection in held:
            connection.close()
        wait_for_connections(strict, 0)
        assert_answers(port_of(strict))
