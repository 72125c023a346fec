"""What a connection puts up with: clients that do not read, send nothing, send too much, or come in numbers."""

import asyncio
import contextlib
import gc
import queue
import socket
import time
from types import SimpleNamespace

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from serving.api.grpc import stream as streams
from serving.grpc import call as calls
from serving.grpc import connection as connections
from serving.grpc.connection import GrpcConnection
from serving.grpc.service import GrpcService
from serving.http import keys
from serving.http.gateway import Gateway, Limits
from serving.http.keys import Keys
from serving.http2 import connection as http2
from serving.http2 import frames
from serving.http2.frames import Code, frame
from serving.http2.hpack import encode
from tests.serving.grpc.grpc_server import grpc_server
from tests.serving.http2.test_connection import FLOODS, flood

HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
    (b":authority", b"localhost:3001"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
HELLO = frames.PREFACE + frames.settings({})
FRAMES, CONNECTIONS = 5_000, 20  # of a flood: more than a connection may send at once, and one after the other
STREAM = [*HEADERS[:2], (b":path", b"/inference.GRPCInferenceService/ModelStreamInfer"), *HEADERS[3:]]


@pytest.fixture(scope="module")
def server(stored_here):
    with grpc_server(
        Limits(8, body_seconds=1.5, keep_alive_seconds=1.5), max_body_bytes=2**20, max_queue_rows=100_000
    ) as running:
        yield running


class Client:
    """A client on a plain socket, which keeps to no rules."""

    def __init__(self, server, hello=HELLO):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        self.socket.sendall(hello)

    def send(self, *pieces):
        self.socket.sendall(b"".join(pieces))

    def request(self, stream, headers=HEADERS, flags=frames.END_HEADERS):
        return frame(frames.HEADERS, flags, stream, encode(headers))

    def received(self, until=b""):
        """What comes until the connection is closed, or until these bytes have."""
        data = b""
        while not (until and until in data):
            try:
                more = self.socket.recv(2**20)
            except ConnectionResetError:
                break
            if not more:
                break
            data += more
        return data


def message(n_rows=1):
    request = service_pb2.ModelInferRequest(model_name="iris")
    request.inputs.add(name="features", datatype="FP32", shape=[n_rows, 4])
    request.raw_input_contents.append(np.ones((n_rows, 4), np.float32).tobytes())
    body = request.SerializeToString()
    return b"\0" + len(body).to_bytes(4) + body


def status(data):
    """The grpc-status of the last trailers in these bytes, which our encoder wrote in plain."""
    at = data.rindex(b"grpc-status") + len(b"grpc-status")
    return data[at + 1 : at + 1 + data[at]].decode()


def answers(server):
    """Another client is served."""
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return stub.ModelInfer(service_pb2.ModelInferRequest.FromString(message()[5:])).model_name == "iris"


def test_a_call_that_comes_byte_by_byte(server):
    client, body = Client(server), message()
    pieces = [body[n : n + 40] for n in range(0, len(body), 40)]
    for byte in client.request(1) + b"".join(frame(frames.DATA, 0, 1, piece) for piece in pieces):
        client.send(bytes([byte]))
    client.send(frame(frames.DATA, frames.END_STREAM, 1))
    assert status(client.received(b"grpc-status")) == "0"


@pytest.mark.parametrize(
    ("data", "expected", "words"),
    [
        (frame(0, 1, 1), "3", b"there is no message"),
        (frame(0, 1, 1, b"\0\0\0"), "3", b"within a message"),
        (frame(0, 1, 1, message() * 2), "3", b"a second message"),
        (frame(0, 1, 1, b"\1" + message()[1:]), "3", b"grpc-encoding does not say how"),
        (frame(0, 0, 1, b"\0\xff\xff\xff\xff"), "8", b"the message is over 1048576 bytes"),
    ],
)
def test_messages_that_are_not_what_a_method_takes(server, data, expected, words):
    client = Client(server)
    client.send(client.request(1), data)
    answer = client.received(b"grpc-message")
    assert status(answer) == expected and words in answer


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ((b":method", b"GET"), "12"),
        ((b":path", b"/nothing"), "12"),
        ((b"content-type", b"text/plain"), "3"),
        ((b"grpc-encoding", b"snappy"), "12"),
        ((b"grpc-timeout", b"soon"), "3"),
        ((b"grpc-timeout", b"1n"), "4"),
    ],
)
def test_headers_of_a_call_that_is_refused(server, field, expected):
    client = Client(server)
    headers = [pair for pair in HEADERS if pair[0] != field[0]]
    headers = sorted([*headers, field], key=lambda pair: not pair[0].startswith(b":"))
    client.send(client.request(1, headers), frame(frames.DATA, frames.END_STREAM, 1, message()))
    assert status(client.received(b"grpc-status")) == expected


