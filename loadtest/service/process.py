"""`bentoml serve` with settings, from its start until it answers, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.service import tree
from loadtest.service.cores import Cores

CHECKOUT = Path(__file__).parents[2]
HOST = "127.0.0.1"
START_SECONDS = 120
REFUSING_SECONDS = 10  # of 503 from a service that is up: it will not get better


class ServiceError(Exception):
    """The service could not be started or asked; the message says why."""


@dataclass
class Service:
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        return ask(f"{HOST}:{self.port}", path, body, headers)

    def json(self, path: str) -> Any:
        return json.loads(self.ask(path)[1])

    def cpu_seconds(self) -> float:
        return tree.cpu_seconds(self.process)

    def memory_bytes(self) -> int:
        return tree.memory_bytes(self.process)


def ask(
    address: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[Mapping[str, str], bytes]:
    """Headers, by lower-case name, and body of a 200 answer to a GET, or to a POST of a body. ServiceError"""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServiceError(f"{address}{path}: {error!r}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise ServiceError(f"{address}{path}: {answer.status} {text[:200].decode(errors='replace')}")
    return {name.lower(): value for name, value in answer.headers.items()}, text


def models() -> Path:
    """The folder of the user's BentoML models."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").resolve() / "models"


def serve(
    target: str, settings: Mapping[str, str], home: Path, log: Path, pin: Callable[[], None] | None = None
) -> Service:
    """`bentoml serve` of a target in this checkout over the user's models, in a process group of its own; not ready.

    Its BentoML home is its own, since two servers must not share one; only the models in it are the user's, by a link.
    No EKIBEN_ variable and no settings file but `settings` reach it.
    """
    (home / "models").symlink_to(models())
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EKIBEN_")}
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "EKIBEN_SETTINGS": ""}
    port, none = _free_port(), subprocess.DEVNULL
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
    given = {**kept, **own, **settings}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=CHECKOUT, env=given, stdin=none, stdout=out, stderr=out, start_new_session=True, preexec_fn=pin
        )
    return Service(port, process, log)


@contextlib.contextmanager
def running(settings: Mapping[str, str], cores: Cores, log: Path) -> Iterator[Service]:
    """The service of this checkout, ready. It is ended at once: nobody else asks it, and its home is thrown away."""
    home = Path(tempfile.mkdtemp(prefix="ekiben-loadtest-"))
    log.parent.mkdir(parents=True, exist_ok=True)
    service = serve(".", settings, home, log, cores.pin)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        tree.kill(service.process, tree.of(service.process))
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(service: Service) -> None:
    deadline = time.monotonic() + START_SECONDS
    seen, up = "", 0.0
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            break
        try:
            service.ask("/readyz")
            return
        except ServiceError as error:
            seen = str(error)
            up = (up or time.monotonic()) if " 503 " in seen else 0.0
            if up and time.monotonic() - up > REFUSING_SECONDS:
                raise ServiceError(f"the service does not become ready: {seen}; see {service.log}") from None
        time.sleep(0.05)
    last = service.log.read_text(errors="replace").strip().rpartition("\n")[2]
    raise ServiceError(f"the service did not become ready: {last or seen}; see {service.log}")
