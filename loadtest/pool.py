"""The one service that runs at a time: another setting ends it and starts the next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest.machine import BackgroundLoad, Cores
from loadtest.measurement import Limit, Run, figures
from loadtest.openloop.load import GeneratorError, Load, LoadResult, run_load
from loadtest.service import HOST, ServiceError, ServiceProcess, serve
from loadtest.stages import scrape, since
from loadtest.workload import RequestSet, Workload


@dataclass
class Target:
    """A form of a running service, and what it is asked."""

    service: ServiceProcess
    model: str
    form: str
    workload: RequestSet
    cores: Cores

    def send(self, load: Load, check: bool = True) -> LoadResult:
        """What came of a load, its answers held against the expected ones. GeneratorError"""
        return run_load(load, self.workload.requests, self.workload.expected if check else [], self.cores.generator)

    def capacity(self, loads: int = 3) -> float:
        """Requests a second that 32 connections get which ask once they are answered; the median. GeneratorError"""
        closed = [Load(HOST, self.service.port, 0, 32, seconds=3, seed=seed) for seed in range(loads)]
        return sorted(self.send(load).achieved for load in closed)[loads // 2]

    def run(self, load: Load, limit: Limit) -> Run:
        """One load on it. ServiceError"""
        before = scrape(self.service, self.model, self.form)
        background, spent = BackgroundLoad(), self.service.cpu_seconds()
        try:
            result = self.send(load)
        except GeneratorError as error:
            raise ServiceError(f"the generator: {error}") from None
        spent = self.service.cpu_seconds() - spent
        cores = background.cores(spent)
        stages = since(before, self.service, self.model, self.form, result.statuses.get("200", 0))
        return figures(load, limit, result, stages, spent, self.service.memory_bytes(), cores)


class ServicePool:
    """`target` gives a form of the service under these settings, starting it if it is not the one that runs."""

    def __init__(self, workload: Workload, cores: Cores, log: Path) -> None:
        self.workload, self.cores = workload, cores
        self._log = log
        self._settings: Mapping[str, str] | None = None
        self._running = ExitStack()
        self._targets: dict[str, Target] = {}

    def service(self, settings: Mapping[str, str]) -> ServiceProcess:
        """The service of this model with these EKIBEN_ variables, ready. ServiceError if it does not start"""
        if self._settings != settings:
            self.close()
            variables = {"EKIBEN_MODELS": self.workload.model, **settings}
            self._service = self._running.enter_context(serve(".", variables, self._log, self.cores.pin))
            self._service.wait_ready()
            self._settings = dict(settings)
        return self._service

    def target(self, settings: Mapping[str, str], form: str) -> Target:
        """One form of that service. ServiceError"""
        service = self.service(settings)
        if form not in self._targets:
            model = self.workload.model
            requests = self.workload.requests(service, f"{model}-{form}")
            self._targets[form] = Target(service, model, form, requests, self.cores)
        return self._targets[form]

    def close(self) -> None:
        """Ends the service that runs."""
        self._settings, self._targets = None, {}
        self._running.close()

    def __enter__(self) -> ServicePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
