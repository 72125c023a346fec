"""What befalls the stack, one scene after the other; each says what happened, and what an operator saw of it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.night.hostile import SIDE, Answer, Request, arrive, flood, hostile_requests, send
from deploy.night.stack import Stack, box, get, kill, logs, ready, state
from deploy.swarm.clients import Counts, clients
from deploy.swarm.fleet import docker, releases, wait

UPLOADS = 64
KILLS = 10
CLIENTS, CALLS = 200, 2000  # of the chain's overload
RATED_CLIENTS, RATED_CALLS = 8, 200  # of the chain at the rate that it has
REFUSED, REFUSED_SECONDS = re.compile(r"status=429 .*request_ms=([\d.]+)"), 0.05
REFUSALS = {429, 503}
MOVED = "/dev/shm"  # noqa: S108 (where metrics go once a disk is full)
# A release in which one model's file has a byte more than its certificate says.
ALTERED = """ARG IMAGE
FROM $IMAGE
USER root
RUN for file in $(ls models/*/*/model.onnx | tail -1); do printf x >> $file; done
USER 1034:1034
"""
KILL_WORKER = """
import glob, os
for path in glob.glob("/proc/[0-9]*/cmdline"):
    if b"_bentoml_impl.worker.service" in open(path, "rb").read().split(b"\\0"):
        os.kill(int(path.split("/")[2]), 9)
        break
"""
RECEIVER = """
from http.server import BaseHTTPRequestHandler, HTTPServer
class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        print("received", b"Watchdog" in body, flush=True)
        self.send_response(200)
        self.end_headers()