@pytest.mark.parametrize(
    "sent",
    [b"", frames.PREFACE[:10], frames.PREFACE + frames.settings({}) + b"\0\0", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["nothing", "half a preface", "half a frame", "HTTP/1.1"],
)
def test_who_does_not_speak_is_closed(server, sent):
    client = Client(server, sent)
    client.received()
    assert answers(server)


def test_a_request_that_does_not_arrive_is_ended(server):
    client = Client(server)
    client.send(client.request(1), frame(frames.DATA, 0, 1, message()[:20]))
    answer = client.received(b"grpc-message")
    assert status(answer) == "4" and b"did not arrive within 1.5 s" in answer


def test_an_answer_that_is_not_read_is_given_up(server):
    client = Client(server, frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    client.send(client.request(1), frame(frames.DATA, frames.END_STREAM, 1, message(100)))
    reset = frames.rst_stream(1, Code.CANCEL)
    assert reset in client.received(reset)


def test_a_stream_whose_answers_are_not_read_ends_before_they_are_many(server, monkeypatch):
    monkeypatch.setattr(calls, "MAX_UNREAD_BYTES", 100_000)
    client = Client(server, frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
    client.send(client.request(1, STREAM))
    one = message(500)  # and 10 KB of answer
    for _ in range(12):
        client.send(frame(frames.DATA, 0, 1, one))
    assert status(client.received(b"grpc-status")) == "8"
    assert answers(server)


def test_answers_that_are_not_read_are_held_in_the_budget_of_bodies(stored_here):
    with grpc_server() as server:
        bodies, connections = server.gateway.bodies, server.service.connections
        bodies.limit = 10_000
        clients = [Client(server, frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 0})) for _ in range(2)]
        for client in clients:
            for stream in (1, 3, 5):  # 2 KB of answer each
                client.send(client.request(stream), frame(frames.DATA, frames.END_STREAM, stream, message(100)))
        wait(lambda: len(connections) == 1 and 6000 < bodies.taken < 6600)  # there is no room for both
        for client in clients:
            client.socket.close()
        wait(lambda: not connections and bodies.taken == 0)


class Turns(asyncio.Transport):
    """A transport to nobody, and how much was written in each turn of the event loop."""

    def __init__(self):
        super().__init__()
        self.written, self.per_turn, self.reads = b"", [], True

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True

    def is_closing(self):
        return False

    async def until(self, count, what):
        """Go on until this was written so often."""
        while (before := self.written.count(what)) < count:
            await asyncio.sleep(0)
            self.per_turn.append(self.written.count(what) - before)


@pytest.mark.parametrize("kind", ["messages", "calls"])
def test_what_a_client_has_sent_at_once_is_read_in_turns_with_other_clients(server, monkeypatch, kind):
    monkeypatch.setattr(connections, "TURN_SECONDS", 0.0)
    here = Client(server)
    if kind == "messages":  # each of which is answered at once, with an error
        sent = here.request(1, STREAM) + frame(frames.DATA, frames.END_STREAM, 1, bytes(5) * 100)
    else:
        unknown = [*HEADERS[:2], (b":path", b"/unknown"), *HEADERS[3:]]
        sent = b"".join(here.request(2 * n + 1, unknown, frames.END_HEADERS | frames.END_STREAM) for n in range(100))
    here.socket.close()

    async def read():
        transport, connection = Turns(), GrpcConnection(server.service)
        connection.connection_made(transport)
        try:
            connection.data_received(HELLO + sent)
            for _ in range(5):  # a client that reads by fits and starts gains no turns by it
                connection.pause_writing()
                connection.resume_writing()
            await transport.until(100, b"no model" if kind == "messages" else b"no method")
            await asyncio.sleep(0)
            assert transport.reads
        finally:
            connection.connection_lost(None)
        return transport.per_turn

    per_turn = asyncio.run_coroutine_threadsafe(asyncio.wait_for(read(), 60), server.loop).result(120)
    assert max(per_turn) == 1


def test_turns_change_no_answer(server, monkeypatch):
    """Each frame and each message of a stream in a turn of its own: streams, calls and large messages at once."""
    monkeypatch.setattr(connections, "TURN_SECONDS", 0.0)
    rows = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    with triton.InferenceServerClient(server.address) as client, triton.InferenceServerClient(server.address) as other:
        answered = queue.SimpleQueue()
        client.start_stream(lambda result, error: answered.put((result, error)))

        def inputs(values):
            each = triton.InferInput("features", list(values.shape), "FP32")
            each.set_data_from_numpy(values)
            return [each]

        for n, row in enumerate(rows):
            client.async_stream_infer("iris" if n % 4 else "nobody", inputs(row[None]), request_id=str(n))
        large = np.tile(rows, (25, 1))
        many = other.infer("iris", inputs(large)).as_numpy("probabilities")
        one_by_one = [other.infer("iris", inputs(row[None])).as_numpy("probabilities")[0] for row in rows]
        for n, expected in enumerate(one_by_one):
            result, error = answered.get(timeout=120)
            if n % 4:
                assert result.get_response().id == str(n)
                np.testing.assert_allclose(result.as_numpy("probabilities")[0], expected, rtol=1e-5)
            else:
                assert "no model 'nobody'" in str(error)
        client.stop_stream()
        np.testing.assert_allclose(many, np.tile(one_by_one, (25, 1)), rtol=1e-5)


@pytest.mark.parametrize(("turn_seconds", "most"), [(0.0, 1), (60.0, 16)])
def test_a_stream_that_is_ahead_of_its_answers_is_read_as_they_go(server, monkeypatch, turn_seconds, most):
    """Its client sends all it has, and then that it has ended."""
    waiting = []
    answered = streams.OpenStream.answered
    monkeypatch.setattr(
        streams.OpenStream, "answered", lambda stream: (waiting.append(len(stream.turns)), answered(stream))
    )
    monkeypatch.setattr(streams, "MAX_WAITING", 16)
    monkeypatch.setattr(connections, "TURN_SECONDS", turn_seconds)
    n_requests = 1000
    sent = message() * n_requests
    pieces = [frame(frames.DATA, 0, 1, sent[at : at + 16_000]) for at in range(0, len(sent), 16_000)]
    client = Client(server, frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 2**24}))
    client.send(frames.window_update(0, 2**24), client.request(1, STREAM), *pieces)
    client.send(frame(frames.DATA, frames.END_STREAM, 1, b""))
    data = client.received(b"grpc-status")
    assert status(data) == "0"
    assert data.count(b"probabilities") == n_requests
    assert max(waiting) == most
    client.socket.close()


