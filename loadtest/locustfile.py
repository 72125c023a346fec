"""The load test as Locust has it: with its web page, or headless by `python -m loadtest.load`.

.venv/bin/locust -f loadtest/locustfile.py --host http://127.0.0.1:3000     then open http://localhost:8089

Who asks are clients who wait for their answers (closed loop), or arrivals who come whatever happens (open loop).
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import gevent
from gevent.pool import Group
from locust import FastHttpUser, LoadTestShape, User, events, task
from locust.contrib.fasthttp import FastResponse
from locust.env import Environment
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING, MasterRunner, Runner, WorkerRunner

from loadtest.documents import Progress
from loadtest.load import report, requests
from loadtest.load.plan import Plan, PlanError, add_options, schedule
from loadtest.load.report import Records, read_thresholds, verdicts
from loadtest.load.requests import Request, WrongAnswer
from loadtest.service import ServiceError

TIMEOUT = 10.0  # seconds until a request has failed
ENDING = (STATE_STOPPING, STATE_CLEANUP, STATE_STOPPED)
REASON_CHARACTERS = 120
# Payloads of each model. Sent in equal shares, so many make a PSI of (bins − 1) / DRAWN from training by chance alone:
# 0.045 with ten bins, where drift begins at 0.2.
DRAWN = 200
SPAWNED = 100  # users that are started in a second
GRACE = 2.0  # seconds that other processes may begin later
MESSAGE = "records"  # from another process when its part is over


class LoadRun:
    """One run of a plan in one process, begun with its construction: requests in their mix, the clock, the records."""

    def __init__(self, plan: Plan, host: str, generator: int = 0, generators: int = 1) -> None:
        self.plan, self.generator, self.generators = plan, generator, generators
        self.records, self._numbers = Records(), count(1)
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
        return self._random.choice(self._requests[kind]), next(self._numbers)


def _by_kind(plan: Plan, host: str) -> dict[tuple[str, str], list[Request]]:
    """The requests to all models that the plan wants. PlanError, ServiceError"""
    served = {model.name: model for model in requests.describe(host, requests.folders())}
    models = plan.models or tuple(served)
    if missing := set(models) - served.keys():
        raise PlanError(f"--models: {min(missing)!r} is not served, or has no examples; there is {', '.join(served)}")
    kinds = defaultdict(list)
    for name in models:
        payloads = requests.drawn(host, served[name], DRAWN) or requests.examples(name)
        for request in requests.requests(served[name], payloads, plan.rows):
            kinds[request.kind].append(request)
    if not any(plan.shares(kinds)):
        raise PlanError(f"--mix {plan.mix} leaves nothing to ask of {', '.join(models) or 'a service without models'}")
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
            headers={**request.headers, **requests.common_headers()},
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
        """One request after the other."""
        self.ask()


class Arrivals(CheckingUser):
    """All arrivals of an open loop in this process, each in a greenlet and, while others wait, on a connection of its
    own."""

    concurrency = 4096

    @task
    def arrive(self) -> None:
        """Sends every request when it is due."""
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
        """Whether Locust wants its users to stop."""
        return self.environment.runner is None or self.environment.runner.state in ENDING


events.init_command_line_parser.add_listener(add_options)  # for the command line and the web page


@events.init.add_listener
def init(environment: Environment, runner: Runner, **_: Any) -> None:
    """Takes in the other processes' records; headless, exits with 2 where the plan cannot be run."""
    environment.stop_timeout = TIMEOUT + 1
    if isinstance(runner, MasterRunner):
        runner.register_message(MESSAGE, lambda msg, **_: _current().records.merge(msg.data))
    if _options(environment)["headless"] and not isinstance(runner, WorkerRunner):
        try:
            begin(environment)
        except (PlanError, ServiceError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)


def begin(environment: Environment, generator: int = 0) -> LoadRun:
    """A new run of what the options and the web page say, in this process. PlanError, ServiceError"""
    options = _options(environment)
    CheckingUser.current = LoadRun(Plan.of(options), environment.host or "", generator, options.get("generators", 1))
    return CheckingUser.current


