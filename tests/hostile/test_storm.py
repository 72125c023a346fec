"""Some thousands of hostile connections, none lost, and a service that is none the worse for them."""

import asyncio
import time
import urllib.request

import psutil
import pytest

from tests.hostile import calls, fuzz
from tests.hostile.case import Case, judged
from tests.hostile.requests import KNOWN, right
from tests.hostile.storm import Tally, storm
from tests.hostile.wire import ask

CASES, SEED = 3000, 0
GROWTH = 32 * 2**20  # bytes that a worker may have grown by; a leak of one body a case would be ten times that


def family(server):
    """The server's processes, by id."""
    root = psutil.Process(server.process.pid)
    return {process.pid: process for process in (root, *root.children(recursive=True))}


def memory(server):
    return sum(process.memory_info().rss for process in family(server).values())


def files(server):
    return sum(process.num_fds() for process in family(server).values())


def series(server):
    """The metrics' names and labels."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=120) as answer:  # noqa: S310
        text = answer.read().decode()
    return {line.rpartition(" ")[0] for line in text.splitlines() if line and line[0] != "#"}


@pytest.fixture(scope="module", params=["http", "grpc"])
def aftermath(request, besieged, port, grpc_port):
    """What a storm came to, and what there was of the service before and after it."""

    def blown(first, count):
        cases = range(first, first + count)
        if request.param == "http":
            return asyncio.run(storm(port, (fuzz.case(SEED, n) for n in cases), Tally(count)))
        ways = {"send": calls.send, "canary": calls.CANARY}
        return asyncio.run(storm(grpc_port, (calls.case(SEED, n) for n in cases), Tally(count), **ways))

    warm = blown(10**6, 500)  # first uses allocate, and are no leak
    before = memory(besieged), files(besieged), series(besieged), set(family(besieged))
    tally = blown(0, CASES)
    deadline = time.monotonic() + 120
    while files(besieged) > before[1] and time.monotonic() < deadline:
        time.sleep(0.2)
    after = memory(besieged), files(besieged), series(besieged), set(family(besieged))
    return warm, tally, before, after


def test_every_connection_ended_as_it_may(aftermath):
    warm, tally, _, _ = aftermath
    assert tally.done >= CASES
    assert not tally.wrong, str(tally)
    assert not warm.wrong, str(warm)
    assert len(tally.statuses) > 4, "a storm that is all alike finds nothing"


def test_no_worker_died(aftermath):
    _, _, before, after = aftermath
    assert before[3] == after[3]


def test_memory_files_and_metrics_are_as_they_were(aftermath):
    _, _, before, after = aftermath
    assert after[0] - before[0] < GROWTH
    assert after[1] <= before[1]
    assert after[2] == before[2]


def test_right_requests_are_answered_right_again(port):
    hundred = Case("a hundred on one connection", (KNOWN * 100,), frozenset({200}), answers=100, right=right)
    came = ask(port, hundred.pieces, hundred.answers)
    assert not judged(hundred, came)
    assert len(came.answers) == 100
