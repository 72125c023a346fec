"""Keys whose file changes while connections are open: it holds within about a second, without a restart."""

import time

import httpx
import pytest

from tests.wire.client import converse
from tests.wire.messages import infer

SECONDS = 2.5  # the file is looked at once a second


@pytest.fixture
def client(guarded):
    with httpx.Client(base_url=guarded.url) as client:
        yield client


def ask(client, keys, name, path="/v2/models/iris"):
    bearer = keys.bearer(name).partition(": ")[2]
    return client.get(path, headers={"authorization": bearer}).status_code


def becomes(expected, ask):
    """Wait until it is so, at most for SECONDS; what it was last."""
    deadline = time.monotonic() + SECONDS
    while (status := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def answered(client, keys, name, count=20):
    """How many of so many requests at once are answered 200; the others are 429."""
    statuses = [ask(client, keys, name) for _ in range(count)]
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


def test_a_rate_that_is_raised_holds(client, keys):
    keys.put("rate", per_second=1)
    assert becomes(200, lambda: ask(client, keys, "rate")) == 200
    assert answered(client, keys, "rate") <= 2
    keys.put("rate", per_second=0)
    assert becomes(200, lambda: 200 if answered(client, keys, "rate") == 20 else 0) == 200


def test_a_rate_that_is_lowered_holds(client, keys):
    keys.put("lowered", per_second=0)
    assert becomes(200, lambda: ask(client, keys, "lowered")) == 200
    assert answered(client, keys, "lowered") == 20
    keys.put("lowered", per_second=2)
    assert becomes(429, lambda: 429 if answered(client, keys, "lowered", 30) <= 6 else 0) == 429


def test_rights_that_are_given_and_taken_hold(client, keys):
    keys.put("rights", "predict")
    assert becomes(200, lambda: ask(client, keys, "rights")) == 200
    assert ask(client, keys, "rights", "/metrics") == 403
    keys.put("rights", "metrics")
    assert becomes(200, lambda: ask(client, keys, "rights", "/metrics")) == 200
    assert ask(client, keys, "rights") == 403
    keys.put("rights", "predict,metrics")
    assert becomes(200, lambda: ask(client, keys, "rights")) == 200
    assert ask(client, keys, "rights", "/metrics") == 200


def test_a_line_that_is_removed_and_put_back_holds(client, keys):
    keys.put("back")
    for _ in range(2):
        assert becomes(200, lambda: ask(client, keys, "back")) == 200
        keys.remove("back")
        assert becomes(401, lambda: ask(client, keys, "back")) == 401
        assert ask(client, keys, "good") == 200
        keys.put("back")
    assert becomes(200, lambda: ask(client, keys, "back")) == 200


def test_a_key_that_is_gone_ends_on_a_connection_that_is_open(guarded_port, keys):
    """The same head on one connection: answered while its line is there, 401 after, 200 when it is back."""
    keys.put("open", per_second=50)
    request = infer("r", keys.bearer("open"))
    quiet = SECONDS / 2 + 0.5  # also long enough for what was sent to be answered
    conversation = converse(
        guarded_port,
        *[quiet, *[request] * 5, 0.2, lambda: keys.remove("open"), quiet, *[request] * 5],
        *[0.2, lambda: keys.put("open", per_second=50), quiet, request],
        answers=11,
        seconds=12,
    )
    assert conversation.statuses == [200] * 5 + [401] * 5 + [200], str(conversation)
