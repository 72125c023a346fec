"""A container on a hostile day: dead workers are replaced, SIGTERM drains, what cannot start ends."""

import http.client
import json
import re
import subprocess
import threading
from datetime import datetime

import pytest

from tests.container.conftest import docker, logs, running, wait
from tests.survival.conftest import IRIS, Load

pytestmark = pytest.mark.container
# BentoML's own images set it, and BentoML then starts no worker twice.
LIKE_BENTOML = "--env=BENTOML_CONTAINERIZED=1"
WORKERS = r"""
import glob
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if b"_bentoml_impl.worker.service" in open(path, "rb").read().split(b"\0"):
        print(path.split("/")[2])
"""


def test_a_killed_worker_is_replaced_under_load(slim):
    with running(slim, LIKE_BENTOML, "--env=EKIBEN_WORKERS=2", "--env=EKIBEN_MODELS=iris") as box:
        wait(lambda: len(times(box, "is up")) == 2, lambda: f"not up:\n{logs(box.identity)}")
        with Load(box.url, 4, pause=0.005) as load:  # some hundred requests a second
            wait(lambda: load.answered > 50, lambda: f"hardly anything is answered: {load.seen}")
            box.inside("python", "-Sc", f"import os; os.kill({workers(box)[0]}, 9)")
            assert box.answers()  # the other one does
            wait(lambda: len(times(box, "is up")) == 3, lambda: f"not up:\n{logs(box.identity)}")
        assert sum(count for told, count in load.seen.items() if told != 200) <= 4  # what it held: one a client
        print(f"replaced after {times(box, 'is up')[-1] - times(box, 'killed by SIGKILL')[-1]:.1f} s")


def workers(box):
    return box.inside("python", "-Sc", WORKERS).split()


def times(box, words):
    """When lines with these words were logged, in seconds since 1970."""
    done = subprocess.run(["docker", "logs", "--timestamps", box.identity], capture_output=True, text=True, check=True)
    lines = re.findall(rf"^(\S+)Z .*{words}", done.stdout + done.stderr, re.M)
    return [datetime.fromisoformat(line[:26]).timestamp() for line in lines]


def test_sigterm_answers_what_was_accepted(slim):
    with running(slim, "--env=EKIBEN_MODELS=iris", "--env=EKIBEN_DRAIN_S=8") as box:
        host, port = box.url.removeprefix("http://").split(":")
        kept = http.client.HTTPConnection(host, int(port), timeout=240)
        kept.request("GET", "/readyz")
        assert kept.getresponse().read() == b'{"ready":true}'
        stopping = threading.Thread(target=docker, args=("stop", "--time=20", box.identity))
        stopping.start()
        wait(lambda: not box.answers(), lambda: "/readyz stays 200")
        kept.request("POST", "/iris/classify", json.dumps(IRIS), {"content-type": "application/json"})
        answer = kept.getresponse()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert b"setosa" in answer.read()
        stopping.join()
        assert docker("inspect", "--format={{.State.ExitCode}}", box.identity) == "0"


def test_a_container_whose_workers_cannot_start_ends_and_says_why(slim):
    # Metrics can be kept nowhere: /tmp is as small as /dev/shm.
    box = docker("run", "--detach", "--read-only", "--tmpfs=/tmp:size=64k", "--shm-size=64k", slim)
    try:
        assert docker("wait", box) == "1"
        assert "no room for metrics" in logs(box)
    finally:
        docker("rm", "--force", "--volumes", box)


def test_docker_calls_it_unhealthy_while_it_is_not_ready(slim):
    check = json.loads(docker("image", "inspect", "--format={{json .Config.Healthcheck}}", slim))
    assert "/readyz" in check["Test"][-1]
    with running(slim, "--env=EKIBEN_MODELS=iris", "--env=EKIBEN_DRAIN_S=8") as box:
        assert box.inside(*check["Test"][1:]) == ""
        docker("kill", "--signal=TERM", box.identity)
        wait(lambda: not box.answers(), lambda: "/readyz stays 200")
        with pytest.raises(AssertionError, match="exited 1"):
            box.inside(*check["Test"][1:])


def test_every_line_of_a_boxs_log_is_json_from_the_first(slim):
    with running(slim, "--env=EKIBEN_LOG_FORMAT=json", "--env=EKIBEN_MODELS=iris") as box:
        docker("stop", "--time=20", box.identity)
        lines = logs(box.identity).splitlines()
    said = [json.loads(line)["message"] for line in lines]
    assert "Service loaded from Bento directory" in said[0]


def test_a_box_that_is_asked_for_what_it_lacks_says_so_in_one_line_and_ends(slim):
    for setting, words in (
        ("EKIBEN_FORMS=pytorch", "there is no such form here; there is int8, onnx, optimized"),
        ("EKIBEN_API_KEYS=/keys", "EKIBEN_API_KEYS is no setting: did you mean EKIBEN_API_KEYS_FILE?"),
    ):
        box = docker("run", "--detach", f"--env={setting}", slim)
        try:
            assert docker("wait", box) == "1"
            assert words in logs(box)
            assert "Traceback" not in logs(box)
        finally:
            docker("rm", "--force", "--volumes", box)
