"""The stack as it stands, in a swarm of one: replicas behind one port, and a load that loses nothing."""

import contextlib
import os
import socket
import threading
from collections import Counter

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from deploy.swarm.clients import clients
from deploy.swarm.fleet import fleet, releases
from deploy.swarm.rehearsal import scene
from tests.container.conftest import docker, running, wait

pytestmark = pytest.mark.container
NAME = f"ekiben-test-{os.getpid()}"


@pytest.fixture(scope="module")
def release(slim):
    docker("tag", slim, f"{NAME}:first")  # Swarm takes images by name
    with releases(f"{NAME}:first", NAME) as tags:
        yield dict(zip(("good", "bad"), tags, strict=True))
    docker("image", "rm", f"{NAME}:first")


@pytest.fixture(scope="module")
def stack(front, release):
    with fleet(f"{NAME}:first", front, NAME, two_free_ports()) as started:
        yield started
    for kind in ("container", "volume", "network"):
        assert not docker(kind, "ls", "--quiet", "--filter", f"label=com.docker.stack.namespace={NAME}")


def two_free_ports():
    """The first of two neighbours that nobody has, below those that the kernel gives to whoever asks for any."""
    for port in range(20000 + os.getpid() % 6000 * 2, 32768, 2):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("", port))
            other.bind(("", port + 1))
            return port
    raise AssertionError("no two ports are free")


@contextlib.contextmanager
def calls(port):
    """One gRPC connection asks iris until the block ends: its calls by what became of them. None is repeated."""
    seen, stop = Counter(), threading.Event()
    with triton.InferenceServerClient(f"127.0.0.1:{port}", channel_args=[("grpc.enable_retries", 0)]) as client:
        (declared,) = client.get_model_metadata("iris").inputs
        shape = [1, *declared.shape[1:]]
        row = triton.InferInput(declared.name, shape, declared.datatype)
        row.set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(declared.datatype)))

        def ask():
            while not stop.wait(0.01):
                try:
                    client.infer("iris", [row], client_timeout=240)
                    seen["answered"] += 1
                except InferenceServerException as error:
                    seen[str(error)] += 1

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield seen
        finally:
            stop.set()
            asking.join()


def nothing_lost(played):
    assert played.counts.answered > 100
    assert not played.counts.lost, played.counts.why
    assert not played.counts.refused


def test_two_replicas_answer_behind_one_port(stack):
    with clients(stack.port) as counts:
        wait(lambda: len(stack.answering()) == 2, lambda: f"only {stack.answering()} answered", pause=0.5)
    assert not counts.lost


def test_two_replicas_answer_the_calls_of_one_grpc_connection(stack):
    with calls(stack.port + 1) as seen:
        wait(lambda: len(stack.answering("grpc")) == 2, lambda: f"not both answered: {seen}", pause=0.5)
    assert set(seen) == {"answered"}


def test_a_rollout_loses_no_accepted_request(stack, release):
    with calls(stack.port + 1) as seen:
        played = scene(stack, "a rollout", lambda: stack.roll(release["good"]))
    assert (played.ended, stack.image()) == ("completed", release["good"])
    nothing_lost(played)
    assert set(seen) == {"answered"} and seen["answered"] > 100, seen


def test_a_release_that_does_not_start_is_taken_back_and_nobody_sees_it(stack, release):
    before = stack.image()
    played = scene(stack, "a release that does not start", lambda: stack.roll(release["bad"]))
    assert (played.ended, stack.image()) == ("rollback_completed", before)
    nothing_lost(played)


def test_a_killed_replica_loses_nothing_that_asking_again_would_not_save(stack):
    """At most what it was answering, one request a client: SIGKILL leaves it no time, nor the front an answer."""
    seen = scene(stack, "a replica is killed", stack.kill_one).counts
    assert seen.answered > 100
    assert seen.lost <= 8, seen.why
    assert all("RemoteDisconnected" in why for why in seen.why), seen.why


def test_the_stack_is_watched(stack):
    wait(
        lambda: '"1"' in stack.inside("prometheus", "http://127.0.0.1:9090/api/v1/query?query=up"),
        lambda: stack.inside("prometheus", "http://127.0.0.1:9090/api/v1/targets"),
        pause=1,
    )
    assert '"type":"alerting"' in stack.inside("prometheus", "http://127.0.0.1:9090/api/v1/rules")
    assert "alertmanager:9093" in stack.inside("prometheus", "http://127.0.0.1:9090/api/v1/alertmanagers")
    assert "BotFather" not in stack.inside("prometheus", "http://alertmanager:9093/api/v2/status")


def test_clients_do_see_a_loss(slim):
    """The same clients at a single container that is killed: what the tests above would have counted."""
    with running(slim) as container, clients(int(container.url.rpartition(":")[2])) as counts:
        wait(lambda: counts.answered > 10, lambda: f"{counts}")
        docker("kill", container.identity)
        wait(lambda: counts.lost, lambda: f"{counts}")
