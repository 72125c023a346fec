"""Messages over gRPC are counted in the budget of bodies from their first byte until they are answered, once."""

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from serving.errors import Overloaded
from serving.grpc import call as calls
from serving.grpc.call import Call, reserved_bytes
from serving.grpc.status import MessageTooLarge
from serving.http2.stream import Stream
from serving.memory import MemoryBudget

HEADERS = {b":path": b"/a/B"}


class Method(calls.Method):
    """Keeps the messages that it is given."""

    path = "/v2"

    def __init__(self, streams: bool) -> None:
        self.streams = streams
        self.messages: list[bytes] = []

    def handle(self, call: Call, message: bytes, compressed: bool) -> None:
        self.messages.append(message)


class Http2:
    """Sends nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def call_of(budget: MemoryBudget, streams: bool = False) -> Call:
    connection: Any = SimpleNamespace(http2=Http2(), lost=False, read_at=0.0, turn_ends=inf, bodies=budget)
    connection.max_message_bytes, connection.buffered, connection.max_buffered_bytes = 2**20, 0, 2**22
    call = Call(connection, Stream(1, 2**20, 2**20, False), HEADERS)
    call.begin(Method(streams))
    return call


def pieces(n_bytes: int) -> list[bytes]:
    data = b"\0" + n_bytes.to_bytes(4) + bytes(n_bytes)
    return [data[at : at + 16_000] for at in range(0, len(data), 16_000)]


@pytest.mark.parametrize("end", ["respond", "cancelled", "expire"])
def test_a_message_is_held_until_its_call_ends(end: str) -> None:
    budget = MemoryBudget(100_000)
    call = call_of(budget)
    for piece in pieces(60_000):
        call.data_received(piece, False)
    assert budget.taken == 60_000
    call.data_received(b"", True)
    assert budget.taken == 60_000 and not call.done
    getattr(call, end)(*([b"answer"] if end == "respond" else []))
    assert call.done and budget.taken == 0
    call.give_back(60_000)  # what is over has nothing left
    assert budget.taken == 0


def test_what_finds_no_room_is_refused_and_gives_back_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(100_000)
    held = call_of(budget)
    for piece in pieces(60_000):
        held.data_received(piece, False)
    errors: list[Exception] = []
    refused = call_of(budget)

    def noted(error: Exception) -> list[tuple[bytes, bytes]]:
        errors.append(error)
        return []

    monkeypatch.setattr(calls, "trailers", noted)
    for piece in pieces(60_000):
        refused.data_received(piece, False)
    (error,) = errors
    assert isinstance(error, Overloaded) and error.setting == "EKIBEN_MEMORY_MB"
    assert refused.done and budget.taken == 60_000


def test_what_could_never_fit_is_too_large_at_once() -> None:
    call = call_of(MemoryBudget(100_000))
    with pytest.raises(MessageTooLarge, match="over 100000 bytes"):
        call._check(0, 100_001)


def test_each_message_of_a_stream_begins_with_its_own_first_byte() -> None:
    call, begun = call_of(MemoryBudget(), streams=True), []
    assert isinstance(call.method, Method)
    call.method.handle = lambda *_: begun.append(call.begun)  # type: ignore[method-assign]
    one = b"\0" + (10).to_bytes(4) + bytes(10)
    for came, data in enumerate((one[:7], one[7:] + one[:7], one[7:], one, one[:7], one[7:])):
        call._connection.read_at = float(came)
        call.data_received(data, False)
    assert begun == [0, 1, 3, 4]


def test_messages_of_a_stream_are_given_back_one_by_one() -> None:
    budget = MemoryBudget(200_000)
    call = call_of(budget, streams=True)
    for n_bytes in (60_000, 10_000, 50_000):
        for piece in pieces(n_bytes):
            call.data_received(piece, False)
    assert isinstance(call.method, Method)
    assert [len(message) for message in call.method.messages] == [60_000, 10_000, 50_000]
    assert budget.taken == 110_000  # a small one counts only while it arrives
    for message in call.method.messages:
        call.give_back(reserved_bytes(message))
    assert budget.taken == 0
