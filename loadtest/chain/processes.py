"""The services under measurement as plain processes of this machine: started all together, ended by their ids."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from loadtest.service import tree
from loadtest.service.process import Service, ServiceError, serve

START_SECONDS = 120
STOP_SECONDS = 15


class Services:
    """Starts services with homes of their own over the models of the user's store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.started: list[Service] = []

    def start(self, target: str, settings: Mapping[str, str]) -> Service:
        """`bentoml serve` of one target with these settings and no others. It is not ready yet."""
        home = self._folder / f"{len(self.started):02}-{target.rpartition(':')[2]}"
        home.mkdir(parents=True)
        self.started.append(serve(target, settings, home, home / "serve.log"))
        return self.started[-1]

    def wait(self) -> None:
        """Until all that were started are ready. SystemExit shows the log of one that is not."""
        deadline = time.monotonic() + START_SECONDS
        for service in self.started:
            while not _ready(service):
                if service.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{service.log.parent.name} is not ready:\n{service.log.read_text()[-3000:]}")
                time.sleep(0.2)

    def stop(self) -> None:
        trees = [tree.of(service.process) for service in self.started]
        for service in self.started:
            service.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for service, started in zip(self.started, trees, strict=True):
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(max(0.1, deadline - time.monotonic()))
            tree.kill(service.process, started)


def _ready(service: Service) -> bool:
    try:
        return bool(service.json("/health")["status"] == "ok")
    except ServiceError:
        return False


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Services]:
    """The services that are started inside; ended whatever happens."""
    started = Services(folder)
    try:
        yield started
    finally:
        started.stop()