HTTPServer(("", 8080), Receiver).serve_forever()
"""


@dataclass
class Scene:
    """One of them; `broken` are the promises that were not kept."""

    title: str
    happened: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def promise(self, kept: object, words: str) -> None:
        """Note one that was not kept."""
        if not kept:
            self.broken.append(words)

    def load(self, counts: Counts, lost: int = 0) -> None:
        """What clients had of it, who may lose so many requests."""
        self.happened.append(
            f"clients meanwhile: {counts.answered:,} answered, {counts.refused} refused, {counts.lost} lost, "
            f"the slowest after {counts.slowest:.2f} s"
        )
        self.promise(
            counts.answered and counts.lost + counts.refused <= lost, f"at most {lost} lost: {dict(counts.why)}"
        )

    def operator(self, stack: Stack) -> None:
        """Health and alerts, as they are now."""
        status, report = get(stack.port("EKIBEN_PORT"), "/health")
        words = report.get("status", "") if isinstance(report, dict) else report
        others = sorted(stack.alerts() - {"Watchdog"})
        self.seen.append(f"/health: {status} {words}; alerts: {', '.join(others) or 'none but Watchdog'}")

    def log(self, lines: Iterable[str], words: str) -> None:
        """The last line of a log with these words, which is promised."""
        matches = [line for line in lines if words in line]
        self.seen.append(f"log: {matches[-1].strip() if matches else ''}")
        self.promise(matches, f"a line of the log with {words!r}")


def statuses(answers: Iterable[Answer]) -> str:
    """`200 × 3, 429 × 61`"""
    counted = Counter(answer.status for answer in answers)
    return ", ".join(f"{status or 'no answer'} × {number}" for status, number in sorted(counted.items()))


def watched(scene: Scene, stack: Stack, receiver: str) -> None:
    """Alerting watches itself, and no log grows for ever."""
    began = time.monotonic()
    wait(lambda: "received True" in logs(receiver), lambda: f"no Watchdog: {logs(receiver)}")
    scene.happened.append(f"Watchdog reached its receiver {time.monotonic() - began:.0f} s after that was there")
    (alertmanager,) = stack.containers("alertmanager")
    scene.log(logs(alertmanager), "no bot's token")
    sizes = {tuple(state(each, "HostConfig.LogConfig.Config")) for each in stack.containers()}
    scene.seen.append(f"logs of {len(stack.containers())} containers: {', '.join(text for (text,) in sizes)}")
    scene.promise(all("max-size:10m" in text and "max-file:5" in text for (text,) in sizes), "50 MB of log each")
    _, answer = get(stack.port("PROMETHEUS_PORT"), "/api/v1/targets?state=active")
    up = Counter(f"{each['labels']['job']} {each['health']}" for each in answer["data"]["activeTargets"])
    scene.seen.append(f"targets: {', '.join(f'{name} × {number}' for name, number in sorted(up.items()))}")
    scene.promise(up == {"ekiben up": 2, "alertmanager up": 1}, f"Prometheus sees all: {dict(up)}")


@contextmanager
def watchdogs_receiver(stack: Stack, image: str) -> Iterator[str]:
    """The container that WATCHDOG_URL names."""
    where = (f"--network={stack.name}_default", "--network-alias=watchdog", "--entrypoint=python")
    identity = docker("run", "--detach", *where, image, "-Sc", RECEIVER)
    try:
        yield identity
    finally:
        docker("rm", "--force", identity)


def uploads(scene: Scene, stack: Stack) -> None:
    """Pictures and JSON that would take more memory than there is."""
    kinds = list(hostile_requests())
    replicas = stack.containers("ekiben")
    for what, requests in (
        (f"{UPLOADS} pictures of {SIDE} × {SIDE} RGBA at once", [kinds[0]] * UPLOADS),
        (f"{3 * len(kinds)} of all kinds at once", 3 * kinds),
    ):
        with clients(stack.port("EKIBEN_PORT"), 2) as counts:
            answers = flood(stack.port("EKIBEN_PORT"), requests, len(requests))
        scene.happened.append(f"{what}: {statuses(answers)}")
        scene.load(counts)
        allowed = {200, 400, 413, *REFUSALS}
        scene.promise({a.status for a in answers} <= allowed, f"answers in words: {statuses(answers)}")
        scene.promise(all(a.retry_after for a in answers if a.status in REFUSALS), "Retry-After with each refusal")
    for replica in replicas:
        scene.promise(state(replica, "State.OOMKilled", "RestartCount") == ["false", "0"], f"{replica[:12]} lives")
        scene.promise(not any("is gone" in line for line in logs(replica)), f"no worker of {replica[:12]} is killed")
    scene.operator(stack)


def worker_killed(scene: Scene, stack: Stack) -> None:
    """A worker of a replica gets SIGKILL, under load."""
    replica = stack.containers("ekiben")[0]
    with clients(stack.port("EKIBEN_PORT")) as counts:
        time.sleep(1)
        began = time.monotonic()
        docker("exec", replica, "python", "-Sc", KILL_WORKER)
        wait(lambda: not ready(replica), lambda: "the worker is still there")
        wait(lambda: ready(replica), lambda: "no new worker is ready")
        scene.happened.append(f"replaced after {time.monotonic() - began:.1f} s")
        time.sleep(1)
    scene.load(counts, lost=8)  # what it held: one request a client
    scene.log(logs(replica), "killed by SIGKILL")
    scene.operator(stack)


def replica_killed(scene: Scene, stack: Stack, image: str) -> None:
    """A replica's first process gets SIGKILL, under load."""
    replica = stack.containers("ekiben")[0]
    with clients(stack.port("EKIBEN_PORT")) as counts:
        time.sleep(1)
        began = time.monotonic()
        kill(replica, image)
        wait(lambda: state(replica, "RestartCount") == ["1"], lambda: "it is not started anew")
        wait(lambda: ready(replica), lambda: "it does not get ready")
        scene.happened.append(f"ready again after {time.monotonic() - began:.1f} s")
        time.sleep(1)
    scene.load(counts, lost=8)
    scene.operator(stack)


