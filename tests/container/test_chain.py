"""The chain in containers: both replicas answer by both transports, one is killed under load, the check decides."""

import os
import secrets
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bentos import contract
from tests.conftest import ROOT, free_port
from tests.container.conftest import command, docker, logs, wait

pytestmark = pytest.mark.container
PROJECT = f"ekiben-chain-test-{os.getpid()}"
MODEL = "digits"
CALLS = 200
AT_ONCE = 4
STAGES = ("model", "preprocess", "postprocess")


class Chain:
    """The stack of chain.yaml under a name and on ports of its own."""

    def __init__(self, image):
        self.ports = {name: str(free_port()) for name in ("CHAIN_PORT", "PROMETHEUS_PORT")}
        self._environment = {"EKIBEN_IMAGE": image, "EKIBEN_CHAIN_MODEL": MODEL, **self.ports}
        examples = contract.BENTOS / MODEL
        self._file = (examples / contract.examples(MODEL)[0]).read_bytes()

    def compose(self, *words, seconds=300, **environment):
        file = str(ROOT / "deploy/compose/chain.yaml")
        words = ["docker", "compose", "--project-name", PROJECT, "--file", file, *words]
        return command(words, seconds, **self._environment, **environment)

    def up(self, transport):
        self.compose("up", "--detach", "--wait", "--wait-timeout", "280", seconds=300, EKIBEN_CHAIN_TRANSPORT=transport)

    def replicas(self, stage="model"):
        return self.compose("ps", "--quiet", stage).split()

    def call(self, client, **headers):
        url = f"http://127.0.0.1:{self.ports['CHAIN_PORT']}/finalize"
        return client.post(url, files={"image": ("file.png", self._file)}, headers=headers)

    def calls(self, count, at_once=AT_ONCE, meanwhile=lambda: None):
        """At least so many answers before and after what happens meanwhile, by clients that keep their connections."""
        warm, happened = threading.Barrier(at_once + 1, timeout=240), threading.Event()

        def several():
            with httpx.Client(timeout=240) as client:
                answers = [self.call(client) for _ in range(count // at_once)]
                warm.wait()
                while not happened.is_set():
                    answers.append(self.call(client))
                return answers + [self.call(client) for _ in range(count // at_once)]

        with ThreadPoolExecutor(at_once) as threads:
            answers = [threads.submit(several) for _ in range(at_once)]
            warm.wait()
            meanwhile()
            happened.set()
            return [answer for share in answers for answer in share.result()]

    def prometheus(self, query):
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/query"
        return httpx.get(url, params={"query": query}, timeout=240).json()["data"]["result"]

    def check(self, **environment):
        """What `docker compose --profile test run --rm tests` exits with, and what the tests printed."""
        file = str(ROOT / "deploy/compose/chain.yaml")
        words = ["docker", "compose", "--project-name", PROJECT, "--file", file, "--profile", "test"]
        done = subprocess.run(
            [*words, "run", "--rm", "--no-TTY", "tests"],
            env={**os.environ, **self._environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
        )
        return done.returncode, done.stdout.strip()


@pytest.fixture(scope="module")
def chain(slim):
    started = Chain(slim)
    try:
        started.up("http")
        yield started
    finally:
        started.compose("--profile", "test", "down", "--volumes", "--timeout", "10", seconds=300)


def seen(answers):
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["replica"].partition(":")[0] for answer in answers}


def hosts(chain):
    """The replicas of the model by the name that each has of itself: the first digits of its container's id."""
    return {identity[:12] for identity in chain.replicas()}


def test_both_replicas_answer_over_http(chain):
    assert len(hosts(chain)) == 2
    assert seen(chain.calls(CALLS)) == hosts(chain)


def test_one_trace_stands_in_the_logs_of_all_three(chain):
    trace = secrets.token_hex(16)
    with httpx.Client(timeout=240) as client:
        answer = chain.call(client, traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert answer.headers["traceparent"].split("-")[1] == trace
    for stage in STAGES:
        lines = [line for identity in chain.replicas(stage) for line in logs(identity).splitlines() if trace in line]
        assert len(lines) == 1 and "status=200" in lines[0], stage


def test_prometheus_scrapes_every_replica(chain):
    def up():
        return sorted(row["metric"]["host"] for row in chain.prometheus("up == 1"))

    wait(lambda: up() == sorted(["model", *STAGES]), lambda: f"up are {up()}", pause=1)
    counted = 'sum by (instance) (ekiben_chain_seconds_count{host="model"}) > 0'
    wait(lambda: len(chain.prometheus(counted)) == 2, lambda: "a replica has counted no request", pause=1)


def test_a_replica_that_is_killed_under_load_loses_no_request_and_comes_back(chain, slim):
    victim = chain.replicas()[0]

    def kill():  # its first process, as the kernel would: what `docker kill` ends is not started anew
        pid = docker("inspect", "--format={{.State.Pid}}", victim)
        one_liner = f"import os; os.kill({pid}, 9)"
        docker("run", "--rm", "--pid=host", "--user=0", "--entrypoint=python", slim, "-c", one_liner)

    seen(chain.calls(CALLS, meanwhile=kill))
    wait(lambda: docker("inspect", "--format={{.RestartCount}}", victim) == "1", lambda: "it is not started anew")

    def back():
        return seen(chain.calls(2 * AT_ONCE)) == hosts(chain)

    retried = 'ekiben_chain_retries_total{stage="preprocess"} > 0'
    wait(lambda: chain.prometheus(retried), lambda: "nothing was asked again, so nothing was tested", pause=1)
    wait(back, lambda: "the replica that was killed does not answer again", pause=0.5)


def test_both_replicas_answer_over_the_volume_and_leave_nothing_there(chain):
    chain.up("volume")
    answers = chain.calls(CALLS)
    assert seen(answers) == hosts(chain)
    (preprocess,) = chain.replicas("preprocess")
    assert docker("exec", preprocess, "sh", "-c", "echo $EKIBEN_CHAIN_TRANSPORT; ls -A /exchange") == "volume"


def test_a_stage_that_is_down_is_named(chain):
    chain.compose("stop", "--timeout", "10", "model")
    with httpx.Client(timeout=240) as client:
        answer = chain.call(client)
    assert answer.status_code == 503 and "the model stage is down" in answer.json()["error"]


def test_the_check_fails_and_passes_as_the_chain_is_wrong_or_right(chain):
    status, printed = chain.check(EKIBEN_CHAIN_TRANSPORT="volume", CHAIN_EXPECTED="3")
    assert status == 1 and "FAILED (failures=2)" in printed, printed[-3000:]
    status, printed = chain.check(EKIBEN_CHAIN_TRANSPORT="volume")
    assert status == 0 and printed.endswith("OK"), printed[-3000:]
    assert len(hosts(chain)) == 2  # the chain goes on
    seen(chain.calls(2 * AT_ONCE))


def test_the_check_runs_only_when_it_is_asked_for():
    file = str(ROOT / "deploy/compose/chain.yaml")
    plain, everything = (
        set(command(["docker", "compose", "--file", file, *profile, "config", "--services"], 20).split())
        for profile in ([], ["--profile", "test"])
    )
    assert plain == {*STAGES, "prometheus"} and everything - plain == {"tests"}
