"""`bentoml serve` with settings, from its start until it answers, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

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

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers, by lower-case name, and body of a 200 answer to a GET, or to a POST of a body. ServiceError"""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(f"{path}: {error!r}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ServiceError(f"{path}: {answer.status} {text[:200].decode(errors='replace')}")
        return {name.lower(): value for name, value in answer.headers.items()}, text

    def json(self, path: str) -> Any:
        return json.loads(self.ask(path)[1])

    def cpu_seconds(self) -> float:
        return sum(times.user + times.system for times in self._each("cpu_times"))

    def memory_bytes(self) -> int:
        """What the service's processes hold; on Linux shared pages count once (PSS)."""
        return sum(getattr(memory, "pss", 0) or memory.rss for memory in self._each("memory_full_info"))

    def _each(self, what: str) -> list[Any]:
        found = []
        for process in _tree(self.process):
            with contextlib.suppress(psutil.Error):
                found.append(getattr(process, what)())
        return found


@contextlib.contextmanager
def running(settings: Mapping[str, str], cores: Cores, log: Path) -> Iterator[Service]:
    """The service of this checkout over the user's models, ready.

    Its BentoML home is its own, since two servers must not share one; only the models in it are the user's, by a link.
    No EKIBEN_ variable and no settings file but `settings` reach it.
    """
    home = Path(tempfile.mkdtemp(prefix="ekiben-loadtest-"))
    users = Path(os.environ.get("BENTOML_HOME", Path.home() / "bentoml"))
    (home / "models").symlink_to(users.resolve() / "models")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EKIBEN_")}
    own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "EKIBEN_SETTINGS": ""}
    port = _free_port()
    command = [sys.executable, "-m", "bentoml", "serve", ".", "--host", HOST, "--port", str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env={**kept, **own, **settings},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=cores.pin,
        )
    try:
        service = Service(port, process, log)
        _wait_until_ready(service)
        yield service
    finally:
        _end(process)
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


def _tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        return [root, *root.children(recursive=True)]
    return []


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once: nobody else asks it, its home is thrown away, and a graceful end takes two seconds."""
    started = _tree(process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for each in started:  # psutil never signals a process id that has been given to somebody else since
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
