"""From records to the table, the plot, and what follows from them in words that the figures choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loadtest import figures as plots
from loadtest.documents import table
from loadtest.machine import busy_warning

Record = dict[str, Any]
Cell = tuple[str, int, int]  # way, replicas, connections
STAGES = ("service", "postprocess", "preprocess", "model")
COLOURS = {"service": plots.RED, "postprocess": plots.PALE, "preprocess": "#7d93a8", "model": plots.BLUE}
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


def summarize(records: Sequence[Record]) -> dict[Cell, Figure]:
    """By cell, in the order of the records."""
    cells: dict[Cell, list[Record]] = {}
    for record in records:
        cells.setdefault((record["way"], record["replicas"], record["connections"]), []).append(record)
    return {cell: _figure(rounds) for cell, rounds in cells.items()}


def _figure(rounds: list[Record]) -> Figure:
    rate, p50, p95, p99 = (median(r[name] for r in rounds) for name in ("rate", "p50_ms", "p95_ms", "p99_ms"))
    return Figure(rate, p50, p95, p99, {s: median(r["cpu_us"][s] for r in rounds) for s in rounds[0]["cpu_us"]})


def markdown(results: Record) -> str:
    """A table for each number of connections, and the conclusion."""
    cells = summarize(results["records"])
    parts = [
        f"Median of {results['rounds']} interleaved rounds of {results['seconds']} s; {results['machine']}. The load "
        "generator (wrk, one thread, a closed loop) ran on the same cores, one engine thread each. Replicas are worker "
        "processes of the one service, or model services of the chain."
    ]
    head = ["way, replicas", "req/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs a request", "of it post / pre / model"]
    for connections in results["connections"]:
        rows = [_row(cell, figure) for cell, figure in cells.items() if cell[2] == connections]
        parts += [f"**{connections} connection{'s' * (connections > 1)}**", table(head, rows)]
    if busy := busy_warning(max(record["background_cores"] for record in results["records"])):
        parts.append(busy)
    return "\n\n".join([*parts, "**What follows**", conclusion(cells, min(results["connections"]))])


def _row(cell: Cell, f: Figure) -> list[str]:
    stages = " / ".join(f"{f.cpu[stage]:,.0f}" for stage in STAGES[1:]) if "model" in f.cpu else "–"
    milliseconds = [f"{value:.2f}" for value in (f.p50_ms, f.p95_ms, f.p99_ms)]
    return [f"{cell[0]}, {cell[1]}", f"{f.rate:,.0f}", *milliseconds, f"{f.cpu_us:,.0f}", stages]


def conclusion(cells: dict[Cell, Figure], quiet: int) -> str:
    """A list of what holds for these figures: of the cut, of the transport, of the second replica."""
    busy = max(cell[2] for cell in cells)
    whole, http, volume = (cells[way, 1, busy] for way in ("in process", "chain, HTTP", "chain, volume"))
    still, hops, files = (cells[way, 1, quiet].p50_ms for way in ("in process", "chain, HTTP", "chain, volume"))
    sentences = [
        f"**The cut.** One service answers {whole.rate:,.0f} requests/s where the chain answers {http.rate:,.0f} "
        f"({busy} connections). A request costs it {whole.cpu_us:,.0f} µs of CPU, the chain {http.cpu_us:,.0f}: "
        f"{http.cpu_us / whole.cpu_us:.1f} times as much. With nobody else asking, the p50 is {still:.2f} ms in one "
        f"process and {hops:.2f} ms over two hops.",
        f"**The transport.** A file per request {_compared(volume.cpu_us, http.cpu_us)} than the same bytes in "
        f"the HTTP message ({volume.cpu_us:,.0f} µs against {http.cpu_us:,.0f}); with nobody else asking its p50 is "
        f"{files:.2f} ms against {hops:.2f}. The file's name has to travel by HTTP all the same.",
        *(_second(cells, way, busy) for way in ("in process", "chain, HTTP") if (way, 2, busy) in cells),
        f"**Where the CPU goes.** Of the chain's {http.cpu_us:,.0f} µs a request "
        + ", ".join(f"{stage} takes {http.cpu[stage] / http.cpu_us:.0%}" for stage in http.cpu)
        + f". {_advice(http)}",
    ]
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _second(cells: dict[Cell, Figure], way: str, busy: int) -> str:
    one, two = cells[way, 1, busy].rate, cells[way, 2, busy].rate
    what = "worker" if way == "in process" else "replica of the model"
    gives = f"gives {abs(two / one - 1):.0%} {'more' if two > one else 'less'}"
    gives = "changes little" if abs(two / one - 1) < SAME else gives
    return f"**A second {what}** ({way}) {gives} on this machine's cores: {one:,.0f} → {two:,.0f} requests/s."


def _compared(value: float, other: float) -> str:
    change = value / other - 1
    if abs(change) < SAME:
        return "costs hardly more or less CPU"
    return f"costs {abs(change):.0%} {'more' if change > 0 else 'less'} CPU"


def _advice(chain: Figure) -> str:
    costliest = max(chain.cpu, key=lambda stage: chain.cpu[stage])
    if costliest == "model":
        return "The model stage is where the work is: replicas of it raise what the chain can take."
    return (
        f"Replicas of the model alone raise little while {costliest} has the most to do. Cut a pipeline where its "
        "stages need different machines or owners; for speed, give the one service more workers."
    )


def draw(results: Record, path: Path) -> None:
    """Requests a second and CPU with the most connections, latency with the fewest; bars by stage."""
    cells = summarize(results["records"])
    quiet, busy = min(results["connections"]), max(results["connections"])
    rows = [cell for cell in reversed(cells) if cell[2] == busy]
    caption = f"median of {results['rounds']} rounds of {results['seconds']} s · {results['machine']}"
    title, grid = "One pipeline in one process, or as three services", {"ncols": 3, "sharey": True}
    with plots.figure(path, title, caption, (13, 3.9), **grid) as (rate, latency, cpu):
        rate.set_yticks(range(len(rows)), [f"{way}, {replicas}" for way, replicas, _ in rows])
        for place, cell in enumerate(rows):
            colour = COLOURS["service" if cell[0] == "in process" else "model"]
            rate.barh(place, cells[cell].rate, color=colour, height=0.66)
            plots.value_at(rate, cells[cell].rate, place)
            plots.value_at(cpu, cells[cell].cpu_us, place)
        for name, mark in (("p50", "o"), ("p95", "D"), ("p99", "s")):
            values = [getattr(cells[way, replicas, quiet], f"{name}_ms") for way, replicas, _ in rows]
            latency.plot(values, range(len(rows)), mark, color=plots.INK, ms=5, fillstyle="none", label=name)
        starts = [0.0] * len(rows)
        for stage in STAGES:
            widths = [cells[cell].cpu.get(stage, 0.0) for cell in rows]
            label = "the one service" if stage == "service" else stage
            cpu.barh(range(len(rows)), widths, left=starts, color=COLOURS[stage], height=0.66, label=label)
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        rate.set_xlim(0, 1.2 * max(cells[cell].rate for cell in rows))
        cpu.set_xlim(0, 1.2 * max(cells[cell].cpu_us for cell in rows))
        latency.set_xlim(left=0)
        latency.legend(ncols=3, **plots.BELOW)
        cpu.legend(ncols=len(STAGES), columnspacing=1, handlelength=1.2, **plots.BELOW)
        for axis, words in ((rate, "requests/s"), (latency, "latency in ms"), (cpu, "CPU in µs a request")):
            axis.set_title(f"{words}, connections kept: {quiet if axis is latency else busy}")
            plots.bars_only(axis)
