"""From records to the tables, the plot, and one line on what the cut costs."""

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
    return "\n\n".join([*parts, conclusion(cells)])


def _row(cell: Cell, f: Figure) -> list[str]:
    stages = " / ".join(f"{f.cpu[stage]:,.0f}" for stage in STAGES[1:]) if "model" in f.cpu else "–"
    milliseconds = [f"{value:.2f}" for value in (f.p50_ms, f.p95_ms, f.p99_ms)]
    return [f"{cell[0]}, {cell[1]}", f"{f.rate:,.0f}", *milliseconds, f"{f.cpu_us:,.0f}", stages]


def conclusion(cells: dict[Cell, Figure]) -> str:
    """What the cut costs, by the most connections: rate and CPU a request of the chains beside those of one process."""
    busy = max(cell[2] for cell in cells)
    whole, *chains = (cells[way, 1, busy] for way in ("in process", "chain, HTTP", "chain, volume"))
    http, volume = (
        f"{chain.rate / whole.rate:.2f} of its rate at × {chain.cpu_us / whole.cpu_us:.1f} CPU" for chain in chains
    )
    return f"**Beside one process with {busy} connections, the chain has** {http} by HTTP, {volume} by a shared volume."


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
