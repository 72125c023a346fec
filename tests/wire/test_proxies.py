"""Behind nginx and HAProxy, whose connections carry many clients' requests in turn: each gets its own answer."""

import random
import threading
from collections.abc import Iterator

import pytest

from tests.wire.client import converse, cut
from tests.wire.conftest import port_of
from tests.wire.messages import INFER, distinct, document, get, infer, infer_chunked, post
from tests.wire.proxies import PROXIES, proxy

SEGMENT = 1448  # bytes


@pytest.fixture(scope="module", params=PROXIES)
def front(request, plain, tmp_path_factory) -> Iterator[int]:
    """The port of a proxy in front of the plain service."""
    with proxy(request.param, port_of(plain), tmp_path_factory.mktemp("proxy")) as port:
        yield port


def request_of(tag: str, number: int, rng: random.Random) -> tuple[bytes, int, str]:
    """One request, and what its answer must be: the status and a text that stands in it alone."""
    kind = rng.choice(["infer"] * 5 + ["chunked", "404", "400", "405", "415", "native"])
    fields = distinct(number)
    if kind == "infer":
        return infer(tag, *fields), 200, f'"id":"{tag}"'
    if kind == "chunked":
        return infer_chunked(tag, *fields), 200, f'"id":"{tag}"'
    if kind == "404":
        return post(f"/v2/models/{tag}/infer", document(tag), *fields), 404, f"nothing at /v2/models/{tag}/infer"
    if kind == "400":
        return post(INFER, document(tag, outputs=[{"name": tag}]), *fields), 400, f"output '{tag}' is unknown"
    if kind == "405":
        return get(INFER, *fields), 405, "takes POST"
    if kind == "415":
        return post(INFER, document(tag), *fields, kind=f"Content-Type: text/{tag}"), 415, f"text/{tag}"
    body = b'{"sepal_length":5.1,"sepal_width":3.5,"petal_length":1.4,"petal_width":0.2,"%b":1}' % tag.encode()
    return post("/iris/classify", body, *fields), 400, tag


class Client(threading.Thread):
    """Sends requests of its own in segments, some at a time on a connection, and keeps what was wrong."""

    def __init__(self, port: int, name: str, count: int, at_once: int) -> None:
        super().__init__(daemon=True)
        self.port, self.client, self.count, self.at_once = port, name, count, at_once
        self.wrong: list[str] = []
        self.answered = 0

    def run(self) -> None:
        rng = random.Random(self.client)  # noqa: S311
        for start in range(0, self.count, self.at_once):
            number = rng.randrange(10**6)
            wanted = [request_of(f"{self.client}-{start + i}", number + i, rng) for i in range(self.at_once)]
            data = b"".join(request for request, _, _ in wanted)
            conversation = converse(self.port, *cut(data, SEGMENT), answers=self.at_once)
            if len(conversation.responses) != self.at_once:
                self.wrong.append(str(conversation))
            for response, (_, status, text) in zip(conversation.responses, wanted, strict=False):
                self.answered += 1
                if response.status != status or text not in response.body.decode():
                    self.wrong.append(f"{status} {text}: {response}")


def run_clients(port: int, clients: int, count: int, at_once: int) -> None:
    threads = [Client(port, f"c{i}", count, at_once) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = [line for thread in threads for line in thread.wrong]
    assert not wrong, f"{len(wrong)} wrong: {wrong[:3]}"
    assert sum(thread.answered for thread in threads) == clients * count


def test_every_client_gets_its_own_answers(front):
    run_clients(front, clients=12, count=100, at_once=10)


def test_directly_as_well(port):
    run_clients(port, clients=12, count=200, at_once=20)


@pytest.mark.long
def test_twenty_thousand_requests_of_many_clients(front):
    run_clients(front, clients=40, count=500, at_once=25)


def test_many_clients_of_one_request(front):
    """A connection each, so that the proxy mixes them all on its own to the service."""
    run_clients(front, clients=12, count=40, at_once=1)


def test_upgrades_and_expectations_through_a_proxy(front):
    fields = ("Connection: Upgrade", "Upgrade: websocket")
    requests = [infer("r0", *fields), infer("r1", "Expect: 100-continue"), infer_chunked("r2"), infer("r3")]
    for _ in range(10):
        conversation = converse(front, b"".join(requests), answers=4)
        assert conversation.ids == ["r0", "r1", "r2", "r3"], str(conversation)
