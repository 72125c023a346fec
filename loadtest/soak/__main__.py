"""python -m loadtest.soak: an even load for a long time, and whether memory, file descriptors or latency grow.

Starts the service itself over the models in your BentoML store, pinned to all cores but the last, where the generator
is. It measures the capacity (closed loop, answered requests a second) and sends a share of it as Poisson arrivals, in
slices; after each, when its clients have left, the workers' memory (RSS) and open files are read. Growth is that of a
straight line through the samples after the warm-up, which is the first tenth.

  make models                                     # once
  python -m loadtest.soak --minutes 30            # prints the verdict; exit code 1 if a promise is broken
  python -m loadtest.soak --minutes 30 --write    # and writes table, verdict and plot into docs/reliability.md
  python -m loadtest.soak --minutes 1             # a look
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from loadtest import sections
from loadtest.openloop.loads import Load
from loadtest.openloop.shooting import GeneratorError, shoot
from loadtest.progress import Progress
from loadtest.promises import verdict
from loadtest.service.cores import Cores
from loadtest.service.machine import described
from loadtest.service.process import HOST, Service, ServiceError, running
from loadtest.service.questions import Questioner, Questions
from loadtest.soak import plot
from loadtest.soak.samples import Sample, judge, sample

CONNECTIONS = 32
SLICES = 180  # at most; none is shorter than SHORTEST seconds
SHORTEST = 2.0
FOLDER = Path("build/soak")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtest.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30, help="how long (30)")
    parser.add_argument("--load", type=float, default=0.7, help="share of the capacity (0.7)")
    parser.add_argument("--model", default="digits", help="a model in the store (digits)")
    parser.add_argument("--form", default="onnx", help="its form (onnx)")
    parser.add_argument("--workers", type=int, help="EKIBEN_WORKERS (one for each core of the service)")
    parser.add_argument("--write", action="store_true", help="write into --doc, between <!-- soak --> marks")
    parser.add_argument("--doc", type=Path, default=Path("docs/reliability.md"), help="(docs/reliability.md)")
    asked = parser.parse_args(given)
    if not 0 < asked.load < 1:
        parser.error(f"--load {asked.load:g} must lie between 0 and 1")
    if asked.minutes < 0.4:
        parser.error(f"--minutes {asked.minutes:g} must be at least 0.4: a line needs some samples")
    return asked


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    if asked.write:
        sections.around(asked.doc, "soak")
    cores = Cores.split()
    workers = asked.workers or cores.count
    settings = {"EKIBEN_MODELS": asked.model, "EKIBEN_WORKERS": str(workers)}
    try:
        with running(settings, cores, FOLDER / "serve.log") as service:
            questions = Questioner(asked.model, binary=False).of(service, f"{asked.model}-{asked.form}")
            closed = Load(HOST, service.port, 0, CONNECTIONS, seconds=3)
            capacity = shoot(closed, questions.requests, questions.right, cores.generator).achieved
            samples = soaked(service, questions, cores, asked.load * capacity, 60 * asked.minutes)
    except (ServiceError, GeneratorError) as error:
        print(f"no soak: {error}", file=sys.stderr)
        return 2
    promises = judge(samples)
    caption = f"{asked.model}-{asked.form}, {workers} worker{'s' * (workers > 1)}; {cores}; {described()}"
    load = f"{asked.minutes:g} minutes at {asked.load:.0%} of a capacity of {capacity:,.0f} requests/s"
    text = verdict(promises, load, caption)
    print(text)
    (FOLDER / "soak.json").write_text(json.dumps([asdict(each) for each in samples], indent=1))
    picture = asked.doc.with_name("soak.png") if asked.write else FOLDER / "soak.png"
    plot.draw(samples, caption, picture)
    if asked.write:
        sections.replace(asked.doc, "soak", f"{text}\n\n![Memory, files and latency over the soak]({picture.name})")
    print(f"written: {picture}, {FOLDER / 'soak.json'}", file=sys.stderr)
    return 0 if all(promise.kept for promise in promises) else 1


def soaked(service: Service, questions: Questions, cores: Cores, rate: float, seconds: float) -> list[Sample]:
    """A sample after each slice."""
    each = max(SHORTEST, seconds / SLICES)
    progress, started = Progress(seconds), time.monotonic()
    samples: list[Sample] = []
    while (spent := time.monotonic() - started) < seconds:
        load = Load(HOST, service.port, rate, CONNECTIONS, each, warmup=0.2, seed=len(samples))
        shot = shoot(load, questions.requests, questions.right, cores.generator)
        time.sleep(0.1)  # the service notices that its clients have left
        samples.append(sample(time.monotonic() - started, service, shot))
        now = samples[-1]
        progress.say(f"{now.memory / 2**20:.0f} MiB, {now.files} files, median {now.p50:.1f} ms", spent)
    progress.close()
    return samples


if __name__ == "__main__":
    sys.exit(main())
