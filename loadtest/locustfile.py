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

from loadtest.load import plot, progress, report, thresholds
from loadtest.load.described import ServiceError
from loadtest.load.plan import Plan, PlanError, add_options
from loadtest.load.run import Run
from loadtest.load.users import TIMEOUT, Arrivals, Asker, Client

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
        runner.register_message(MESSAGE, lambda msg, **_: _current().records.take_in(msg.data))
    if _options(environment)["headless"] and not isinstance(runner, WorkerRunner):
        try:
            begin(environment)
        except (PlanError, ServiceError) as error:
            print(error, file=sys.stderr)
            sys.exit(2)


def begin(environment: Environment, generator: int = 0) -> Run:
    """A new run of what the options and the web page say, in this process. PlanError, ServiceError"""
    chosen = _options(environment)
    Asker.current = Run(Plan.of(chosen), environment.host or "", generator, chosen.get("generators", 1))
    return Asker.current


class Shape(LoadTestShape):
    """How many users there are: clients as the shape has it, or in each process one who sends all its arrivals."""

    run: Run | None = None

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

    def _begin(self, environment: Environment) -> Run:
        _options(environment)["generators"] = getattr(self.runner, "worker_count", 1)
        run = begin(environment)
        gevent.spawn(progress.tell, run, environment.stats)
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


def gather(run: Run) -> None:
    """Waits for the records of the other processes."""
    with gevent.Timeout(TIMEOUT, False):
        while run.records.taken_in < run.generators:
            gevent.sleep(0.05)
    if missing := run.generators - run.records.taken_in:
        print(f"{missing} of {run.generators} processes have not sent their records", file=sys.stderr)


def conclude(run: Run, folder: Path) -> int:
    """Writes and prints the report. 0 if every threshold is met, else 1"""
    run.over = True
    verdicts = thresholds.verdicts(thresholds.read(), run.records)
    report.write(folder, run.plan, run.records, verdicts)
    plot.draw(run.plan, run.records, verdicts, folder / "load.png")
    print(report.text(run.plan, run.records, verdicts), flush=True)
    print(f"\nwritten: {folder}/load.png, load.json, seconds.csv", file=sys.stderr)
    return 0 if all(verdict.met for verdict in verdicts) else 1


def _options(environment: Environment) -> dict[str, Any]:
    return vars(environment.parsed_options)


def _current() -> Run:
    assert Asker.current, "a test was not started"
    return Asker.current
