"""The load test as Locust has it: with its web page, or headless by `python -m loadtest.load`.

.venv/bin/locust -f loadtest/locustfile.py --host http://127.0.0.1:3000     then open http://localhost:8089
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape, User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, Runner, WorkerRunner

from loadtest.load import report
from loadtest.load.plan import Plan, PlanError, add_options
from loadtest.load.records import read_thresholds, verdicts
from loadtest.load.users import TIMEOUT, Arrivals, CheckingUser, Client, LoadRun
from loadtest.progress import Progress
from loadtest.service import ServiceError

SPAWNED = 100  # users that are started in a second
GRACE = 2.0  # seconds that other processes may begin later
MESSAGE = "records"  # from another process when its part is over


@events.init_command_line_parser.add_listener
def options(parser: LocustArgumentParser) -> None:
    add_options(parser)


@events.init.add_listener
def init(environment: Environment, runner: Runner, **_: Any) -> None:
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
        assert self.runner
        try:
            self.run = run = self.run or self._begin(self.runner.environment)
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
    if isinstance(environment.runner, WorkerRunner):
        begin(environment, environment.runner.worker_index)


@events.test_stop.add_listener
def test_stop(environment: Environment, **_: Any) -> None:
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
    held = verdicts(read_thresholds(), run.records)
    report.write(folder, run.plan, run.records, held)
    report.draw(run.plan, run.records, held, folder / "load.png")
    print(report.text(run.plan, run.records, held), flush=True)
    print(f"\nwritten: {folder}/load.png, load.json, seconds.csv", file=sys.stderr)
    return 0 if all(verdict.met for verdict in held) else 1


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