def test_a_stream_may_send_more_small_requests_at_once_than_frames_that_ask_for_nothing(server):
    client = Client(server, frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 2**24}))
    client.send(frames.window_update(0, 2**24), client.request(1, STREAM))
    sent = [frame(frames.DATA, 0, 1, message())] * (2 * http2.BUDGET)
    client.send(*sent, frame(frames.DATA, frames.END_STREAM, 1, b""))
    data = client.received(b"grpc-status")
    assert status(data) == "0"
    assert data.count(b"probabilities") == len(sent)
    client.socket.close()


def test_messages_in_part_are_bounded_together(server):
    client = Client(server, frames.PREFACE + frames.settings({}))
    begin = b"\0" + (2**20 - 1).to_bytes(4)
    for n in range(4):  # each within its limit
        client.send(client.request(2 * n + 1), frame(frames.DATA, 0, 2 * n + 1, begin))
        for _ in range(55):
            client.send(frame(frames.DATA, 0, 2 * n + 1, bytes(16_000)))
    assert b"too many messages under way" in client.received(b"under way")
    client.socket.close()


def test_as_many_connections_as_are_allowed(server):
    wait(lambda: not server.service.connections)
    clients = [Client(server) for _ in range(8)]
    wait(lambda: len(server.service.connections) == 8)
    data = Client(server).received()
    assert b"too many connections" in data
    for client in clients:
        client.socket.close()
    wait(lambda: not server.service.connections)
    assert answers(server)


class Lingering:
    """Of HTTP."""

    def check_time(self, now):
        """It ends in time by itself."""


def test_an_http_connection_that_is_answered_for_the_last_time_is_none_of_them(server):
    wait(lambda: not server.service.connections)
    lingering = [Lingering() for _ in range(8)]
    server.call(server.service.connections.update, lingering)
    server.call(server.gateway.lingering.update, dict.fromkeys(lingering))
    try:
        assert answers(server)
        server.call(server.gateway.lingering.clear)
        assert b"too many connections" in Client(server).received()
    finally:
        server.call(server.service.connections.difference_update, lingering)


def wait(true, seconds=120):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_idle_connection_is_told_to_go(server):
    client = Client(server)
    data = client.received()
    assert frames.goaway(0, Code.NO_ERROR) in data