def kills_on_one_tmp(scene: Scene, image: str) -> None:
    """A box is killed again and again, and what it leaves in /tmp stays."""
    size = ("--opt=type=tmpfs", "--opt=device=tmpfs", "--opt=o=size=128m,mode=1777")
    volume = docker("volume", "create", *size)
    try:
        # The volume's files last as long as somebody has it.
        with box(image, "--entrypoint=sleep", tmp=f"--volume={volume}:/tmp", arguments=("600",)) as holder:
            options = ("run", "--detach", "--read-only", f"--volume={volume}:/tmp", "--memory=1g")
            identity = docker(*options, image)
            try:
                for _ in range(KILLS):
                    wait(lambda: ready(identity), lambda: f"not ready: {logs(identity)[-3:]}")
                    docker("kill", identity)
                    docker("start", identity)
                wait(lambda: ready(identity), lambda: f"not ready: {logs(identity)[-3:]}")
                used = docker("exec", holder, "sh", "-c", "du -sm /tmp").split()[0]
                scene.happened.append(f"killed {KILLS} times and ready each time; /tmp has {used} of its 128 MB in use")
            finally:
                docker("rm", "--force", identity)
    finally:
        docker("volume", "rm", "--force", volume)


def full_tmp(scene: Scene, image: str) -> None:
    """What a box writes to fills up while it runs, and then its worker has to be replaced."""
    with box(image, "--publish=127.0.0.1::3000", tmp="--tmpfs=/tmp:size=32m") as identity:
        wait(lambda: ready(identity), lambda: f"not ready: {logs(identity)[-3:]}")
        docker("exec", identity, "sh", "-c", "cat /dev/zero > /tmp/full 2> /dev/null; true")
        scene.promise(ready(identity), "it lives on")
        docker("exec", identity, "python", "-Sc", KILL_WORKER)
        wait(lambda: any(MOVED in line for line in logs(identity)), lambda: f"no word of it: {logs(identity)[-3:]}")
        port = int(docker("port", identity, "3000/tcp").splitlines()[0].rpartition(":")[2])
        wait(lambda: get(port, "/readyz")[0] == 200, lambda: "not ready")
        scene.happened.append(f"/iris/random: {get(port, '/iris/random')[0]}; /metrics: {get(port, '/metrics')[0]}")
        scene.promise(get(port, "/iris/random")[0] == get(port, "/metrics")[0] == 200, "it goes on, with its metrics")
        scene.log(logs(identity), MOVED)


def nobody_left(scene: Scene, stack: Stack) -> None:
    """Every replica is ended, and nothing starts it: somebody has to be woken."""
    replicas, began = stack.containers("ekiben"), time.monotonic()
    docker("kill", *replicas)
    status, _ = get(stack.port("EKIBEN_PORT"), "/iris/random")
    scene.happened.append(f"both replicas ended; the front answers {status}")
    scene.promise(status == 503, "the front says 503")
    wait(lambda: "ServiceDown" in stack.alerts(), lambda: f"the alerts are {stack.alerts()}")
    scene.seen.append(f"ServiceDown, a page, was in Alertmanager after {time.monotonic() - began:.0f} s")
    docker("start", *replicas)
    wait(lambda: all(map(ready, replicas)), lambda: "they do not start")
    wait(lambda: "ServiceDown" not in stack.alerts(), lambda: "ServiceDown does not end")
    scene.happened.append("started by hand, and the alert ended by itself")
    scene.operator(stack)


