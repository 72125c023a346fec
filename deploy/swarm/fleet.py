"""A fleet on this machine, as an operator has it: the stack deployed, rolled out, hurt, and gone without a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from deploy.swarm.clients import ask

STACK = Path(__file__).parent / "stack.yaml"
SECONDS = 300  # that anything may take, on a machine that has other work too
# A release is the image with another setting: one that works, and one that the service refuses to start with.
RELEASE = "ARG IMAGE\nFROM $IMAGE\nARG BATCH\nENV EKIBEN_MAX_BATCH_SIZE=$BATCH\n"
COUNTERS = re.compile(r'^haproxy_backend_(?:retry|redispatch)_warnings_total\{proxy="ekiben"\} (\d+)', re.M)
REPLICAS = r'^haproxy_server_http_responses_total\{{proxy="{}",server="(\w+)",code="2xx"\}} [1-9]'


class FleetError(RuntimeError):
    """A docker command failed, or something did not happen in time; says which and what was seen."""


def docker(*words: str, **environment: str) -> str:
    """What a docker command prints. FleetError if it fails"""
    process = subprocess.run(
        ["docker", *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=SECONDS
    )
    if process.returncode:
        raise FleetError(f"docker {' '.join(words)} exited {process.returncode}: {process.stderr.strip()}")
    return process.stdout.strip()


def wait(condition: Callable[[], object], complaint: Callable[[], str]) -> None:
    """Until the condition holds. FleetError with the complaint after SECONDS"""
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise FleetError(f"after {SECONDS} s {complaint()}")
        time.sleep(0.5)


@contextmanager
def swarm() -> Iterator[None]:
    """This engine as the manager of a swarm, of this machine alone if it was in none."""
    if docker("info", "--format={{.Swarm.LocalNodeState}}") == "active":
        yield
        return
    docker("swarm", "init", "--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1:2377")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force")


@dataclass
class Fleet:
    """The stack of stack.yaml under a name, on a port and, for gRPC, the next one, with HAProxy's image."""

    name: str
    port: int
    front: str

    def deploy(self, image: str) -> None:
        """As an operator does; returns when Swarm has been told, not when it is done."""
        file = ["--compose-file", str(STACK), "--resolve-image=never", "--detach=true"]
        ports = {"EKIBEN_PORT": str(self.port), "EKIBEN_GRPC_PORT": str(self.port + 1)}
        settings = {"EKIBEN_IMAGE": image, "HAPROXY_IMAGE": self.front, **ports}
        docker("stack", "deploy", *file, self.name, **settings, FRONT_CONFIG=self.name, WATCH_CONFIG=self.name)

    def up(self, image: str) -> None:
        """Until both replicas answer."""
        self.deploy(image)
        wait(lambda: self.running("ekiben") == 2 and self.answers(), self.tasks)

    def down(self) -> None:
        """Without a trace: containers, networks, volumes."""
        docker("stack", "rm", self.name)
        label = f"--filter=label=com.docker.stack.namespace={self.name}"
        for kind, all_ in (("container", ["--all"]), ("network", [])):
            wait(
                lambda kind=kind, all_=all_: not docker(kind, "ls", "--quiet", *all_, label),  # type: ignore[misc]
                lambda kind=kind: f"there is a {kind} left",  # type: ignore[misc]
            )
        if volumes := docker("volume", "ls", "--quiet", label).split():
            docker("volume", "rm", *volumes)

    def roll(self, image: str) -> str:
        """The state in which the rollout ends: completed, or rollback_completed."""
        before = self.update()
        self.deploy(image)
        wait(lambda: self.update() != before and self.update()[1] in ("completed", "rollback_completed"), self.tasks)
        return self.update()[1]

    def update(self) -> tuple[str, str]:
        """When the last rollout began, and its state."""
        status = (
            json.loads(docker("service", "inspect", "--format={{json .UpdateStatus}}", f"{self.name}_ekiben")) or {}
        )
        return status.get("StartedAt", ""), status.get("State", "")

    def image(self) -> str:
        """What the replicas are to run."""
        return docker(
            "service", "inspect", "--format={{.Spec.TaskTemplate.ContainerSpec.Image}}", f"{self.name}_ekiben"
        )

    def kill_one(self) -> None:
        """SIGKILL to a replica's container; until another has taken its place."""
        wait(lambda: len(self.containers("ekiben")) == len(self.healthy()) == 2, self.tasks)
        victim = self.healthy()[0]
        docker("kill", victim)
        wait(lambda: victim not in self.healthy() and len(self.healthy()) == 2, self.tasks)

    def answers(self) -> bool:
        """Whether the front answers, and all is well behind it."""
        try:
            return bool(ask(self.port, "GET", "/health")["status"] == "ok")
        except (OSError, HTTPException):
            return False

    def running(self, service: str) -> int:
        """Tasks of a service that run."""
        words = ["service", "ls", f"--filter=name={self.name}_{service}", "--format={{.Replicas}}"]
        return int(docker(*words).partition("/")[0] or 0)

    def containers(self, service: str, *further: str) -> list[str]:
        """Ids of a service's containers on this machine."""
        label = f"--filter=label=com.docker.swarm.service.name={self.name}_{service}"
        return docker("ps", "--quiet", label, *further).split()

    def healthy(self) -> list[str]:
        """The containers of the replicas that pass their health check."""
        return self.containers("ekiben", "--filter=health=healthy")

    def tasks(self) -> str:
        """The state of every task, in words."""
        columns = "{{.Name}} {{.Image}} {{.CurrentState}} {{.Error}}"
        return "the tasks are\n" + docker("stack", "ps", "--no-trunc", f"--format={columns}", self.name)

    def inside(self, service: str, address: str) -> str:
        """GET from within the network; Prometheus' image has wget."""
        return docker("exec", self.containers(service)[0], "wget", "-qO-", address)

    def repeated(self) -> int:
        """Requests that the front has sent a second time since it started."""
        return sum(map(int, COUNTERS.findall(self.inside("prometheus", "http://front:8404/metrics"))))

    def answering(self, proxy: str = "ekiben") -> set[str]:
        """The front's names of the replicas that have answered a request; of gRPC, with the proxy of that name."""
        counts = self.inside("prometheus", "http://front:8404/metrics")
        return set(re.findall(REPLICAS.format(proxy), counts, re.M))


@contextmanager
def fleet(image: str, front: str, name: str, port: int) -> Iterator[Fleet]:
    """Two replicas that are ready."""
    with swarm():
        started = Fleet(name, port, front)
        try:
            started.up(image)
            yield started
        finally:
            started.down()


@contextmanager
def releases(image: str, name: str) -> Iterator[tuple[str, str]]:
    """Two releases made of an image, the first good, the second unable to start; removed in the end."""
    tags = f"{name}:good", f"{name}:bad"
    try:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Dockerfile").write_text(RELEASE)
            for tag, batch in zip(tags, (32, 0), strict=True):
                arguments = (f"--build-arg=IMAGE={image}", f"--build-arg=BATCH={batch}")
                docker("build", "--quiet", "--tag", tag, *arguments, folder)
        yield tags
    finally:
        docker("image", "rm", "--force", *tags)
