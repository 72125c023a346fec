"""python -m loadtest.metrics_cost: what counting costs, as a share of the processor time of a worker at full load.

Comparing requests per second with and without counting cannot show a few percent where rounds differ by ten. But a
worker at full load has one core and spends all of it, so a share of its processor time is the same share of its
throughput. The service says itself how long it bins (ekiben_recording_seconds_total) and what its workers have used
(process_cpu_seconds_total). What it cannot see, putting figures into lists while it answers, is counted here: as many
readings of the clock and appends as the histograms have got observations, at what one of them costs on this machine.
And what Prometheus's visit takes, four times a minute.

  python -m loadtest.metrics_cost                     the table, into docs/monitoring.md; a minute; needs wrk
  python -m loadtest.metrics_cost --rounds 1 --dry    a first look, written nowhere
"""

from __future__ import annotations

import time
import timeit
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from loadtest import clients
from loadtest.documents import CHECKOUT, Progress, Section, command_line, render
from loadtest.machine import Cores, describe
from loadtest.measurement import Totals, sum_samples
from loadtest.service import ServiceError, ServiceProcess, run_command, serve
from loadtest.workload import Workload

TABLE = Section(CHECKOUT / "docs" / "monitoring.md", "cost")
LOG = Path("build/metrics-cost.log")
SETTINGS = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1"}
CONNECTIONS = 32
WARM_UP_SECONDS = 2
SCRAPES, SCRAPE_SECONDS = 10, 15  # to measure one; between two, as prometheus.yml has it
AT_MOST = 0.05
# Histograms whose observations are made one by one while requests wait; the others are made of whole batches.
ONE_BY_ONE = ("request_seconds", "queue_seconds", "preprocess_seconds", "infer_seconds", "postprocess_seconds",
              "batch_rows", "queue_depth_rows")  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one round: requests a second, and µs of processor time per request, of which so much goes into counting."""

    rate: float
    cpu: float
    binning: float
    appending: float
    scraping: float

    @property
    def share(self) -> float:
        """Of all processor time."""
        return (self.binning + self.appending + self.scraping) / self.cpu


def main() -> int:
    """The command: 0 where counting takes no more than it may, else 1. ServiceError"""
    parser = command_line("loadtest.metrics_cost", __doc__)
    parser.add_argument("--model", default="iris", help="a model of fields that are numbers (iris)")
    parser.add_argument("--rounds", type=int, default=5, help="how often it is measured (5)")
    parser.add_argument("--seconds", type=int, default=5, help="of one round (5)")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    options = parser.parse_args()
    clients.require_wrk()
    costs = measure(options.model, options.rounds, options.seconds)
    text = report(options.model, costs)
    print(text)
    if not options.dry:
        TABLE.replace(text)
    return 0 if median(cost.share for cost in costs) <= AT_MOST else 1


def measure(model: str, rounds: int, seconds: int) -> list[Cost]:
    """A cost for each round. ServiceError"""
    with serve(".", {**SETTINGS, "EKIBEN_MODELS": model}, LOG, Cores.split().pin) as service:
        service.wait_ready()
        requests = Workload(model, binary=False).requests(service, model).requests
        with clients.request_file(requests) as file, Progress(rounds) as progress:
            clients.run_wrk(service.port, file, CONNECTIONS, WARM_UP_SECONDS)
            scrape, costs = scrape_seconds(service), []
            for number in range(rounds):
                costs.append(one_round(service, file, seconds, scrape))
                progress.tell(f"round {number + 1}: {costs[-1].share:.1%}")
    return costs


def scrape_seconds(service: ServiceProcess) -> float:
    """Seconds of the worker's processor time that one answer of /metrics takes."""
    before = totals(service)["process_cpu_seconds_total"]
    for _ in range(SCRAPES - 1):
        service.request("/metrics")
    return (totals(service)["process_cpu_seconds_total"] - before) / SCRAPES


def one_round(service: ServiceProcess, file: Path, seconds: int, scrape: float) -> Cost:
    """The cost under one load. ServiceError if requests failed"""
    before = totals(service)
    result = clients.run_wrk(service.port, file, CONNECTIONS, seconds)
    grown = totals(service)
    grown.subtract(before)
    if result.failed:
        raise ServiceError(f"{result.failed} of {result.requests} requests failed; see {LOG}")
    appended = sum(grown[f"ekiben_{histogram}_count"] for histogram in ONE_BY_ONE)
    each = 1e6 / result.requests
    return Cost(
        rate=result.rate,
        cpu=grown["process_cpu_seconds_total"] * each,
        binning=grown["ekiben_recording_seconds_total"] * each,
        appending=appended * append_seconds() * each,
        scraping=scrape / SCRAPE_SECONDS / result.rate * 1e6,
    )


def totals(service: ServiceProcess) -> Totals:
    """Of all forms; of the processes, only the workers."""
    return sum_samples(service, lambda labels: labels.get("process") != "supervisor")


def append_seconds(times: int = 200_000) -> float:
    """One reading of the clock, a difference, and its append to a list."""
    names = "from time import perf_counter\nvalues, started = [], 0.0"
    statement = "values.append(perf_counter() - started)"
    return min(timeit.repeat(statement, names, timer=time.thread_time, number=times, repeat=3)) / times


def report(model: str, costs: list[Cost]) -> str:
    """Markdown: the table, medians and ranges, and the verdict."""
    values = {"model": model, "costs": costs, "median": median, "share": median(cost.share for cost in costs)}
    values |= {"connections": CONNECTIONS, "scrape_seconds": SCRAPE_SECONDS, "at_most": AT_MOST}
    return render(Path(__file__).with_suffix(".md"), machine=describe(), **values)


if __name__ == "__main__":
    run_command(main)