@pytest.mark.parametrize("kind", FLOODS)
def test_memory_stays_where_it_is_under_a_flood_and_others_are_answered(server, kind):
    process = psutil.Process()

    def blow():
        client, nth = Client(server), flood(kind, HEADERS)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for n in range(0, FRAMES, 100):
                client.send(*map(nth, range(n, n + 100)))
        client.socket.close()
        assert answers(server)
        wait(lambda: not server.service.connections)

    blow()
    before = process.memory_info().rss
    for _ in range(CONNECTIONS):
        blow()
    # One object that is kept of each frame would be more than that.
    assert process.memory_info().rss - before < FRAMES * CONNECTIONS * 128


def living():
    """How many calls and connections are held by anything."""
    gc.collect()
    return sum(type(each) in (calls.Call, GrpcConnection) for each in gc.get_objects())


def test_nothing_holds_a_call_or_a_connection_that_has_ended(server):
    wait(lambda: not server.service.connections)
    before, most = living(), 0
    with triton.InferenceServerClient(server.address) as client:
        tensor = triton.InferInput("features", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
        for _ in range(20):
            client.infer("iris", [tensor])
            client.async_infer("iris", [tensor], lambda result, error: None).cancel()
            with pytest.raises(triton.InferenceServerException, match="no model"):
                client.infer("nope", [tensor])
            most = max(most, living())
    assert most > before  # the connection was one of them
    wait(lambda: living() <= before)


@pytest.mark.parametrize(
    ("everybody", "opens"), [(True, ""), (False, "predict,synthetic"), (False, "predict"), (False, "")]
)
def test_a_call_says_that_it_is_a_load_tests_where_it_may(tmp_path, everybody, opens):
    said = []
    keys.main(["load", "--opens", opens or "predict"], said.append)
    (file := tmp_path / "keys").write_text(said[0].splitlines()[1][6:])
    front = Gateway(None, (), None, Limits(1), Keys(file) if opens else None, synthetic=everybody)
    service, method = GrpcService({}, front, 0), SimpleNamespace(path="/v2/models")
    headers = {b"authorization": b"Bearer " + said[0].split()[1].encode(), b"x-ekiben-synthetic": b"1"}
    assert service.is_synthetic(headers, method) == (everybody or "synthetic" in opens)


def test_keys_and_hosts_are_those_of_http(stored_here, tmp_path):
    said = []
    keys.main(["reader", "--opens", "metrics"], said.append)
    keys.main(["caller", "--per-second", "0.01"], said.append)
    (file := tmp_path / "keys").write_text("".join(words.splitlines()[1][6:] + "\n" for words in said))
    reader, caller = (words.splitlines()[0].split()[1] for words in said)
    tensor = triton.InferInput("features", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
    with grpc_server(keys=Keys(file), allowed_hosts=["127.0.0.1"]) as server:
        with triton.InferenceServerClient(server.address) as client:

            def status(key):
                try:
                    client.infer("iris", [tensor], headers={"authorization": f"Bearer {key}"} if key else None)
                except triton.InferenceServerException as error:
                    return error.status().removeprefix("StatusCode.")
                return "OK"

            assert [status(key) for key in ("", "x", reader)] == [
                "UNAUTHENTICATED",
                "UNAUTHENTICATED",
                "PERMISSION_DENIED",
            ]
            assert [status(caller) for _ in range(2)] == ["OK", "RESOURCE_EXHAUSTED"]
            assert client.is_server_ready()
        with grpc.insecure_channel(server.address, [("grpc.default_authority", "evil.test")]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError) as raised:
                stub.ServerLive(service_pb2.ServerLiveRequest())
        assert raised.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_streams_requests_are_its_keys_and_it_ends_with_its_key(stored_here, tmp_path):
    said = []
    keys.main(["caller", "--per-second", "0.01"], said.append)
    key, line = said[0].splitlines()[0].split()[1], said[0].splitlines()[1][6:]
    (file := tmp_path / "keys").write_text(line)
    request = service_pb2.ModelInferRequest.FromString(message()[5:])
    to_send, known = queue.SimpleQueue(), Keys(file)
    with grpc_server(keys=known) as server, grpc.insecure_channel(server.address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = stub.ModelStreamInfer(iter(to_send.get, None), metadata=[("authorization", f"Bearer {key}")])
        to_send.put(request)
        assert next(answers).infer_response.model_name == "iris"
        for _ in range(2):
            to_send.put(request)
            assert next(answers).error_message == "key 'caller' may ask 0.01 times a second"
        file.write_text("# nobody\n")
        known._look_at = 0.0
        to_send.put(request)
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
        to_send.put(None)