class Shape(LoadTestShape):
    """How many users there are: clients as the shape has it, or in each process one who sends all its arrivals."""

    run: LoadRun | None = None

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """Users, users started a second and their class, now; None ends the test."""
        assert self.runner
        try:
            run = self.run = self.run or self._begin(self.runner.environment)
        except (PlanError, ServiceError) as error:
            print(error, file=sys.stderr)
            return None
        if run.elapsed > run.plan.seconds + (GRACE if run.generators > 1 else 0):
            self.runner.stop()  # Locust's master quits without waiting for the other processes; stopped first, it waits
            return None
        if run.plan.open:
            return run.generators, SPAWNED, [Arrivals]
        return max(1, round(run.plan.clients * float(run.plan.level(run.elapsed)))), SPAWNED, [Client]

    def _begin(self, environment: Environment) -> LoadRun:
        _options(environment)["generators"] = getattr(self.runner, "worker_count", 1)
        run = begin(environment)
        gevent.spawn(show_progress, run, environment)
        return run


@events.test_start.add_listener
def test_start(environment: Environment, **_: Any) -> None:
    """In another process: its part of the run begins."""
    if isinstance(environment.runner, WorkerRunner):
        begin(environment, environment.runner.worker_index)


@events.test_stop.add_listener
def test_stop(environment: Environment, **_: Any) -> None:
    """In another process: sends the records; in the first: gathers them and reports."""
    if isinstance(environment.runner, WorkerRunner):
        environment.runner.send_message(MESSAGE, _current().records.message())
        environment.stop_timeout = 0  # for so long Locust would now be deaf to the word to quit
    elif isinstance(shape := environment.shape_class, Shape) and shape.run:
        run, shape.run = shape.run, None  # the web page may start another
        if isinstance(environment.runner, MasterRunner):
            gather(run)
        environment.process_exit_code = conclude(run, Path(_options(environment)["out"]))


def gather(run: LoadRun) -> None:
    """Waits for the records of the other processes."""
    with gevent.Timeout(TIMEOUT, False):
        while run.records.merged < run.generators:
            gevent.sleep(0.05)
    if missing := run.generators - run.records.merged:
        print(f"{missing} of {run.generators} processes have not sent their records", file=sys.stderr)


def conclude(run: LoadRun, folder: Path) -> int:
    """Writes and prints the report. 0 if every threshold is met, else 1"""
    run.over = True
    outcomes = verdicts(read_thresholds(), run.records)
    report.write(folder, run.plan, run.records, outcomes)
    report.draw(run.plan, run.records, outcomes, folder / "load.png")
    print(report.text(run.plan, run.records, outcomes), flush=True)
    print(f"\nwritten: {folder}/load.png, load.json, seconds.csv", file=sys.stderr)
    return 0 if all(verdict.met for verdict in outcomes) else 1


def show_progress(run: LoadRun, environment: Environment) -> None:
    """A bar until the run is over, with Locust's figures of the last seconds, which it rounds."""
    print(run.plan, file=sys.stderr)
    with Progress(run.plan.seconds) as progress:
        while not run.over and run.elapsed < run.plan.seconds:
            total = environment.stats.total
            p50, p95 = (total.get_current_response_time_percentile(share) or 0 for share in (0.5, 0.95))
            failed = f"{total.num_failures} of {total.num_requests} failed"
            progress.tell(f"{total.current_rps:.1f} req/s, p50 {p50:.0f} ms, p95 {p95:.0f} ms, {failed}", run.elapsed)
            gevent.sleep(max(1.0, run.plan.seconds / 60))


def _options(environment: Environment) -> dict[str, Any]:
    return vars(environment.parsed_options)


def _current() -> LoadRun:
    assert CheckingUser.current, "a test was not started"
    return CheckingUser.current
