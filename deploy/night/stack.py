"""The shipped stacks under names and on ports of their own, single boxes, and an operator's look at both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from deploy.swarm.fleet import SECONDS, FleetError, docker, wait

PORTS = range(10_000, 30_000)  # below those that Linux gives to who connects
COMPOSE = Path(__file__).parents[1] / "compose"
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=1g")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago, all different: none that the system hands to who connects."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            port = secrets.choice(PORTS)
            with contextlib.suppress(OSError):  # it is somebody's
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def get(port: int, path: str) -> tuple[int, Any]:
    """Status and JSON, also of an error; 0 and the reason where nobody answers."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, _parsed(answer.read())
    except HTTPError as error:
        return error.code, _parsed(error.read())
    except OSError as error:
        return 0, str(error)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def logs(identity: str) -> list[str]:
    """The lines of a container's log, without colours."""
    done = subprocess.run(["docker", "logs", identity], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return COLOURS.sub("", done.stdout).splitlines()


def state(identity: str, *fields: str) -> list[str]:
    """What the engine knows of a container, such as State.OOMKilled."""
    return docker("inspect", "--format=" + "|".join(f"{{{{.{field}}}}}" for field in fields), identity).split("|")


class Stack:
    """A compose project: its files, and variables for all of them."""

    def __init__(self, name: str, *files: str, **variables: str) -> None:
        self.name, self._files, self.variables = name, [f"--file={COMPOSE / file}" for file in files], variables

    def compose(self, *words: str, **variables: str) -> str:
        """What a compose command prints. FleetError"""
        return docker("compose", "--project-name", self.name, *self._files, *words, **self.variables, **variables)

    def port(self, variable: str) -> int:
        """The port on this machine that a variable of the stack names."""
        return int(self.variables[variable])

    def containers(self, *services: str) -> list[str]:
        """Their ids, in the order of their start."""
        return self.compose("ps", "--all", "--quiet", *services).split()

    def health(self) -> set[str]:
        """What the engine finds of its containers: healthy, unhealthy, starting, unchecked."""
        form = "{{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}}"
        return {docker("inspect", f"--format={form}", each) for each in self.containers()}

    def script(self, file: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """One of the scripts beside the compose files."""
        words = [str(COMPOSE / file), "--project-name", self.name]
        environment = {**os.environ, **self.variables, **variables}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=SECONDS)

    def down(self) -> None:
        """Without a trace."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "25")

    def alerts(self) -> set[str]:
        """The names of those that Alertmanager has."""
        _, alerts = get(self.port("ALERTMANAGER_PORT"), "/api/v2/alerts")
        return {alert["labels"]["alertname"] for alert in alerts} if isinstance(alerts, list) else set()


@contextmanager
def started(stack: Stack) -> Iterator[Stack]:
    """Until all are healthy, however long a busy machine takes; gone in the end."""
    try:
        stack.compose("up", "--detach")
        wait(lambda: stack.health() <= {"healthy", "unchecked"}, lambda: stack.compose("ps", "--all"))
        yield stack
    finally:
        stack.down()


@contextmanager
def box(image: str, *options: str, tmp: str = "--tmpfs=/tmp", arguments: tuple[str, ...] = ()) -> Iterator[str]:
    """The id of a container of the image, as somebody runs it who trusts nobody; removed in the end."""
    identity = docker("run", "--detach", *HARDENED, tmp, *options, image, *arguments)
    try:
        yield identity
    finally:
        docker("rm", "--force", "--volumes", identity)


def kill(identity: str, image: str) -> None:
    """SIGKILL to a container's first process, as the kernel does it: what `docker kill` ends is not started anew."""
    (pid,) = state(identity, "State.Pid")
    end = ("--entrypoint=python", image, "-Sc", f"import os; os.kill({pid}, 9)")
    docker("run", "--rm", "--pid=host", "--user=0", *end)


def ready(identity: str) -> bool:
    """Whether the image's own health check passes now. FleetError once the container has ended"""
    if state(identity, "State.Running") != ["true"]:
        raise FleetError(f"it ended: {logs(identity)[-3:]}")
    check = json.loads(docker("inspect", "--format={{json .Config.Healthcheck.Test}}", identity))[1:]
    return subprocess.run(["docker", "exec", identity, *check], capture_output=True).returncode == 0
