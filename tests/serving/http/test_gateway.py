"""Routing, hosts, origins, errors, and what BentoML's own application answers."""

import asyncio
import logging

import pytest

from serving.errors import BadInput, Overloaded
from serving.http.endpoint import Endpoint, get
from serving.http.gateway import Gateway, Limits
from serving.http.messages import Response
from serving.lifecycle import Lifecycle
from serving.memory import WorkerMemory
from tests.serving.http.uvicorn_server import ask, gateway, post, serving


def raises(error):
    def respond(request):
        raise error

    return {"/": {"GET": Endpoint(respond)}}


def request(path=b"/", *headers, method=b"GET", host=b"x"):
    return b"\r\n".join([b"%b %b HTTP/1.1" % (method, path), b"Host: " + host, *headers, b"", b""])


async def status_of(front, sent):
    async with serving(front) as port:
        ((head, body),) = await ask(port, sent)
    return int(head.split()[1]), head, body


async def test_errors_are_told_with_their_status_and_headers():
    assert (await status_of(gateway(raises(BadInput("no"))), request()))[::2] == (400, b'{"error":"no"}')
    status, head, _ = await status_of(gateway(raises(Overloaded("full"))), request())
    assert status == 429
    assert b"retry-after: 1" in head


async def test_what_nobody_foresaw_is_a_500_without_a_word_of_it(caplog):
    status, _, body = await status_of(gateway(raises(RuntimeError("secret /path"))), request())
    assert (status, body) == (500, b'{"error":"internal error; the server\'s log has the details"}')
    assert "secret /path" in caplog.text


async def test_coroutines_answer_and_fail_alike():
    async def respond(request):
        await asyncio.sleep(0)
        if request.body:
            raise BadInput("a body")
        return Response(b"done")

    front = gateway({"/echo": {"POST": Endpoint(respond)}})
    assert (await status_of(front, post(b"")))[2] == b"done"
    assert (await status_of(front, post(b"x")))[0] == 400


async def test_what_is_not_there_is_told_in_words():
    front = gateway({"/iris/classify": {"POST": Endpoint(lambda _: Response(b""))}, "/v2": get(lambda _: {})})
    assert b"GET / lists every route" in (await status_of(front, request(b"/no")))[2]
    assert b"there is /iris/classify" in (await status_of(front, request(b"/iris/x")))[2]
    status, head, _ = await status_of(front, request(b"/v2", method=b"POST"))
    assert status == 405
    assert b"allow: get, head" in head
    assert (await status_of(front, request(b"/v2/")))[0] == 200  # a slash too many is forgiven


@pytest.mark.parametrize(
    ("host", "status"),
    [(b"a.test", 200), (b"A.Test:8080", 200), (b"b.test", 421), (b"a.test.evil", 421), (b"", 421), (b"[::1]:3", 200)],
)
async def test_hosts_that_are_not_allowed_are_misdirected(host, status):
    front = gateway({"/": get(lambda _: {})}, hosts=("a.test", "[::1]"))
    assert (await status_of(front, request(host=host)))[0] == status
    absolute = request(b"http://%b/" % (host or b"none"), host=b"a.test")
    assert (await status_of(front, absolute))[0] == status  # the target's own host counts, RFC 9112, 3.2.2


async def test_pages_of_other_origins_are_refused_where_a_route_wants_its_own():
    front = gateway({"/faults": {"DELETE": Endpoint(lambda _: Response(b"{}"), same_origin=True)}})
    for origin, status in ((b"http://x", 200), (b"https://x", 200), (b"http://evil.test", 403), (b"null", 403)):
        sent = request(b"/faults", b"Origin: " + origin, method=b"DELETE")
        assert (await status_of(front, sent))[0] == status
    assert (await status_of(front, request(b"/faults", method=b"DELETE")))[0] == 200


async def test_bentoml_answers_its_own_paths_and_no_other():
    seen = []

    async def bentoml(scope, receive, send):
        seen.append((scope["path"], scope["method"], await receive()))
        waiting = asyncio.ensure_future(receive())  # as Starlette does, to hear that a client hangs up
        await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
        headers = [(b"content-type", b"text/css"), (b"content-length", b"4"), (b"etag", b"x")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cd"})

    front = gateway({}, bentoml, ("/static",))
    status, head, body = await status_of(front, request(b"/static"))
    assert (status, body) == (200, b"abcd")
    assert head.count(b"content-length") == 1
    assert b"etag: x" in head
    assert b"x-trace-id" in head
    assert (await status_of(front, request(b"/static/x")))[0] == 404
    assert [path for path, _, _ in seen] == ["/static"]


async def test_routes_are_there_once_the_service_has_started():
    class Service:
        lifecycle = Lifecycle()
        memory = WorkerMemory(4000)

        def routes(self):
            return {"/": get(lambda _: {})}

    async def bentoml(scope, receive, send):
        assert scope["type"] == "lifespan"
        await send({"type": "lifespan.startup.complete"})

    async def send(message):
        sent.append(message)

    sent = []
    front = Gateway(bentoml, (), Service, Limits(1))
    await front({"type": "lifespan"}, None, send)
    assert list(front.routes) == ["/"]
    assert front.bodies.limit == 1000
    assert sent == [{"type": "lifespan.startup.complete"}]


@pytest.mark.parametrize("everybody", [True, False])
async def test_a_request_says_that_it_is_a_load_tests_where_everybody_may(everybody):
    front = gateway({"/": get(lambda request: {"synthetic": request.synthetic})})
    front.synthetic = everybody
    said = [(await status_of(front, request(b"/", *head)))[2] for head in ((b"X-Ekiben-Synthetic: 1",), ())]
    assert said == [b'{"synthetic":%b}' % (b"true" if everybody else b"false"), b'{"synthetic":false}']


async def test_a_rejection_is_logged_by_method_and_path(caplog):
    caplog.set_level(logging.INFO)
    await status_of(gateway({}), request(b"/nowhere"))
    assert "method=GET path=/nowhere reason=bad_input" in caplog.text
