"""The measuring: in every round each peer is started, asked everything and ended, so that whoever waits takes no CPU.

Rounds rather than one long run each, because a machine's speed drifts: what is compared was measured minutes apart.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from loadtest.others import Others
from loadtest.peers import wrk
from loadtest.peers.checking import faults
from loadtest.peers.dialects import bodies
from loadtest.peers.peer import Peer, PeerError
from loadtest.peers.running import HOST, Server, running
from loadtest.peers.samples import Samples
from loadtest.service.machine import processor

Record = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How the comparison is made; written into bench.json as it is."""

    models: list[str]
    connections: list[int]
    rounds: int
    seconds: float
    warmup: float


@dataclass
class Bench:
    """The peers, the samples by model, and where the files are that every peer serves."""

    peers: list[Peer]
    samples: dict[str, Samples]
    settings: Settings
    onnx: dict[str, Path]
    logs: Path
    broken: dict[str, str] = field(default_factory=dict)

    def shots(self, peer: Peer) -> list[tuple[str, int]]:
        """The cells of one peer's row."""
        settings = self.settings
        return [(m, c) for m in settings.models if m in peer.routes for c in settings.connections]

    @property
    def total(self) -> int:
        return self.settings.rounds * sum(len(self.shots(peer)) for peer in self.peers)

    def records(self, say: Say) -> Generator[Record]:
        """One record per peer, cell and round; `say` is told each in words."""
        for number in range(1, self.settings.rounds + 1):
            for peer in self.peers:
                for record in self._round(peer):
                    say(_line(record, number, self.settings.rounds))
                    yield {"round": number, **record}

    def _round(self, peer: Peer) -> Iterator[Record]:
        cells = iter(self.shots(peer))
        if peer.name in self.broken:  # what did not start does not start a minute later
            yield from (_rejected(peer, cell, self.broken[peer.name]) for cell in cells)
            return
        asked = {model: bodies(peer.dialect, self.samples[model]) for model in self.samples.keys() & peer.routes.keys()}
        paths = {f"{model.upper()}_ONNX": str(path) for model, path in self.onnx.items()}
        try:
            with running(peer, paths, {model: texts[0] for model, texts in asked.items()}, self.logs) as server:
                for model, connections in cells:
                    yield measure(server, self.samples[model], asked[model], connections, self.settings)
        except PeerError as error:
            self.broken[peer.name] = str(error)
            yield from (_rejected(peer, cell, str(error)) for cell in cells)


def _rejected(peer: Peer, cell: tuple[str, int], reason: str) -> Record:
    return {"peer": peer.name, "model": cell[0], "connections": cell[1], "rejected": reason}


def measure(server: Server, samples: Samples, texts: list[bytes], connections: int, settings: Settings) -> Record:
    """One cell of one round: right before, measured, right after. A record with `rejected` counts for nothing."""
    record: Record = {"peer": server.peer.name, "model": samples.model, "connections": connections}
    url = f"http://{HOST}:{server.port}{server.peer.routes[samples.model]}"
    try:
        if settings.warmup:
            wrk.shoot(url, texts, connections, settings.warmup)
        before = faults(server, samples, texts)
        record |= _measured(server, lambda: wrk.shoot(url, texts, connections, settings.seconds))
        wrong = before + faults(server, samples, texts)
    except wrk.WrkError as error:
        return record | {"rejected": str(error)}
    if wrong:
        record["rejected"] = f"{len(wrong)} of {2 * len(texts)} answers are wrong; the first: {wrong[0]}"
    elif record["failed"]:
        record["rejected"] = f"{record['failed']} of {record['requests']} requests failed under load"
    return record


def _measured(server: Server, shoot: Callable[[], wrk.Shot]) -> Record:
    """A shot with what it cost: the CPU of the server's whole tree, and what others took of the machine meanwhile."""
    others, before, started = Others(), server.cpu_seconds(), time.monotonic()
    shot = shoot()
    elapsed, spent = time.monotonic() - started, server.cpu_seconds() - before
    cost = 1e6 * spent / max(shot.requests, 1)
    return {
        **asdict(shot),
        "rate": shot.rate,
        "failed": shot.failed,
        "cpu_us": cost,
        "server_cores": spent / elapsed,
        "other_cores": others.cores(spent),
    }


def _line(record: Record, number: int, rounds: int) -> str:
    cell = f"round {number}/{rounds}  {record['peer']:<14} {record['model']:>6} × {record['connections']:<3}"
    if "rejected" in record:
        return f"{cell} rejected: {record['rejected']}"
    return f"{cell} {record['rate']:>9,.0f} req/s  p99 {record['p99_ms']:7.2f} ms"


def progress(total: int) -> Say:
    """Prints each line to the terminal with the time that is left, judged by the pace so far."""
    started, done = time.monotonic(), 0

    def say(line: str) -> None:
        nonlocal done
        done += 1
        left = (time.monotonic() - started) / done * (total - done)
        print(f"[{done:>{len(str(total))}}/{total}] {line}  {left / 60:4.1f} min left", file=sys.stderr, flush=True)

    return say


def machine() -> Record:
    """What it ran on, for whoever compares two bench.json."""
    return {
        "cpu": processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{os.uname().sysname} {os.uname().release}",
        "python": sys.version.split()[0],
    }
