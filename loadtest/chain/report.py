"""From records to the table and what follows from it, in words that the figures choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from loadtest import others
from loadtest.sections import table

Record = dict[str, Any]
Cell = tuple[str, int, int]  # way, replicas, connections
STAGES = ("service", "postprocess", "preprocess", "model")
SAME = 0.1  # less than this apart, two figures are called the same


@dataclass(frozen=True)
class Figure:
    """The median round of one cell; CPU in µs a request, by stage."""

    rate: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu: dict[str, float]

    @property
    def cpu_us(self) -> float:
        return sum(self.cpu.values())


def figures(records: Sequence[Record]) -> dict[Cell, Figure]:
    """By cell, in the order of the records."""
    found: dict[Cell, list[Record]] = {}
    for record in records:
        found.setdefault((record["way"], record["replicas"], record["connections"]), []).append(record)
    return {cell: _figure(rounds) for cell, rounds in found.items()}


def _figure(rounds: list[Record]) -> Figure:
    rate, p50, p95, p99 = (median(r[name] for r in rounds) for name in ("rate", "p50_ms", "p95_ms", "p99_ms"))
    cpu = {stage: median(r["cpu_us"][stage] for r in rounds) for stage in rounds[0]["cpu_us"]}
    return Figure(rate, p50, p95, p99, cpu)


def markdown(results: Record) -> str:
    """A table for each number of connections, and the conclusion."""
    found = figures(results["records"])
    parts = [
        f"Median of {results['rounds']} interleaved rounds of {results['seconds']} s; {results['machine']}. The load "
        "generator (wrk, one thread, a closed loop) ran on the same cores, one engine thread each. Replicas are worker "
        "processes of the one service, or model services of the chain."
    ]
    for connections in results["connections"]:
        rows = [_row(cell, figure) for cell, figure in found.items() if cell[2] == connections]
        head = ["way, replicas", "req/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs a request", "of it post / pre / model"]
        several = "connection" if connections == 1 else "connections"
        parts += [f"**{connections} {several}**", table(head, rows)]
    if busy := others.warning(max(record["other_cores"] for record in results["records"])):
        parts.append(busy)
    return "\n\n".join([*parts, "**What follows**", conclusion(found, min(results["connections"]))])


def _row(cell: Cell, figure: Figure) -> list[str]:
    stages = " / ".join(f"{figure.cpu[stage]:,.0f}" for stage in STAGES[1:]) if "model" in figure.cpu else "–"
    milliseconds = [f"{value:.2f}" for value in (figure.p50_ms, figure.p95_ms, figure.p99_ms)]
    return [f"{cell[0]}, {cell[1]}", f"{figure.rate:,.0f}", *milliseconds, f"{figure.cpu_us:,.0f}", stages]


def conclusion(found: dict[Cell, Figure], quiet: int) -> str:
    """A list of what holds for these figures: of the cut, of the transport, of the second replica."""
    busy = max(cell[2] for cell in found)
    whole, http, volume = (found[way, 1, busy] for way in ("in process", "chain, HTTP", "chain, volume"))
    still, hops, files = (found[way, 1, quiet].p50_ms for way in ("in process", "chain, HTTP", "chain, volume"))
    sentences = [
        f"**The cut.** One service answers {whole.rate:,.0f} requests/s where the chain answers {http.rate:,.0f} "
        f"({busy} connections). A request costs it {whole.cpu_us:,.0f} µs of CPU, the chain {http.cpu_us:,.0f}: "
        f"{http.cpu_us / whole.cpu_us:.1f} times as much. With nobody else asking, the p50 is {still:.2f} ms in one "
        f"process and {hops:.2f} ms over two hops.",
        f"**The transport.** A file per request {_compared(volume.cpu_us, http.cpu_us, 'CPU')} than the same bytes in "
        f"the HTTP message ({volume.cpu_us:,.0f} µs against {http.cpu_us:,.0f}); with nobody else asking its p50 is "
        f"{files:.2f} ms against {hops:.2f}. The file's name has to travel by HTTP all the same.",
        *(_second(found, way, busy) for way in ("in process", "chain, HTTP") if (way, 2, busy) in found),
        f"**Where the CPU goes.** Of the chain's {http.cpu_us:,.0f} µs a request "
        + ", ".join(f"{stage} takes {http.cpu[stage] / http.cpu_us:.0%}" for stage in http.cpu)
        + f". {_advice(http)}",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _second(found: dict[Cell, Figure], way: str, busy: int) -> str:
    one, two = found[way, 1, busy].rate, found[way, 2, busy].rate
    what = "worker" if way == "in process" else "replica of the model"
    if abs(two / one - 1) < SAME:
        gives = "changes little"
    else:
        gives = f"gives {abs(two / one - 1):.0%} {'more' if two > one else 'less'}"
    return f"**A second {what}** ({way}) {gives} on this machine's cores: {one:,.0f} → {two:,.0f} requests/s."


def _compared(value: float, other: float, what: str) -> str:
    change = value / other - 1
    if abs(change) < SAME:
        return f"costs hardly more or less {what}"
    return f"costs {abs(change):.0%} {'more' if change > 0 else 'less'} {what}"


def _advice(chain: Figure) -> str:
    costliest = max(chain.cpu, key=lambda stage: chain.cpu[stage])
    if costliest == "model":
        return "The model stage is where the work is: replicas of it raise what the chain can take."
    return (
        f"Replicas of the model alone raise little while {costliest} has the most to do. Cut a pipeline where its "
        "stages need different machines or owners; for speed, give the one service more workers."
    )
