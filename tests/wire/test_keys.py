"""Keys whose file changes while connections are open: it holds within about a second, without a restart."""

import time

import httpx
import pytest

from tests.wire.client import HANG_SECONDS, Received, converse
from tests.wire.messages import infer

LOOK_SECONDS = 1.0  # how often the file is looked at


@pytest.fixture
def client(guarded):
    with httpx.Client(base_url=guarded.url) as client:
        yield client


def ask(client, keys, name, path="/v2/models/iris"):
    bearer = keys.bearer(name).partition(": ")[2]
    return client.get(path, headers={"authorization": bearer}).status_code


def becomes(expected, ask):
    """Wait until it is so; what it was last."""
    deadline = time.monotonic() + HANG_SECONDS
    while (status := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return status


def answered(client, keys, name, count=20):
    """(how many of so many requests are answered 200, the seconds that they took); the others are 429."""
    began = time.monotonic()
    statuses = [ask(client, keys, name) for _ in range(count)]
    assert set(statuses) <= {200, 429}
    return statuses.count(200), time.monotonic() - began


def limited(client, keys, name, per_second):
    """Whether more is asked than this rate lets through, and no more than that is answered."""
    count, seconds = answered(client, keys, name)
    return count < 20 and count <= 1 + per_second * (1 + seconds)


def test_a_rate_that_is_raised_holds(client, keys):
    keys.put("rate", per_second=1)
    assert becomes(200, lambda: ask(client, keys, "rate")) == 200
    assert becomes(True, lambda: limited(client, keys, "rate", 1))
    keys.put("rate", per_second=0)
    assert becomes(20, lambda: answered(client, keys, "rate")[0]) == 20


def test_a_rate_that_is_lowered_holds(client, keys):
    keys.put("lowered", per_second=0)
    assert becomes(200, lambda: ask(client, keys, "lowered")) == 200
    assert answered(client, keys, "lowered")[0] == 20
    keys.put("lowered", per_second=2)
    assert becomes(True, lambda: limited(client, keys, "lowered", 2))


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
    quiet = 1.5 * LOOK_SECONDS
    conversation = converse(
        guarded_port,
        *[quiet, *[request] * 5, Received(5), lambda: keys.remove("open"), quiet, *[request] * 5, Received(10)],
        *[lambda: keys.put("open", per_second=50), quiet, request],
        answers=11,
    )
    assert conversation.statuses == [200] * 5 + [401] * 5 + [200], str(conversation)
