"""From raw rounds to the tables: medians, ranges and ratios; a rejected figure counts for nothing and is said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from loadtest import others, sections

Record = dict[str, Any]
Cell = tuple[str, int]


@dataclass(frozen=True)
class Figure:
    """One peer in one cell: the median round's figures, and the range of rates over the rounds."""

    rate: float
    low: float
    high: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rounds: int


Figures = dict[str, dict[Cell, Figure]]


def figures(records: list[Record]) -> Figures:
    """By peer and cell, in the order of the records. A cell in which any round was rejected has no figure."""
    found: Figures = {}
    for peer in dict.fromkeys(record["peer"] for record in records):
        mine = [record for record in records if record["peer"] == peer]
        found[peer] = {}
        for cell in cells(mine):
            rounds = [record for record in mine if (record["model"], record["connections"]) == cell]
            if not any("rejected" in record for record in rounds):
                found[peer][cell] = figure(rounds)
    return found


def figure(rounds: list[Record]) -> Figure:
    rates = [record["rate"] for record in rounds]
    p50, p99, cpu = (median(record[name] for record in rounds) for name in ("p50_ms", "p99_ms", "cpu_us"))
    return Figure(median(rates), min(rates), max(rates), p50, p99, cpu, len(rounds))


def cells(records: list[Record]) -> list[Cell]:
    """(model, connections), in the order in which they were first measured."""
    return list(dict.fromkeys((record["model"], record["connections"]) for record in records))


def ratio(found: Figures, peer: str, base: str, cell: Cell) -> float | None:
    """How many times the base's rate this peer's is, where both have one."""
    ours, theirs = found.get(peer, {}).get(cell), found.get(base, {}).get(cell)
    return ours.rate / theirs.rate if ours and theirs else None


def rejections(records: list[Record]) -> dict[str, str]:
    """Why a peer has no figure in a cell: the first reason, by "peer, model × connections, …"."""
    reasons: dict[tuple[str, str, int], str] = {}
    for record in records:
        if "rejected" in record:
            reasons.setdefault((record["peer"], record["model"], record["connections"]), record["rejected"])
    places: dict[tuple[str, str], list[str]] = {}
    for (peer, model, connections), reason in reasons.items():
        places.setdefault((peer, reason), []).append(f"{model} × {connections}")
    return {f"{peer}, {', '.join(where)}": reason for (peer, reason), where in places.items()}


def markdown(results: Record) -> str:
    """bench.md: throughput, ratios, latency and cost, and what has to be known to believe them."""
    records, titles = results["records"], {name: peer["title"] for name, peer in results["peers"].items()}
    found, columns = figures(records), cells(records)
    head = ["", *(f"{model}, {connections}" for model, connections in columns)]

    def table(shown: Callable[[str, Cell], str]) -> str:
        return sections.table(head, ([titles[peer], *(shown(peer, cell) for cell in columns)] for peer in found))

    def by_figure(shape: Callable[[Figure], str]) -> str:
        return table(lambda peer, cell: shape(found[peer][cell]) if cell in found[peer] else "–")

    settings = results["settings"]
    parts = [
        f"## Requests a second\n\nMedian of {settings['rounds']} interleaved rounds of {settings['seconds']:g} s, and "
        f"the range. One worker and one engine thread each; one sample a request; {_where(results['machine'])}.",
        by_figure(lambda f: f"**{f.rate:,.0f}** ({f.low:,.0f}–{f.high:,.0f})"),
    ]
    for base in ("triton", "bentoml"):
        if found.get(base):
            parts += [f"## Times {titles[base]}", table(partial(_times, found, base))]
    parts += ["## Latency: p50 / p99, ms", by_figure(lambda f: f"{f.p50_ms:.2f} / {f.p99_ms:.2f}")]
    parts += ["## CPU of the server, µs a request", by_figure(lambda f: f"{f.cpu_us:,.0f}")]
    return "\n\n".join(parts + _notes(records)) + "\n"


def _times(found: Figures, base: str, peer: str, cell: Cell) -> str:
    times = ratio(found, peer, base, cell)
    return "–" if times is None else f"{times:.2f}" if times < 10 else f"{times:.0f}"


def _where(machine: Record) -> str:
    return f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}"


def _notes(records: list[Record]) -> list[str]:
    notes = [f"- {place}: **no figure**. {reason}" for place, reason in rejections(records).items()]
    if busy := others.warning(max((record.get("other_cores", 0.0) for record in records), default=0.0)):
        notes.append(f"- {busy}")
    return ["## Notes", "\n".join(notes)] if notes else []