def refused_model(scene: Scene, stack: Stack, image: str) -> None:
    """An upgrade to a release in which one model's file is not the one that was certified."""
    tag = f"{stack.name}:altered"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile").write_text(ALTERED)
        docker("build", "--quiet", "--tag", tag, f"--build-arg=IMAGE={image}", folder)
    port = stack.port("EKIBEN_PORT")
    try:
        done = stack.script("upgrade.sh", EKIBEN_IMAGE=tag)
        scene.promise(done.returncode == 0, f"the upgrade goes through: {done.stderr[-300:]}")
        status, report = get(port, "/health")
        refused = {
            name: form["reason"]
            for name, model in report["models"].items()
            for form in model["forms"].values()
            if "reason" in form
        }
        scene.seen.append(f"/health: {status} {report['status']}; {'; '.join(f'{n}: {w}' for n, w in refused.items())}")
        scene.promise(report["status"] == "degraded" and len(refused) == 1, "degraded, and one reason")
        model = next(iter(refused), "")
        own = get(port, f"/v2/models/{model}/ready")[0]
        scene.happened.append(f"/readyz: {get(port, '/readyz')[0]}; /v2/models/{model}/ready: {own}")
        scene.promise(get(port, "/readyz")[0] == 200 and own != 200, "one model is not ready, the pod is")
        wait(lambda: "FormRefused" in stack.alerts(), lambda: f"the alerts are {stack.alerts()}")
        scene.seen.append("alert: FormRefused, a ticket")
        scene.promise(
            all(state(each, "RestartCount") == ["0"] for each in stack.containers("ekiben")), "nothing is started anew"
        )
        done = stack.script("upgrade.sh", EKIBEN_IMAGE=image)
        scene.promise(done.returncode == 0, f"back to the former image: {done.stderr[-300:]}")
        wait(lambda: "FormRefused" not in stack.alerts(), lambda: "FormRefused does not end")
        scene.happened.append("back to the former image, and the alert ended by itself")
        scene.operator(stack)
    finally:
        docker("image", "rm", "--force", tag)


def upgrades(scene: Scene, stack: Stack, image: str) -> None:
    """A release that works and one that cannot start, under load."""
    with releases(image, stack.name) as (good, bad):
        for what, tag, ends in (("a release", good, 0), ("one that cannot start", bad, 1)):
            began = time.monotonic()
            with clients(stack.port("EKIBEN_PORT")) as counts:
                done = stack.script("upgrade.sh", EKIBEN_IMAGE=tag)
            words = f", {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""
            scene.happened.append(f"{what}: exit code {done.returncode} after {time.monotonic() - began:.0f} s{words}")
            scene.promise(done.returncode == ends, f"exit code {ends}")
            scene.load(counts)
        running = {state(each, "Config.Image")[0] for each in stack.containers("ekiben")}
        scene.promise(running == {good}, f"{good} goes on: {running}")
        scene.operator(stack)
        stack.script("upgrade.sh", EKIBEN_IMAGE=image)


def asked_for_more(scene: Scene, image: str) -> None:
    """Boxes that are asked for what they lack, and a log in JSON."""
    for setting in ("EKIBEN_FORMS=pytorch", "EKIBEN_MODELS=nothing"):
        with box(image, f"--env={setting}") as identity:
            code = docker("wait", identity)
            scene.happened.append(f"{setting}: exit code {code}")
            scene.log(logs(identity), setting.partition("=")[0])
            scene.promise(code == "1" and not any("Traceback" in line for line in logs(identity)), "one line, and 1")
    with box(image, "--env=EKIBEN_LOG_FORMAT=json") as identity:
        wait(lambda: ready(identity), lambda: f"not ready: {logs(identity)[-3:]}")
        docker("stop", "--time=20", identity)
        odd = [line for line in logs(identity) if not _is_json(line)]
        scene.happened.append(f"EKIBEN_LOG_FORMAT=json: {len(logs(identity))} lines, {len(odd)} of them not JSON")
        scene.promise(not odd, f"every line is JSON: {odd[:3]}")


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def over_tls(scene: Scene, image: str) -> None:
    """A box that ends TLS itself is healthy, and keeps its graceful time."""
    with tempfile.TemporaryDirectory() as folder:
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        subprocess.run([*new, "-out", f"{folder}/crt", "-keyout", f"{folder}/key"], check=True, capture_output=True)
        Path(folder).chmod(0o755)
        (Path(folder) / "key").chmod(0o644)
        options = ("--ssl-certfile=/tls/crt", "--ssl-keyfile=/tls/key", "--ssl-ciphers=ECDHE+AESGCM")
        with box(image, f"--volume={folder}:/tls:ro", arguments=options) as identity:
            wait(lambda: ready(identity), lambda: f"not healthy: {logs(identity)[-3:]}")
            scene.happened.append("healthy over https")
            began = time.monotonic()
            docker("stop", "--time=20", identity)
            scene.happened.append(f"SIGTERM ended it after {time.monotonic() - began:.1f} s with exit code "
                                  f"{state(identity, 'State.ExitCode')[0]}")  # fmt: skip
            scene.promise(state(identity, "State.ExitCode") == ["0"], "it ends by itself")


