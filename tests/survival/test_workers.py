"""Workers that die, hang or cannot start: they are replaced, and who asks is told the truth meanwhile."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from tests.conftest import ROOT, copied_home, free_port, shared_home
from tests.survival.conftest import Load, wait, workers

pytestmark = pytest.mark.long
CLIENTS = 8


def status(url, path="/readyz"):
    return httpx.get(f"{url}{path}", timeout=120).status_code


def test_a_killed_worker_is_replaced_and_only_what_it_held_is_lost(serve, record_property):
    # As in BentoML's own images, where BentoML starts no worker twice.
    settings = {"EKIBEN_WORKERS": "2", "EKIBEN_MODELS": "iris", "EKIBEN_FORMS": "onnx", "BENTOML_CONTAINERIZED": "1"}
    with serve(**settings) as server:
        port = int(server.url.rsplit(":", 1)[1])
        wait(lambda: server.log.count("is up") == 2, 300, f"they are not up:\n{server.log}")
        with Load(server.url, CLIENTS) as load:
            wait(lambda: answers_counted(server.url) > 1000, 300, "hardly anything is counted")
            victim, other = workers(server)
            wait(lambda: held(victim, port) + held(other, port) == CLIENTS, 120, "not all clients are connected")
            of_victim, counted = held(victim, port), answers_counted(server.url)
            killed = time.monotonic()
            victim.kill()
            uncounted = load.answered + CLIENTS - counted  # at most so many answers of the victim were not written
            wait(lambda: {p.pid for p in workers(server)} - {victim.pid, other.pid}, 300, "no other worker is started")
            assert status(server.url) == 200  # the other one is
            assert re.search(r"^ekiben_workers 2\.0$", httpx.get(f"{server.url}/metrics").text, re.M)
            wait(lambda: server.log.count("is up") == 3, 300, f"it is not up:\n{server.log}")
            record_property("seconds_to_replace", time.monotonic() - killed)
            before = load.answered
            wait(lambda: load.answered > before + 100, 120, "nothing more is answered")
        wait(
            lambda: answers_counted(server.url) >= load.answered - uncounted,
            120,
            "what the dead worker had counted is lost",
        )
        assert re.search(
            r'^ekiben_worker_ends_total\{how="died"\} 1\.0$', httpx.get(f"{server.url}/metrics").text, re.M
        )
        beats = beating(server.url)
        wait(lambda: all(now > then for now, then in zip(beating(server.url), beats, strict=True)), 120, "no heartbeat")
    assert sum(count for told, count in load.seen.items() if told != 200) <= of_victim, load.seen
    assert load.seen["wrong"] == 0
    assert "killed by SIGKILL; another is started" in server.log


def answers_counted(url):
    counted = re.findall(r"^ekiben_requests_total\{.*\} (\S+)", httpx.get(f"{url}/metrics").text, re.M)
    return sum(float(count) for count in counted)


def beating(url):
    found = re.findall(
        r'^ekiben_worker_heartbeats_total\{worker="(\d+)"\} (\S+)', httpx.get(f"{url}/metrics").text, re.M
    )
    assert sorted(worker for worker, _ in found) == ["1", "2"]
    return [float(beats) for _, beats in sorted(found)]


def test_workers_hold_their_ports_connections_evenly_and_a_new_one_is_given_the_next(serve):
    grpc_port = free_port()
    with serve(
        EKIBEN_WORKERS="2", EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_GRPC_PORT=str(grpc_port)
    ) as server:
        wait(lambda: server.log.count("is up") == 2, 300, f"they are not up:\n{server.log}")
        for port in (int(server.url.rsplit(":", 1)[1]), grpc_port):
            # One that the machine gives no time is passed over, which may happen here, but not always.
            assert any(even(server, port) for _ in range(20))
        victim, other = workers(server)
        port = int(server.url.rsplit(":", 1)[1])
        with contextlib.ExitStack() as clients:
            connect(clients, port, 2 * EACH)
            wait(lambda: held(victim, port) + held(other, port) == 2 * EACH, 120, "not all are taken")
            kept = held(other, port)
            victim.kill()
            wait(lambda: server.log.count("is up") == 3, 300, f"it is not up:\n{server.log}")
            (new,) = (worker for worker in workers(server) if worker.pid != other.pid)
            wait(lambda: held(new, port) + held(other, port) == kept, 120, "those of the dead one are still there")
            assert any(mostly(new, other, port, kept) for _ in range(20))


def mostly(new, other, port, kept):
    """Whether a new worker takes most of as many clients as the other one has."""
    with contextlib.ExitStack() as clients:
        connect(clients, port, kept)
        wait(lambda: held(new, port) + held(other, port) == 2 * kept, 120, "not all are taken")
        taken = held(new, port)
    wait(lambda: held(new, port) + held(other, port) == kept, 120, "they are not gone")
    return taken >= kept - 4


def test_new_connections_of_both_protocols_are_left_to_the_worker_that_does_not_drain(serve):
    grpc_port = free_port()
    settings = {"EKIBEN_WORKERS": "2", "EKIBEN_MODELS": "iris", "EKIBEN_DRAIN_S": "5"}
    with serve(EKIBEN_GRPC_PORT=str(grpc_port), **settings) as server:
        wait(lambda: server.log.count("is up") == 2, 90, f"they are not up:\n{server.log}")
        draining, other = workers(server)
        draining.terminate()
        wait(lambda: "draining: not ready any more" in server.log, 20, "it does not drain")
        with contextlib.ExitStack() as clients:
            for port in (int(server.url.rsplit(":", 1)[1]), grpc_port):
                connect(clients, port, EACH)
                wait(lambda: held(other, port) == EACH, 20, "not all are taken by the one that stays")  # noqa: B023


EACH = 16


def connect(clients, port, n):
    for _ in range(n):
        clients.enter_context(socket.create_connection(("127.0.0.1", port)))


def held(worker, port):
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == port for c in worker.net_connections("tcp"))


def even(server, port):
    """Whether each worker takes its half: of those who come one after the other, and of those who come at once."""
    one, other = workers(server)
    with contextlib.ExitStack() as clients:
        for n in range(1, EACH + 1):
            connect(clients, port, 1)
            wait(lambda: held(one, port) + held(other, port) == n, 120, "it is not taken")  # noqa: B023
        connect(clients, port, EACH)
        wait(lambda: held(one, port) + held(other, port) == 2 * EACH, 120, "not all are taken")
        shared = min(held(one, port), held(other, port)) >= EACH - 1
    wait(lambda: held(one, port) + held(other, port) == 0, 120, "they are not gone")
    return shared


def test_sighup_renews_every_worker_and_loses_nothing(serve):
    with serve(EKIBEN_WORKERS="2", EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx") as server, Load(server.url, 4) as load:
        wait(lambda: server.log.count("is up") == 2, 300, f"they are not up:\n{server.log}")
        before = {worker.pid for worker in workers(server)}
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 300
        fewest = 2
        while before & (now := {worker.pid for worker in workers(server)}):
            fewest = min(fewest, len(now))
            time.sleep(0.02)
            assert time.monotonic() < deadline, f"not renewed:\n{server.log}"
        answered = load.answered
        wait(lambda: load.answered > answered + 50, 120, "nothing more is answered")
    assert fewest == 2
    assert set(load.seen) == {200}


def test_a_service_whose_workers_cannot_start_says_why_and_ends(store, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '_bentoml_impl.worker.service' in sys.orig_argv: sys.exit('no luck today')\n"
    )
    done = serve_to_its_end(shared_home(store, tmp_path), free_port(), PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "no luck today" in done.stderr
    assert "no worker starts: 3 tries failed, the last: exit code 1" in done.stderr


def test_a_port_that_is_taken_is_told_in_words(store, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve_to_its_end(shared_home(store, tmp_path), port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def serve_to_its_end(home, port, **environment):
    return subprocess.run(
        [sys.executable, "-m", "bentoml", "serve", ".", "--host", "127.0.0.1", "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_workers_end_when_their_supervisor_is_gone(serve, store, tmp_path):
    home = copied_home(store, tmp_path, "iris-onnx")
    with serve(home=home, EKIBEN_WORKERS="2") as server:
        orphans = workers(server)
        server.process.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(orphans, timeout=120)
        for process in alive:
            process.kill()
        assert len(gone) == 2
