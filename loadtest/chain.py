"""python -m loadtest.chain: one model's pipeline in one process and as three services, measured side by side.

Starts the one service with 1 and 2 workers, and chains over HTTP and over a shared volume with 1 and 2 replicas of the
model, as plain processes on free ports of 127.0.0.1. Checks that all give the same answers and that every replica
answers, then has wrk, which has to be installed, upload the model's example files to each in turn. The models are those
of the BentoML store (BENTOML_HOME).

  python -m loadtest.chain                                   about 4 minutes; writes docs/chain.md and docs/chain.png
  python -m loadtest.chain --rounds 1 --seconds 1 --out build/chain      a first look; the documentation stays as it is
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from loadtest import clients
from loadtest import figures as plots
from loadtest.documents import CHECKOUT, Progress, Section, command_line, render
from loadtest.load import requests
from loadtest.machine import BackgroundLoad, busy_warning, describe
from loadtest.peers.__main__ import numbers
from loadtest.service import HOST, ServiceError, ServiceProcess, request, run_command, serve
from loadtest.workload import http_request, multipart

WAYS = {"in process": "", "chain, HTTP": "http", "chain, volume": "volume"}
REPLICAS = (1, 2)
FIELD = "image"
STOP_SECONDS = 15.0
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
Record = dict[str, Any]
Cell = tuple[str, int, int]  # way, replicas, connections
STAGES = ("service", "postprocess", "preprocess", "model")
COLOURS = {"service": plots.RED, "postprocess": plots.PALE, "preprocess": "#7d93a8", "model": plots.BLUE}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The options. SystemExit where the model has no files"""
    parser = command_line("loadtest.chain", __doc__)
    add = parser.add_argument
    add("--model", default="digits", help="one that takes a file, with examples (digits)")
    add("--connections", type=numbers, default="1,8", metavar="N,M", help="kept open by wrk (1,8)")
    add("--rounds", type=int, default=3, help="how often each cell is measured (3)")
    add("--seconds", type=int, default=3, help="of one measurement, whole seconds (3)")
    add("--out", type=Path, default=CHECKOUT / "docs", help="folder of chain.md and chain.png (docs)")
    options = parser.parse_args(words)
    if not examples(options.model):
        parser.error(f"--model {options.model}: bentos/{options.model}/examples.json names no files")
    return options


def examples(model: str) -> list[Path]:
    """The example files of a model's folder; none where there is no such folder."""
    payloads = requests.examples(model) if model in requests.folders() else []
    return [payload for payload in payloads if isinstance(payload, Path)]


