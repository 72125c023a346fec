"""The measuring: in every round each peer is started, asked everything and ended, so that whoever waits takes no CPU.

Rounds rather than one long run each, because a machine's speed drifts: what is compared was measured minutes apart.
The order of the peers is drawn anew in each.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from loadtest import clients
from loadtest.clients import ClosedLoop
from loadtest.documents import CHECKOUT
from loadtest.machine import BackgroundLoad, processor
from loadtest.peers import payloads
from loadtest.peers.payloads import Samples
from loadtest.peers.peer import Peer, PeerError
from loadtest.service import HOST, ServiceError, ServiceProcess, free_ports, home_of_its_own, start

Record = dict[str, Any]
STOP_SECONDS = 10
# As many at once as make a server batch them: an answer that goes to the wrong request must not escape.
AT_ONCE = 16


@dataclass(frozen=True)
class Settings:
    """How the comparison is made; written into bench.json as it is."""

    models: list[str]
    payload: list[str]
    heads: list[str]
    connections: list[int]
    rounds: int
    seconds: float
    warmup: float
    seed: int = 0
    workers: int = 1  # of ours, and instances of each model of Triton's


@dataclass(frozen=True)
class Cell:
    """One column of the comparison, but for the heads."""

    payload: str
    model: str
    connections: int


@dataclass
class Bench:
    """The peers, the samples by model, and where the files are that every peer serves."""

    peers: list[Peer]
    samples: dict[str, Samples]
    settings: Settings
    onnx: dict[str, Path]
    logs: Path
    broken: dict[str, str] = field(default_factory=dict)

    def cells(self, peer: Peer) -> list[Cell]:
        """Those of one peer's row."""
        s = self.settings
        cells = [Cell(payload, model, count) for payload in s.payload for model in s.models for count in s.connections]
        return [cell for cell in cells if peer.path(cell.payload, cell.model, cell.connections)]

    @property
    def total(self) -> int:
        """Records that there will be."""
        heads = self.settings.heads
        return self.settings.rounds * sum(len(kinds(cell, heads)) for peer in self.peers for cell in self.cells(peer))

    def records(self) -> Generator[Record]:
        """One record per round, peer, cell and kind of heads."""
        draw = random.Random(self.settings.seed)  # noqa: S311
        for number in range(1, self.settings.rounds + 1):
            for peer in draw.sample(self.peers, len(self.peers)):
                for record in self._of_peer(peer, self.settings.heads[:: 1 if number % 2 else -1]):
                    yield {"round": number, **record}

    def _of_peer(self, peer: Peer, heads: list[str]) -> Iterator[Record]:
        todo = [(cell, kind) for cell in self.cells(peer) for kind in kinds(cell, heads)]
        if todo and peer.name not in self.broken:  # what did not start does not start a minute later
            try:
                with self._running(peer) as (server, routes):
                    while todo:
                        cell, kind = todo[0]
                        record = measure(server, routes[cell], cell, kind, self.settings)
                        todo.pop(0)
                        yield _record(peer, cell, kind) | record
            except (PeerError, ServiceError) as error:
                self.broken[peer.name] = str(error)
        yield from (_record(peer, *each) | {"rejected": self.broken[peer.name]} for each in todo)

    @contextlib.contextmanager
    def _running(self, peer: Peer) -> Iterator[tuple[ServiceProcess, dict[Cell, Route]]]:
        """The peer, and the route of each of its cells, which it answers."""
        scratch = Path(tempfile.mkdtemp(prefix="bench-"))
        port, spare_port = free_ports(2)
        home = home_of_its_own(scratch / "home")["BENTOML_HOME"]
        words = {
            "python": peer.python, "port": port, "spare_port": spare_port, "workers": self.settings.workers,
            "scratch": scratch, "home": home,
            "bentos": CHECKOUT / "examples" / "models" if "sentences" in self.onnx else "",
        }  # fmt: skip
        peer = replace(peer, routes=json.loads(json.dumps(peer.routes).replace("{spare_port}", str(spare_port))))
        own = {name: value.format(**words) for name, value in peer.environment.items()}
        paths = {f"{model.upper()}_ONNX": str(path) for model, path in self.onnx.items()}
        # What a library spreads over threads would show as speed that one worker with one engine thread does not have.
        environment = {"OMP_NUM_THREADS": "1", "TMPDIR": str(scratch), **paths, **own}
        command = [word.format(**words) for word in peer.command]
        log = self.logs / f"{peer.name}.log"
        with start(command, environment, peer.folder, log, port, scratch, grace_seconds=STOP_SECONDS) as server:
            routes: dict[Cell, Route] = {}
            for cell in self.cells(peer):
                path = str(peer.path(cell.payload, cell.model, cell.connections))
                route = Route(dialect(peer, cell.payload), path, self.samples[cell.model])
                server.wait_until(lambda route=route: route.ask(server, 0))  # type: ignore[misc]
                routes[cell] = route.expect(server)
            refuse_open_sockets(server)
            yield server, routes


def dialect(peer: Peer, payload: str) -> str:
    """The language of a payload at this peer."""
    return {"json": peer.dialect, "v2-json": "v2", "native": "fields", "sentences": "v2-binary"}.get(payload, payload)


def kinds(cell: Cell, heads: list[str]) -> list[str]:
    """The kinds of heads that a cell is measured with: h2load knows one head."""
    return [kind for kind in heads if kind == "fixed"] if cell.payload == "grpc" else heads


