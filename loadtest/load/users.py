"""Who asks: clients who wait for their answers (closed loop), and arrivals who come whatever happens (open loop)."""

from __future__ import annotations

import random
from collections import defaultdict
from time import perf_counter
from typing import ClassVar

import gevent
from gevent.pool import Group
from locust import FastHttpUser, task
from locust.contrib.fasthttp import FastResponse
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING

from loadtest.load import metadata
from loadtest.load.plan import Plan, PlanError, schedule
from loadtest.load.records import Records
from loadtest.load.requests import Request, WrongAnswer, examples, folders, requests

TIMEOUT = 10.0  # seconds until a request has failed
ENDING = (STATE_STOPPING, STATE_CLEANUP, STATE_STOPPED)
REASON_CHARACTERS = 120
# Payloads of each model. Sent in equal shares, so many make a PSI of (bins − 1) / DRAWN from training by chance alone:
# 0.045 with ten bins, where drift begins at 0.2.
DRAWN = 200


class LoadRun:
    """One run of a plan in one process, begun with its construction: requests in their mix, the clock, the records."""

    def __init__(self, plan: Plan, host: str, generator: int = 0, generators: int = 1) -> None:
        self.plan, self.generator, self.generators = plan, generator, generators
        self.records = Records()
        self._count = 0
        self._random = random.Random(f"{plan.seed} {generator}")  # noqa: S311
        self._requests = _by_kind(plan, host)
        self._kinds = list(self._requests)
        self._shares = plan.shares(self._kinds)
        self.over = False  # also before its time, if somebody stops it
        self.started = perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self.started

    def draw(self) -> tuple[Request, int]:
        """The next request of the mix, and its number."""
        (kind,) = self._random.choices(self._kinds, self._shares)
        self._count += 1
        return self._random.choice(self._requests[kind]), self._count


def _by_kind(plan: Plan, host: str) -> dict[tuple[str, str], list[Request]]:
    """The requests to all models that the plan wants. PlanError, ServiceError"""
    served = {model.name: model for model in metadata.describe(host, folders())}
    wanted = plan.models or tuple(served)
    if missing := set(wanted) - served.keys():
        raise PlanError(f"--models: {min(missing)!r} is not served, or has no examples; there is {', '.join(served)}")
    kinds = defaultdict(list)
    for name in wanted:
        payloads = metadata.drawn(host, served[name], DRAWN) or examples(name)
        for request in requests(served[name], payloads, plan.rows):
            kinds[request.kind].append(request)
    if not any(plan.shares(kinds)):
        raise PlanError(f"--mix {plan.mix} leaves nothing to ask of {', '.join(wanted) or 'a service without models'}")
    return kinds


class CheckingUser(FastHttpUser):
    """Sends a request of the run and judges the answer."""

    abstract = True
    network_timeout = connection_timeout = TIMEOUT
    current: ClassVar[LoadRun | None] = None  # of this process, put here when a test starts

    def ask(self, due: float | None = None) -> None:
        """One request, due at a time of perf_counter, or now; its latency counts from then (no coordinated omission,
        Tene 2013, How NOT to Measure Latency)."""
        run = self.current
        assert run
        request, number = run.draw()
        sent = perf_counter()
        due = sent if due is None else due
        with self.client.post(
            request.path,
            data=request.body(number),  # type: ignore[arg-type] # which takes bytes too
            headers={**request.headers, **metadata.headers()},
            name=request.model.name,
            catch_response=True,
        ) as response:
            latency = perf_counter() - due
            response.request_meta |= {"response_time": latency * 1000, "request_type": request.interface}
            if reason := fault(request, number, response):
                response.failure(reason)
        run.records.add(request.kind, due - run.started, latency, sent - due, reason)


def fault(request: Request, number: int, response: FastResponse) -> str:
    """Why an answer is no good, or nothing."""
    if response.status_code != 200:
        return f"{response.status_code}: {(response.text or getattr(response, 'error', ''))!s:.{REASON_CHARACTERS}}"
    try:
        request.judge(number, response.content, response.headers)  # type: ignore[arg-type] # which is a mapping
    except WrongAnswer as error:
        return f"wrong: {error!s:.{REASON_CHARACTERS}}"
    return ""


class Client(CheckingUser):
    """One of a closed loop: asks, waits for the answer, asks again."""

    @task
    def again(self) -> None:
        self.ask()


class Arrivals(CheckingUser):
    """All arrivals of an open loop in this process, each in a greenlet and, while others wait, on a connection of its
    own."""

    concurrency = 4096

    @task
    def arrive(self) -> None:
        run, flying = self.current, Group()
        assert run
        for second in schedule(run.plan, run.generator, run.generators):
            due = run.started + float(second)
            gevent.sleep(max(0.0, due - perf_counter()))
            if self.ending():
                break
            flying.spawn(self.ask, due)
        flying.join(TIMEOUT)
        while not self.ending():  # a task that returns is begun again
            gevent.sleep(0.05)

    def ending(self) -> bool:
        return self.environment.runner is None or self.environment.runner.state in ENDING
