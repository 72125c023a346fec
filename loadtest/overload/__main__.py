"""python -m loadtest.overload: three times as much as the service can take, and whether it keeps its promises.

Starts the service itself, one worker over the models in your BentoML store, pinned to all cores but the last, where the
generator is. It measures the capacity first (closed loop, answered requests a second), then sends Poisson arrivals
whether or not earlier ones were answered (open loop): half the capacity, three times the capacity, half the capacity.
Goodput, the slowest answer, how soon the rest is turned away, memory and recovery are held against the limits.

  make models                                    # once
  python -m loadtest.overload                    # 90 s; prints the verdict; exit code 1 if a promise is broken
  python -m loadtest.overload --write            # and writes table, verdict and plot into docs/reliability.md
  python -m loadtest.overload --model homes --form sklearn --rows 16 --write     # the other cases that are shown there
  python -m loadtest.overload --model homes --form sklearn --rows 16 --anew --write
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest import sections
from loadtest.openloop.loads import Load
from loadtest.openloop.shooting import GeneratorError, shoot
from loadtest.overload import plot
from loadtest.overload.generator import Generator
from loadtest.overload.storm import Phase, Told
from loadtest.overload.verdict import judge
from loadtest.progress import Progress
from loadtest.promises import verdict
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import HOST, Service, ServiceError, running
from loadtest.service.questions import Questioner, Questions

TIMES = 3.0
CALM = 0.5
CALM_SECONDS = 6.0
# Enough that nobody waits for a connection while the service's queue of 2,048 rows fills.
CONNECTIONS = 3000
DEADLINE_MS = 1000.0


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="digits", help="a model in the store (digits)")
    parser.add_argument("--form", default="onnx", help="its form (onnx)")
    parser.add_argument("--rows", type=int, default=32, help="rows of a request (32)")
    parser.add_argument("--anew", action="store_true", help="every request over a connection of its own")
    parser.add_argument("--seconds", type=float, default=30, help="how long the overload lasts (30)")
    parser.add_argument(
        "--write", action="store_true", help="write into --doc, between <!-- overload-MODEL-FORM -->, -anew"
    )
    parser.add_argument("--doc", type=Path, default=Path("docs/reliability.md"), help="(docs/reliability.md)")
    asked = parser.parse_args(given)
    if asked.seconds < 4 or asked.rows < 1:
        parser.error(f"--seconds {asked.seconds:g} must be at least 4, --rows {asked.rows} at least 1")
    return asked


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    name = f"overload-{asked.model}-{asked.form}{'-anew' * asked.anew}"
    if asked.write:
        sections.around(asked.doc, name)
    allow_connections()
    cores = Cores.split()
    settings = {"EKIBEN_MODELS": asked.model, "EKIBEN_MAX_LATENCY_MS": f"{DEADLINE_MS:g}"}
    try:
        with running(settings, cores, Path("build/overload/serve.log")) as service:
            questions = Questioner(asked.model, True, asked.rows).of(service, f"{asked.model}-{asked.form}")
            capacity = capacity_of(service, questions, cores)
            calm = Phase(CALM * capacity, CALM_SECONDS)
            phases = [calm, Phase(TIMES * capacity, asked.seconds), calm]
            told, memory = endured(service, questions, cores, phases, 0 if asked.anew else CONNECTIONS)
    except (ServiceError, GeneratorError, RuntimeError) as error:
        print(f"no overload: {error}", file=sys.stderr)
        return 2
    deadline = DEADLINE_MS / 1e3
    promises = judge(told, phases, capacity, deadline, memory)
    how = f"{asked.rows} rows a request{', each over a new connection' * asked.anew}"
    caption = f"{asked.model}-{asked.form}, {how}, one worker; {cores}; {described()}"
    load = f"At {TIMES:g} times its capacity of {capacity:,.0f} requests/s"
    text = verdict(promises, load, caption)
    print(text)
    if asked.write:
        picture = asked.doc.with_name(f"{name}.png")
        sections.replace(asked.doc, name, f"{text}\n\n![Overload, second by second]({picture.name})")
    else:
        picture = Path("build/overload/overload.png")
    plot.draw(told, phases, capacity, deadline, memory, caption, picture)
    print(f"written: {picture}", file=sys.stderr)
    return 0 if all(promise.kept for promise in promises) else 1


def allow_connections() -> None:
    """As many open files as the system lets us have, for the service and the generator; both inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if 0 < most < 2 * CONNECTIONS:
        raise SystemExit(f"the limit of open files is {most}; {2 * CONNECTIONS} are needed: ulimit -Hn")


def capacity_of(service: Service, questions: Questions, cores: Cores) -> float:
    """Requests a second that are answered when 32 connections ask as fast as they are answered; the median of three."""
    loads = [Load(HOST, service.port, 0, 32, seconds=3, seed=seed) for seed in range(3)]
    return sorted(shoot(load, questions.requests, questions.right, cores.generator).achieved for load in loads)[1]


def endured(
    service: Service, questions: Questions, cores: Cores, phases: list[Phase], connections: int
) -> tuple[Told, list[tuple[float, float]]]:
    """What was told, and the service's memory meanwhile: (seconds since the start, bytes)."""
    generator = Generator((HOST, service.port), connections, phases, questions.requests, cores.generator)
    total = sum(phase.seconds for phase in phases)
    progress, started = Progress(total), time.monotonic()
    memory = []
    while (spent := time.monotonic() - started) < total:
        memory.append((spent, float(service.memory_bytes())))
        progress.say(f"{memory[-1][1] / 2**20:.0f} MiB", spent)
        time.sleep(1)
    progress.close()
    return generator.told(), memory


if __name__ == "__main__":
    sys.exit(main())