def _record(peer: Peer, cell: Cell, heads: str) -> Record:
    return {"peer": peer.name, **asdict(cell), "heads": heads}


@dataclass
class Route:
    """A route of a running peer, what it is asked, and the answers expected: ONNX Runtime's, or for pictures, which the
    service preprocesses, what it answers when it is asked alone."""

    dialect: str
    path: str
    samples: Samples
    expected: list[dict[str, np.ndarray]] = field(default_factory=list)

    def expect(self, server: ServiceProcess) -> Route:
        """Itself, with the expected answers of every sample. ServiceError"""
        for place in range(len(self.samples.rows)):
            answer: dict[str, Any] = {name: column[place] for name, column in self.samples.outputs.items()}
            if self.dialect == "picture":
                headers, text = self.ask(server, place)
                answer = payloads.outputs(self.dialect, text, headers)
            self.expected.append({name: np.asarray(value) for name, value in answer.items()})
        return self

    def ask(self, server: ServiceProcess, place: int) -> tuple[Any, bytes]:
        """Headers and body of the answer to one sample. ServiceError"""
        if self.dialect == "grpc":
            return {}, clients.call_model_infer(self.address, self.message(place))
        headers, content = payloads.body(self.dialect, self.samples, place)
        return server.request(self.path, content, headers)

    @property
    def address(self) -> str:
        """Of gRPC, which the path names before the model."""
        return self.path.partition("/")[0]

    def message(self, place: int) -> bytes:
        """Asks for one sample by gRPC."""
        row = self.samples.rows[place][None]
        return payloads.infer_request(self.path.partition("/")[2], self.samples.input, row)

    def faults(self, server: ServiceProcess) -> list[str]:
        """What is wrong with the answers to all samples; empty when all of them are right."""

        def one(place: int) -> str:
            try:
                headers, text = self.ask(server, place)
            except ServiceError as error:
                return str(error)
            return payloads.fault(self.dialect, self.expected[place], text, headers)

        with ThreadPoolExecutor(AT_ONCE) as threads:
            return [text for text in threads.map(one, range(len(self.samples.rows))) if text]


def measure(server: ServiceProcess, route: Route, cell: Cell, heads: str, settings: Settings) -> Record:
    """One cell of one round: right before, measured, right after. With `rejected` it counts for nothing."""
    try:
        with client(server, route, cell, heads) as load:
            if settings.warmup:
                load(settings.warmup)
            faults = route.faults(server)
            record = _measured(server, lambda: load(settings.seconds))
            faults += route.faults(server)
    except ServiceError as error:
        return {"rejected": str(error)}
    if faults:
        record["rejected"] = f"{len(faults)} of {2 * len(route.expected)} answers are wrong; the first: {faults[0]}"
    elif record["failed"]:
        record["rejected"] = f"{record['failed']} of {record['requests']} requests failed under load"
    return record


@contextlib.contextmanager
def client(server: ServiceProcess, route: Route, cell: Cell, heads: str) -> Iterator[Callable[[float], ClosedLoop]]:
    """What loads a route for so many seconds."""
    if route.dialect == "grpc":
        message, answer = route.message(0), route.ask(server, 0)[1]
        yield lambda seconds: clients.run_h2load(route.address, message, answer, cell.connections, seconds)
        return
    whole = payloads.requests(route.dialect, route.samples, server.port, route.path, heads)
    with clients.request_file(whole) as file:
        yield lambda seconds: clients.run_wrk(server.port, file, cell.connections, seconds)


def _measured(server: ServiceProcess, load: Callable[[], ClosedLoop]) -> Record:
    """A load with what it cost: the CPU of the server's whole tree, and what others took of the machine meanwhile."""
    background, before, started = BackgroundLoad(), server.cpu_seconds(), time.monotonic()
    result = load()
    elapsed, spent = time.monotonic() - started, server.cpu_seconds() - before
    return {
        **asdict(result),
        "rate": result.rate,
        "failed": result.failed,
        "cpu_us": 1e6 * spent / max(result.requests, 1),
        "server_cores": spent / elapsed,
        "background_cores": background.cores(spent),
    }


def refuse_open_sockets(server: ServiceProcess) -> None:
    """A benchmark has no business on the network. PeerError unless every listening socket is on loopback"""
    for process in server.processes():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN and not on_loopback(connection.laddr.ip):
                    raise PeerError(f"it listens on {connection.laddr.ip}:{connection.laddr.port}, not on {HOST}")


def on_loopback(address: str) -> bool:
    """Also where IPv6 writes an IPv4 address: ::ffff:127.0.0.1."""
    ip = ipaddress.ip_address(address)
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def describe(record: Record) -> str:
    """A record in one line."""
    cell = f"round {record['round']}  {record['peer']} {record['payload']} {record['model']} × {record['connections']}"
    if "rejected" in record:
        return f"{cell}, {record['heads']} heads: rejected: {record['rejected']}"
    return f"{cell}, {record['heads']} heads: {record['rate']:,.0f} req/s, p99 {record['p99_ms']:.2f} ms"


def machine() -> Record:
    """What it ran on, for whoever compares two bench.json."""
    return {
        "cpu": processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{os.uname().sysname} {os.uname().release}",
        "python": sys.version.split()[0],
    }
