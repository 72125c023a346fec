"""The same requests whole and cut, alone and among others: the same answers; and two servers read them alike."""

import threading

import pytest

from tests.wire import corpus, reference
from tests.wire.client import converse
from tests.wire.messages import INFER

# Whose answers are the same at every ask.
PATHS = [INFER, "/livez", "/iris/classify", "/v2/models/iris", "/nope", "/static_content/swagger-ui.css"]
SINGLES = [*corpus.singles(PATHS)]


@pytest.mark.parametrize("one", SINGLES, ids=lambda one: one.name)
def test_a_request_is_answered_alike_however_it_is_cut(port, one):
    expected = corpus.send(port, one)
    assert len(expected.responses) == len(one.requests), str(expected)
    assert expected.end == ("closed" if one.closes else "answered"), str(expected)
    for how, pieces in corpus.cuts(one.data, 1):
        corpus.compare(one, expected, corpus.send(port, one, pieces), how)


@pytest.mark.parametrize("name", [*corpus.REQUESTS, *corpus.LAST])
def test_at_every_offset(port, name):
    make = {**corpus.REQUESTS, **corpus.LAST}[name]
    one = corpus.stream(name, [make(INFER, "t0")], closes=name in corpus.LAST)
    expected = corpus.send(port, one)
    for how, pieces in corpus.cuts(one.data, 1, at_every=1 if len(one.data) < 600 else 37):
        corpus.compare(one, expected, corpus.send(port, one, pieces), how)


@pytest.mark.parametrize("seed", range(8))
def test_pipelines(port, seed):
    """Against the same requests, each alone on a connection of its own."""
    for one in corpus.pipelines(PATHS, seed, 6):
        whole = corpus.send(port, one)
        assert len(whole.responses) == len(one.requests), f"{one.name}: {whole}"
        for i, request in enumerate(one.requests):
            alone = converse(port, request, answers=1, methods=[one.methods[i]]).last
            response = whole.responses[i]
            assert (response.status, response.body) == (alone.status, alone.body), f"{one.name}: answer {i}"
        for how, pieces in corpus.cuts(one.data, seed):
            corpus.compare(one, whole, corpus.send(port, one, pieces), how)


def test_mixed_among_clients(port):
    """Ten clients at once, each with pipelines of its own, cut each in its own way."""
    failures = []

    def client(number: int) -> None:
        try:
            for one in corpus.pipelines(PATHS, 100 + number, 4):
                expected = corpus.send(port, one)
                assert len(expected.responses) == len(one.requests), f"{one.name}: {expected}"
                for how, pieces in corpus.cuts(one.data, number):
                    corpus.compare(one, expected, corpus.send(port, one, pieces), how)
        except AssertionError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


# Two servers. `serving(http=…)` takes any protocol class that uvicorn takes.

ECHOES = ["/echo", "/echo/a%20b"]
PROTOCOLS = {"httptools": "httptools"}


@pytest.fixture(scope="module")
def h11():
    with reference.serving(http="h11") as port:
        yield port


@pytest.fixture(scope="module", params=PROTOCOLS)
def other(request):
    with reference.serving(http=PROTOCOLS[request.param]) as port:
        yield port


# uvicorn's httptools protocol loses an upgrade's body; with h11 it keeps no 1.0 alive and knows no empty line before.
APART = ("an upgrade", "1.0 that keeps alive", "an empty line before")


SHARED = [one for one in corpus.singles(ECHOES) if not one.name.startswith(APART)]


@pytest.mark.parametrize("one", SHARED, ids=lambda one: one.name)
def test_the_reference_reads_as_another_parser_does(h11, other, one):
    """This also tries the corpus and the client where both servers are known to be right."""
    expected = corpus.send(h11, one)
    assert len(expected.responses) == len(one.requests), str(expected)
    corpus.compare(one, expected, corpus.send(other, one), "by another parser")
    for how, pieces in corpus.cuts(one.data, 1):
        corpus.compare(one, expected, corpus.send(other, one, pieces), how)
