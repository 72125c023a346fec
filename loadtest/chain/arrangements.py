"""The arrangements that are compared: one process, or three services by either transport, with one or two replicas.

They are measured in rounds in which every one is asked in turn, so that a machine's drift meets all alike.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest import wrk
from loadtest.machine import BackgroundLoad
from loadtest.peers.payloads import form
from loadtest.progress import Progress
from loadtest.service import HOST, ServiceProcess, request, serve
from loadtest.workload import http_request

WAYS = {"in process": "", "chain, HTTP": "http", "chain, volume": "volume"}
REPLICAS = (1, 2)
FIELD, BOUNDARY = "image", "ekiben-chain"
STOP_SECONDS = 15.0


class ChainError(Exception):
    """What was started cannot be compared; the message says why."""


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
        headers, body = form(FIELD, content, BOUNDARY)
        where = urlsplit(self.url)
        return json.loads(request(where.netloc, where.path, body, headers)[1])

    def requests(self, files: Sequence[bytes]) -> list[bytes]:
        """Whole uploads, one for each file."""
        where = urlsplit(self.url)
        return [http_request(where.port or 80, where.path, *form(FIELD, content, BOUNDARY)) for content in files]


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
    """ChainError unless all give the same answers, and each replica gives some."""
    expected = [arrangements[0].ask(content) for content in files]
    for each in arrangements[1:]:
        answers = [each.ask(content) for content in files]
        replicas = {answer.pop("replica", "") for answer in answers}
        if answers != expected:
            raise ChainError(f"{each.way}: its answers differ from those in process")
        if each.way != arrangements[0].way and len(replicas) != each.replicas:
            raise ChainError(f"{each.way}: {len(replicas)} replicas answer, not {each.replicas}")


def measure(
    arrangements: Sequence[Arrangement],
    files: Sequence[bytes],
    connections: Sequence[int],
    rounds: int,
    seconds: int,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    """One record per arrangement, number of connections and round. WrkError, ChainError"""
    for each in arrangements:
        run_load(each, files, max(connections), 1)
    for number in range(1, rounds + 1):
        for each in arrangements:
            for count in connections:
                record = run_load(each, files, count, seconds)
                words = f"round {number}/{rounds}  {each.way}, {each.replicas} × {count}"
                progress.tell(f"{words}  {record['rate']:,.0f} req/s, p50 {record['p50_ms']:.2f} ms")
                yield {"round": number, **record}


def run_load(each: Arrangement, files: Sequence[bytes], connections: int, seconds: int) -> dict[str, Any]:
    """One load, with the CPU that each stage spent on it in µs a request."""
    with wrk.request_file(each.requests(files)) as file:
        background, before = BackgroundLoad(), each.cpu_seconds()
        result = wrk.run(urlsplit(each.url).port or 80, file, connections, seconds)
    if result.failed or not result.requests:
        raise ChainError(f"{each.way}: {result.failed} of {result.requests} requests failed")
    spent = {stage: after - before[stage] for stage, after in each.cpu_seconds().items()}
    cpu = {stage: 1e6 * used / result.requests for stage, used in spent.items()}
    cell = {"way": each.way, "replicas": each.replicas, "connections": connections, "rate": result.rate}
    return {**cell, **asdict(result), "cpu_us": cpu, "background_cores": background.cores(sum(spent.values()))}
