"""The measuring: rounds in which every arrangement is asked in turn, so that a machine's drift meets all alike."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from loadtest.chain.arrangements import Arrangement
from loadtest.chain.shooting import ShotError, ask, shoot

Record = dict[str, Any]
Say = Callable[[str], None]


def check(arrangements: Sequence[Arrangement], forms: Sequence[Path]) -> None:
    """ShotError unless all give the same answers, and each replica gives some."""
    right = [ask(arrangements[0].url, form.read_bytes()) for form in forms]
    for each in arrangements[1:]:
        answers = [ask(each.url, form.read_bytes()) for form in forms]
        replicas = {answer.pop("replica", "") for answer in answers}
        if answers != right:
            raise ShotError(f"{each.way}: its answers differ from those in process")
        if each.way != arrangements[0].way and len(replicas) != each.replicas:
            raise ShotError(f"{each.way}: {len(replicas)} replicas answer, not {each.replicas}")


def measured(
    arrangements: Sequence[Arrangement],
    forms: Sequence[Path],
    connections: Sequence[int],
    rounds: int,
    seconds: int,
    say: Say,
) -> Iterator[Record]:
    """One record per arrangement, number of connections and round."""
    for each in arrangements:
        shoot(each.url, forms, max(connections), 1)
    for number in range(1, rounds + 1):
        for each in arrangements:
            for count in connections:
                record = one(each, forms, count, seconds)
                said = f"{each.way}, {each.replicas} × {count}"
                say(f"round {number}/{rounds}  {said:<22} {record['rate']:>8,.0f} req/s  p50 {record['p50_ms']:.2f} ms")
                yield {"round": number, **record}


def one(each: Arrangement, forms: Sequence[Path], connections: int, seconds: int) -> Record:
    """One shot, with the CPU that each stage spent on it in µs a request."""
    before, machine, client, started = each.cpu_seconds(), _machine_seconds(), _client_seconds(), time.monotonic()
    shot = shoot(each.url, forms, connections, seconds)
    elapsed, after = time.monotonic() - started, each.cpu_seconds()
    ours = sum(after.values()) - sum(before.values()) + _client_seconds() - client
    others = max(0.0, (_machine_seconds() - machine - ours) / elapsed)
    cpu = {stage: 1e6 * (after[stage] - before[stage]) / shot.requests for stage in after}
    what = {"way": each.way, "replicas": each.replicas, "connections": connections}
    return {**what, **asdict(shot), "rate": shot.rate, "cpu_us": cpu, "other_cores": others}


def _machine_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def _client_seconds() -> float:
    """Of the load generators that have ended; the services still run, and are not counted here."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
