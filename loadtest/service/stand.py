"""The one service that runs at a time: another setting ends it and starts the next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from loadtest.service.cores import Cores
from loadtest.service.process import Service, running
from loadtest.service.questions import Questioner
from loadtest.service.run import Target


class Stand:
    """`target` gives a form of the service under these settings, starting it if it is not the one that runs."""

    def __init__(self, questioner: Questioner, cores: Cores, log: Path) -> None:
        self.questioner, self.cores = questioner, cores
        self._log = log
        self._settings: Mapping[str, str] | None = None
        self._running = ExitStack()
        self._targets: dict[str, Target] = {}

    def service(self, settings: Mapping[str, str]) -> Service:
        """The service of this model with these EKIBEN_ variables. ServiceError if it does not start"""
        if self._settings != settings:
            self.close()
            given = {"EKIBEN_MODELS": self.questioner.model, **settings}
            self._service = self._running.enter_context(running(given, self.cores, self._log))
            self._settings = dict(settings)
        return self._service

    def target(self, settings: Mapping[str, str], form: str) -> Target:
        service = self.service(settings)
        if form not in self._targets:
            model = self.questioner.model
            questions = self.questioner.of(service, f"{model}-{form}")
            self._targets[form] = Target(service, model, form, questions, self.cores)
        return self._targets[form]

    def close(self) -> None:
        self._settings, self._targets = None, {}
        self._running.close()

    def __enter__(self) -> Stand:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
