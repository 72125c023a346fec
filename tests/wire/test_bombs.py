"""Small bodies that inflate or parse into much work: nobody else waits for it, and memory stays flat."""

import gzip
import threading
import time
import zlib

import pytest

from tests.conftest import Server
from tests.wire.client import converse
from tests.wire.conftest import resident_bytes, workers
from tests.wire.messages import INFER, document, get, post

MIB = 2**20
CPU_SECONDS = 2.0  # of one bomb, in all threads of the worker: what somebody else may have to wait for
ROUNDS = 8
TENSOR = b'{"name":"features","shape":[1,4],"datatype":"FP32","data":[%b]}'


def numbers(count: int) -> bytes:
    return b'{"inputs":[' + TENSOR % (b"1," * count + b"1") + b"]}"


PLAIN = {
    "a list of eight million numbers": numbers(8_000_000),
    "as many fractions": b'{"inputs":[' + TENSOR % (b"0.1," * 4_000_000 + b"1") + b"]}",
    "eight million numbers in another member": b'{"x":['
    + b"1," * 8_000_000
    + b'1],"inputs":['
    + TENSOR % b"1,2,3,4"
    + b"]}",
    "four million outputs": b'{"inputs":[' + TENSOR % b"1,2,3,4" + b'],"outputs":[' + b"{}," * 4_000_000 + b"{}]}",
    "outputs with the same name": b'{"inputs":['
    + TENSOR % b"1,2,3,4"
    + b'],"outputs":['
    + b'{"name":"label"},' * 900_000
    + b'{"name":"label"}]}',
    "1.2 million parameters": b'{"parameters":{'
    + b'"a":0,' * 1_200_000
    + b'"a":0},"inputs":['
    + TENSOR % b"1,2,3,4"
    + b"]}",
    "a million inputs": b'{"inputs":[' + b"{}," * 4_000_000 + b"{}]}",
    "a million names": b'{"inputs":[' + b'{"name":"x"},' * 1_000_000 + b"{}]}",
    "a million rows": b'{"inputs":[{"name":"features","shape":[1000000,4],"datatype":"FP32","data":['
    + b"1,1,1,1," * 1_999_999
    + b"1,1,1,1]}]}",
    "a long text": b'{"id":"' + b"x" * (15 * MIB) + b'","inputs":[' + TENSOR % b"1,2,3,4" + b"]}",
    "escapes": b'{"id":"' + b"\\u0041" * (2 * MIB) + b'","inputs":[' + TENSOR % b"1,2,3,4" + b"]}",
    "brackets": b'{"id":' + b"[" * 60 + b"[]," * 5_000_000 + b"[]" + b"]" * 60 + b"}",
    "blanks": b" " * (15 * MIB) + document("x"),
}
NATIVE = {
    "a list of a million flowers": b"[" + b"{}," * 4_000_000 + b"{}]",
    "a million numbers for a flower": b'{"sepal_length":[' + b"1," * 7_000_000 + b"1]}",
    "a million fields": b"{" + b'"a":0,' * 2_000_000 + b'"a":0}',
}
BOMBS = {
    **{name: post(INFER, gzip.compress(body, 6), "Content-Encoding: gzip") for name, body in PLAIN.items()},
    **{name: post("/iris/classify", gzip.compress(body, 6), "Content-Encoding: gzip") for name, body in NATIVE.items()},
    "a hundred MiB of nothing": post(INFER, gzip.compress(b" " * 100 * MIB), "Content-Encoding: gzip"),
    "deflated numbers": post(INFER, zlib.compress(numbers(8_000_000)), "Content-Encoding: deflate"),
}


class Bomber(threading.Thread):
    """Sends a bomb so many times, one after the other."""

    def __init__(self, port: int, bomb: bytes, rounds: int) -> None:
        super().__init__(daemon=True)
        self.port, self.bomb, self.rounds = port, bomb, rounds
        self.statuses: list[int] = []

    def run(self) -> None:
        for _ in range(self.rounds):
            conversation = converse(self.port, self.bomb, answers=1)
            self.statuses += conversation.statuses


def cpu_seconds(server: Server) -> float:
    """That the largest worker has computed for, however busy the machine is."""
    times = workers(server)[0].cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_holds_nobody_up_and_leaves_nothing(plain, port, name):
    bomb = BOMBS[name]
    assert len(bomb) < 128 * 1024
    converse(port, bomb, answers=1)
    before, computed = resident_bytes(plain), cpu_seconds(plain)
    bomber = Bomber(port, bomb, ROUNDS)
    bomber.start()
    asked = 0
    while bomber.is_alive():
        assert converse(port, get(), answers=1).statuses == [200]
        asked += 1
        time.sleep(0.005)
    assert len(bomber.statuses) == ROUNDS and set(bomber.statuses) <= {200, 400, 413, 429, 503}, bomber.statuses
    each = (cpu_seconds(plain) - computed) / ROUNDS
    print(
        f"{name}: {sorted(set(bomber.statuses))}, {each:.2f} s of a processor each, {asked} asked for /livez meanwhile"
    )
    assert each < CPU_SECONDS
    assert resident_bytes(plain) - before < 96 * MIB
