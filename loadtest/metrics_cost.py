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

import argparse
import json
import sys
import time
import timeit
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from prometheus_client.parser import text_string_to_metric_families

from loadtest import sections
from loadtest.peers import wrk
from loadtest.progress import Progress
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import HOST, Service, ServiceError, running

DOCUMENT = Path(__file__).parents[1] / "docs" / "monitoring.md"
LOG = Path("build/metrics-cost.log")
SETTINGS = {"EKIBEN_WORKERS": "1", "EKIBEN_ENGINE_THREADS": "1"}
BODIES, CONNECTIONS = 64, 32
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
        return (self.binning + self.appending + self.scraping) / self.cpu


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m loadtest.metrics_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="iris", help="a model of fields that are numbers (iris)")
    parser.add_argument("--rounds", type=int, default=5, help="how often it is measured (5)")
    parser.add_argument("--seconds", type=int, default=5, help="of one round (5)")
    parser.add_argument("--dry", action="store_true", help="write nothing")
    asked = parser.parse_args()
    wrk.require()
    try:
        found = measure(asked.model, asked.rounds, asked.seconds)
    except (ServiceError, wrk.WrkError) as error:
        raise SystemExit(str(error)) from None
    text = report(asked.model, found)
    print(text)
    if not asked.dry:
        sections.replace(DOCUMENT, "cost", text)
    return 0 if median(cost.share for cost in found) <= AT_MOST else 1


def measure(model: str, rounds: int, seconds: int) -> list[Cost]:
    progress = Progress(10 + WARM_UP_SECONDS + rounds * seconds)
    progress.say("starting the service", 0)
    with running({**SETTINGS, "EKIBEN_MODELS": model}, Cores.split(), LOG) as service:
        url, bodies = f"http://{HOST}:{service.port}/v2/models/{model}/infer", payloads(service, model)
        wrk.shoot(url, bodies, CONNECTIONS, WARM_UP_SECONDS)
        scrape, found = of_a_scrape(service), []
        for done in range(rounds):
            progress.say(f"round {done + 1} of {rounds}", 10 + WARM_UP_SECONDS + done * seconds)
            found.append(one(service, url, bodies, seconds, scrape))
    progress.close()
    return found


def of_a_scrape(service: Service) -> float:
    """Seconds of the worker's processor time that one answer of /metrics takes."""
    before = scraped(service)["process_cpu_seconds_total"]
    for _ in range(SCRAPES - 1):
        service.ask("/metrics")
    return (scraped(service)["process_cpu_seconds_total"] - before) / SCRAPES


def one(service: Service, url: str, bodies: list[bytes], seconds: int, scrape: float) -> Cost:
    before = scraped(service)
    shot = wrk.shoot(url, bodies, CONNECTIONS, seconds)
    after = scraped(service)
    if shot.failed:
        raise ServiceError(f"{shot.failed} of {shot.requests} requests failed; see {LOG}")
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    appended = sum(grown[f"ekiben_{name}_count"] for name in ONE_BY_ONE)
    each = 1e6 / shot.requests
    return Cost(
        shot.rate,
        grown["process_cpu_seconds_total"] * each,
        grown["ekiben_recording_seconds_total"] * each,
        appended * append_seconds() * each,
        scrape / SCRAPE_SECONDS / shot.rate * 1e6,
    )


def payloads(service: Service, model: str) -> list[bytes]:
    """V2 bodies of one row each, with values that the service finds typical."""
    (tensor,) = service.json(f"/v2/models/{model}")["inputs"]

    def body() -> bytes:
        values = [*service.json(f"/{model}/random")["payload"].values()]
        described = {"name": tensor["name"], "shape": [1, len(values)], "datatype": tensor["datatype"], "data": values}
        return json.dumps({"inputs": [described]}).encode()

    return [body() for _ in range(BODIES)]


def scraped(service: Service) -> Mapping[str, float]:
    """Sample name → its sum over all labels; of the processes, only the workers."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(service.ask("/metrics")[1].decode()):
        for sample in family.samples:
            if sample.labels.get("process") != "supervisor":
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def append_seconds(times: int = 200_000) -> float:
    """One reading of the clock, a difference, and its append to a list."""
    names = "from time import perf_counter\nfound, started = [], 0.0"
    counted = timeit.repeat(
        "found.append(perf_counter() - started)", names, timer=time.thread_time, number=times, repeat=3
    )
    return min(counted) / times


def report(model: str, found: list[Cost]) -> str:
    def figures(values: list[float], form: str) -> str:
        return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"

    share = median(cost.share for cost in found)
    verdict = "within" if share <= AT_MOST else "above"
    rows = [
        ["requests a second", figures([cost.rate for cost in found], ",.0f")],
        ["processor time of a request, µs", figures([cost.cpu for cost in found], ".1f")],
        ["of it binning, µs", figures([cost.binning for cost in found], ".2f")],
        ["of it clock and appends, µs", figures([cost.appending for cost in found], ".2f")],
        [f"of it a scrape every {SCRAPE_SECONDS} s, µs", figures([cost.scraping for cost in found], ".2f")],
        ["**share of all**", figures([cost.share for cost in found], ".1%")],
    ]
    return (
        f"{model} over V2, one row a request, {CONNECTIONS} connections, one worker; median of {len(found)} rounds, "
        f"and the range. {described()}.\n\n{sections.table(['', 'measured'], rows)}\n\n"
        f"Counting takes {share:.1%} of the worker's time, {verdict} the {AT_MOST:.0%} that it may take."
    )


if __name__ == "__main__":
    sys.exit(main())