def main(words: list[str] | None = None) -> None:
    """The command. ServiceError where arrangements cannot be compared"""
    options = arguments(words)
    clients.require_wrk()
    # What compose shares between containers is memory, too.
    volume = Path(tempfile.mkdtemp(prefix="ekiben-chain-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
    try:
        write(options.out, run(options, volume))
    finally:
        shutil.rmtree(volume, ignore_errors=True)


def run(options: argparse.Namespace, volume: Path) -> Record:
    """Everything measured. ServiceError"""
    files = [example.read_bytes() for example in examples(options.model)]
    print("starting the services …", file=sys.stderr, flush=True)
    with start_all(options.model, volume, CHECKOUT / "build" / "chain") as arrangements:
        check(arrangements, files)
        with Progress(options.rounds * len(arrangements) * len(options.connections)) as progress:
            records = list(measure(arrangements, files, options, progress))
        check(arrangements, files)
        if left := list(volume.iterdir()):
            raise ServiceError(f"{len(left)} files were left on the volume")
    settings = {name: getattr(options, name) for name in ("model", "connections", "rounds", "seconds")}
    return {"machine": describe(), **settings, "records": records}


def write(folder: Path, results: Record) -> None:
    """chain.png, and the figures into chain.md, between its marks if it has any."""
    document, picture, raw = folder / "chain.md", folder / "chain.png", CHECKOUT / "build" / "chain.json"
    for each in (folder, raw.parent):
        each.mkdir(parents=True, exist_ok=True)
    if not document.is_file():
        document.write_text("<!-- chain-bench -->\n<!-- /chain-bench -->\n")
    draw(results, picture)
    raw.write_text(json.dumps(results, indent=1) + "\n")
    Section(document, "chain-bench").publish(markdown(results), picture, raw)


@dataclass(frozen=True)
class Arrangement:
    """One way to run the pipeline; `services` holds each stage's, and the model's replicas under one name."""

    way: str
    replicas: int
    url: str
    services: dict[str, list[ServiceProcess]]

    def cpu_seconds(self) -> dict[str, float]:
        """What each stage has used until now."""
        return {stage: sum(service.cpu_seconds() for service in own) for stage, own in self.services.items()}

    def ask(self, content: bytes) -> Any:
        """The JSON of a 200 answer to one file. ServiceError"""
        headers, body = multipart(FIELD, [("file", content)])
        return json.loads(request(self.url, body, headers)[1])

    def requests(self, files: Sequence[bytes]) -> list[bytes]:
        """Whole uploads, one for each file."""
        where = urlsplit(self.url)
        return [http_request(where.port or 80, where.path, *multipart(FIELD, [("file", each)])) for each in files]


@contextlib.contextmanager
def start_all(model: str, volume: Path, logs: Path) -> Iterator[list[Arrangement]]:
    """All arrangements, ready. The chains share the replicas of the model: only one of them is asked at a time."""
    common = {"EKIBEN_ENGINE_THREADS": "1", "EKIBEN_CHAIN_MODEL": model, "EKIBEN_CHAIN_VOLUME": str(volume)}
    with contextlib.ExitStack() as stack:
        started: list[ServiceProcess] = []

        def start(target: str, settings: dict[str, str]) -> ServiceProcess:
            log = logs / f"{len(started):02}-{target.rpartition(':')[2]}.log"
            started.append(stack.enter_context(serve(target, settings, log, grace_seconds=STOP_SECONDS)))
            return started[-1]

        def chain(way: str, transport: str, count: int) -> Arrangement:
            settings = {**common, "EKIBEN_CHAIN_TRANSPORT": transport}
            at = ",".join(f"{HOST}:{replica.port}" for replica in models[:count])
            pre = start("serving.chain.preprocess:PreprocessStage", {**settings, "EKIBEN_CHAIN_MODEL_AT": at})
            settings["EKIBEN_CHAIN_PREPROCESS_AT"] = f"{HOST}:{pre.port}"
            post = start("serving.chain.postprocess:PostprocessStage", settings)
            stages = {"postprocess": [post], "preprocess": [pre], "model": models[:count]}
            return Arrangement(way, count, f"{post.url}/finalize", stages)

        whole = {
            count: start("service:Ekiben", {**common, "EKIBEN_MODELS": model, "EKIBEN_WORKERS": str(count)})
            for count in REPLICAS
        }
        models = [start("serving.chain.model:ModelStage", common) for _ in range(max(REPLICAS))]
        chains = [chain(way, transport, n) for way, transport in WAYS.items() if transport for n in REPLICAS]
        for service in started:
            service.wait_healthy()
        (route,) = (route["route"] for route in whole[1].json("/schema.json")["routes"])
        yield [Arrangement("in process", n, one.url + route, {"service": [one]}) for n, one in whole.items()] + chains


def check(arrangements: Sequence[Arrangement], files: Sequence[bytes]) -> None:
    """ServiceError unless all give the same answers, and each replica gives some."""
    expected = [arrangements[0].ask(content) for content in files]
    for each in arrangements[1:]:
        answers = [each.ask(content) for content in files]
        replicas = {answer.pop("replica", "") for answer in answers}
        if answers != expected:
            raise ServiceError(f"{each.way}: its answers differ from those in process")
        if each.way != arrangements[0].way and len(replicas) != each.replicas:
            raise ServiceError(f"{each.way}: {len(replicas)} replicas answer, not {each.replicas}")


def measure(
    arrangements: Sequence[Arrangement], files: Sequence[bytes], options: argparse.Namespace, progress: Progress
) -> Iterator[Record]:
    """One record per arrangement, number of connections and round. ServiceError

    In rounds in which every one is asked in turn, so that a machine's drift meets all alike.
    """
    for each in arrangements:
        run_load(each, files, max(options.connections), 1)
    for number in range(1, options.rounds + 1):
        for each in arrangements:
            for count in options.connections:
                record = run_load(each, files, count, options.seconds)
                words = f"round {number}/{options.rounds}  {each.way}, {each.replicas} × {count}"
                progress.tell(f"{words}  {record['rate']:,.0f} req/s, p50 {record['p50_ms']:.2f} ms")
                yield {"round": number, **record}


def run_load(each: Arrangement, files: Sequence[bytes], connections: int, seconds: int) -> Record:
    """One load, with the CPU that each stage spent on it in µs a request."""
    with clients.request_file(each.requests(files)) as file:
        background, before = BackgroundLoad(), each.cpu_seconds()
        result = clients.run_wrk(urlsplit(each.url).port or 80, file, connections, seconds)
    if result.failed or not result.requests:
        raise ServiceError(f"{each.way}: {result.failed} of {result.requests} requests failed")
    spent = {stage: after - before[stage] for stage, after in each.cpu_seconds().items()}
    cpu = {stage: 1e6 * used / result.requests for stage, used in spent.items()}
    cell = {"way": each.way, "replicas": each.replicas, "connections": connections, "rate": result.rate}
    return {**cell, **asdict(result), "cpu_us": cpu, "background_cores": background.cores(sum(spent.values()))}


def summarize(records: Sequence[Record]) -> dict[Cell, Record]:
    """The medians over the rounds by cell, in the order of the records; cpu_us is that of all stages in `cpu`."""
    cells: dict[Cell, list[Record]] = {}
    for record in records:
        cells.setdefault((record["way"], record["replicas"], record["connections"]), []).append(record)
    medians = {}
    for cell, rounds in cells.items():
        cpu = {stage: median(record["cpu_us"][stage] for record in rounds) for stage in rounds[0]["cpu_us"]}
        medians[cell] = {
            name: median(record[name] for record in rounds) for name in ("rate", "p50_ms", "p95_ms", "p99_ms")
        }
        medians[cell] |= {"cpu": cpu, "cpu_us": sum(cpu.values())}
    return medians


def markdown(results: Record) -> str:
    """A table for each number of connections, and what the cut costs by the most of them."""
    cells = summarize(results["records"])
    busiest = max(results["connections"])
    whole, http, volume = (cells[way, 1, busiest] for way in ("in process", "chain, HTTP", "chain, volume"))
    busy = busy_warning(max(record["background_cores"] for record in results["records"]))
    words = {"results": results, "cells": cells, "busy": busy, "busiest": busiest}
    return render(Path(__file__).with_suffix(".md"), whole=whole, http=http, volume=volume, **words)


def draw(results: Record, path: Path) -> None:
    """Requests a second and CPU with the most connections, latency with the fewest; bars by stage."""
    cells = summarize(results["records"])
    quiet, busy = min(results["connections"]), max(results["connections"])
    rows = [cell for cell in reversed(cells) if cell[2] == busy]
    caption = f"median of {results['rounds']} rounds of {results['seconds']} s · {results['machine']}"
    title, grid = "One pipeline in one process, or as three services", {"ncols": 3, "sharey": True}
    with plots.figure(path, title, caption, (13, 3.9), **grid) as (rate, latency, cpu):
        rate.set_yticks(range(len(rows)), [f"{way}, {replicas}" for way, replicas, _ in rows])
        colours = [COLOURS["service" if way == "in process" else "model"] for way, *_ in rows]
        rates = rate.barh(range(len(rows)), [cells[cell]["rate"] for cell in rows], color=colours, height=0.66)
        for name, mark in (("p50", "o"), ("p95", "D"), ("p99", "s")):
            values = [cells[way, replicas, quiet][f"{name}_ms"] for way, replicas, _ in rows]
            latency.plot(values, range(len(rows)), mark, color=plots.INK, ms=5, fillstyle="none", label=name)
        ends = np.zeros(len(rows))
        for stage in STAGES:
            widths = [cells[cell]["cpu"].get(stage, 0.0) for cell in rows]
            label = "the one service" if stage == "service" else stage
            stages = cpu.barh(range(len(rows)), widths, left=ends, color=COLOURS[stage], height=0.66, label=label)
            ends = ends + widths
        for axis, bars, sums in ((rate, rates, rates.datavalues), (cpu, stages, ends)):
            axis.bar_label(bars, [f"{value:,.0f}" for value in sums], padding=4, weight="bold")
            axis.set_xlim(0, 1.2 * max(sums))
        latency.set_xlim(left=0)
        latency.legend(ncols=3, **plots.BELOW)
        cpu.legend(ncols=len(STAGES), columnspacing=1, handlelength=1.2, **plots.BELOW)
        for axis, words in ((rate, "requests/s"), (latency, "latency in ms"), (cpu, "CPU in µs a request")):
            axis.set_title(f"{words}, connections kept: {quiet if axis is latency else busy}")
            plots.bars_only(axis)


if __name__ == "__main__":
    run_command(main)
