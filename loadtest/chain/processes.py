"""The services under measurement as plain processes of this machine: started all together, ended by their ids."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.chain.shooting import ShotError, ask
from loadtest.peers.running import HOST, free_ports

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 120
STOP_SECONDS = 15


@dataclass
class Service:
    """One `bentoml serve` and all that it started."""

    target: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        total = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for each in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = each.cpu_times()
                    total += times.user + times.system
        return total


class Services:
    """Starts services with homes of their own over the models of the user's store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._models = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml").resolve() / "models"
        self.started: list[Service] = []

    def start(self, target: str, settings: Mapping[str, str]) -> Service:
        """`bentoml serve` of one target with these settings and no others. It is not ready yet."""
        (port,) = free_ports(1)
        home = self._folder / f"{len(self.started):02}-{target.rpartition(':')[2]}"
        home.mkdir(parents=True)
        (home / "models").symlink_to(self._models)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("EKIBEN_")}
        own = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "EKIBEN_SETTINGS": ""}
        command = [sys.executable, "-m", "bentoml", "serve", target, "--host", HOST, "--port", str(port)]
        log = home / "serve.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, cwd=CHECKOUT, env={**kept, **own, **settings}, stdout=out, stderr=out, start_new_session=True
            )
        self.started.append(Service(target, port, process, log))
        return self.started[-1]

    def wait(self) -> None:
        """Until all that were started are ready. SystemExit shows the log of one that is not."""
        deadline = time.monotonic() + START_SECONDS
        for service in self.started:
            while not _ready(service):
                if service.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{service.target} does not get ready:\n{service.log.read_text()[-3000:]}")
                time.sleep(0.2)

    def stop(self) -> None:
        for service in self.started:
            service.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for service in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)
            service.process.wait()


def _ready(service: Service) -> bool:
    try:
        return bool(ask(f"{service.url}/health")["status"] == "ok")
    except ShotError:
        return False


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """The services that are started inside; ended whatever happens."""
    started = Services(folder)
    try:
        yield started
    finally:
        started.stop()