def chain(scene: Scene, stack: Stack, image: str, file: bytes) -> None:
    """The check leaves the chain alone, a full volume is told, overload is shed."""
    port = stack.port("CHAIN_PORT")
    call: Request = ("/finalize", file, {"content-type": "image/png"})
    before = stack.containers("model", "preprocess", "postprocess")
    stack.compose("--profile", "test", "run", "--rm", "--no-TTY", "tests")  # FleetError unless it passes
    scene.promise(stack.containers("model", "preprocess", "postprocess") == before, "the check stops nothing")
    scene.happened.append("the check passed, and the chain went on")

    fill = (f"--volume={stack.name}_exchange:/exchange", "--entrypoint=sh", image, "-c")
    docker("run", "--rm", *fill, "cat /dev/zero > /exchange/full 2> /dev/null; true")
    answer, (status, report) = send(port, call), get(port, "/health")
    scene.happened.append(f"the exchange volume is full: {answer.status} {answer.text}")
    scene.seen.append(f"/health: {status} {report['status']}, volume: {report.get('volume')}")
    scene.promise(answer.status in (503, 507) and "volume" in answer.text, "503 or 507 in words")
    scene.promise(report["status"] == "degraded", "degraded")
    docker("run", "--rm", *fill, "rm /exchange/full")
    scene.promise(send(port, call).status == 200, "well again once there is room")

    overload(scene, port, call, lambda: logs(stack.containers("postprocess")[0]))
    status, report = get(port, "/health")
    scene.seen.append(f"/health after it: {status} {report['status']}")
    scene.promise(report["status"] == "ok", "well after it")


def overload(scene: Scene, port: int, call: Request, log: Callable[[], list[str]]) -> None:
    """More than the chain takes: twice its rate by clients who do not wait for each other, then many who ask on and on.

    The latter say nothing of how long a refusal takes: by Little's law it is their number over the rate at which this
    machine sends requests and refuses them.
    """
    began = time.monotonic()
    flood(port, [call] * RATED_CALLS, RATED_CLIENTS)
    rate = RATED_CALLS / (time.monotonic() - began)
    answers = arrive(port, call, 2 * rate, CALLS)
    scene.happened.append(f"{CALLS:,} calls at twice its rate, {2 * rate:.0f} a second: {statuses(answers)}")
    turned_away = sorted(answer.seconds for answer in answers if answer.status == 429)
    scene.promise(turned_away, "some are turned away")
    if turned_away:
        half, most = (turned_away[int(share * len(turned_away))] for share in (0.5, 0.95))
        own = sorted(float(ms) for line in log() for ms in REFUSED.findall(line))
        scene.happened.append(f"429 after {half * 1e3:.1f} ms in the median, 19 of 20 within {most * 1e3:.1f} ms")
        scene.seen.append(f"log: {len(own)} lines of a 429, after {own[len(own) // 2]:.1f} ms in the median")
        scene.promise(most < REFUSED_SECONDS, f"19 of 20 refusals within {REFUSED_SECONDS * 1e3:.0f} ms")
    crowd = flood(port, [call] * CALLS, CLIENTS)
    scene.happened.append(f"{CALLS:,} calls by {CLIENTS} clients: {statuses(crowd)}")
    slowest = max(answer.seconds for answer in answers + crowd)
    scene.happened.append(f"the slowest of all after {slowest:.2f} s")
    scene.promise({answer.status for answer in answers + crowd} <= {200, 429}, "nothing but 200 and 429")
    scene.promise(slowest < 5, "no call waits until its time is up")


def example(stack: Stack) -> bytes:
    """A picture that the service itself gives as an example."""
    _, answer = get(stack.port("EKIBEN_PORT"), "/digits/random")
    return base64.b64decode(answer["payload"]["image"].partition("base64,")[2])


Play = Callable[[Scene], None]
