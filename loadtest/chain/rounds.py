"""The measuring: rounds in which every arrangement is asked in turn, so that a machine's drift meets all alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.chain.arrangements import Arrangement
from loadtest.chain.shooting import ShotError, ask, shoot
from loadtest.others import Others

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
    others, before = Others(), each.cpu_seconds()
    shot = shoot(each.url, forms, connections, seconds)
    spent = {stage: after - before[stage] for stage, after in each.cpu_seconds().items()}
    taken = others.cores(sum(spent.values()))
    cpu = {stage: 1e6 * used / shot.requests for stage, used in spent.items()}
    what = {"way": each.way, "replicas": each.replicas, "connections": connections}
    return {**what, **asdict(shot), "rate": shot.rate, "cpu_us": cpu, "other_cores": taken}
