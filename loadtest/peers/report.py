"""From raw rounds to tables, plot and documents: medians, ranges, ratios; a rejected figure counts for nothing."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from loadtest import figures as plots
from loadtest.documents import Section, table
from loadtest.machine import busy_warning
from loadtest.peers.payloads import MAKERS, PAYLOADS

Record = dict[str, Any]
Column = tuple[str, str, int, str]  # payload, model, connections, heads
DOCUMENTS = (Path("README.md"), Path("docs/performance.md"))
HEADS = {"own": "Heads as an ingress sends them", "fixed": "One fixed head"}
OURS = {"ekiben": "", "ekiben-two-workers": "two workers, "}
BASES = ("triton", "bentoml", "ekiben-single")
SENTENCES = (
    "In the columns of sentences every request is one sentence of 4 to 64 tokens, 15 on average, of 256 different "
    "ones, for MiniLM, by V2's binary extension; Triton's backend joins those of like length in a batch of Triton's. "
)
GRPC = "In the columns of gRPC the client is h2load, and the sample one. "
GENERATOR_FULL = 0.95  # of a core: above it wrk was as much the limit as the server


@dataclass(frozen=True)
class Figure:
    """One peer in one column: the medians over the rounds, and the range of rates."""

    rate: float
    low: float
    high: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rounds: int


Figures = dict[str, dict[Column, Figure]]


def column_of(record: Record) -> Column:
    """Where a record belongs."""
    return record["payload"], record["model"], record["connections"], record["heads"]


def columns(records: Sequence[Record], heads: str = "") -> list[Column]:
    """Sorted by payload and model as they are listed; of one kind of heads, or of all."""
    unsorted = dict.fromkeys(column_of(record) for record in records if heads in ("", record["heads"]))
    models = list(MAKERS)
    return sorted(unsorted, key=lambda column: (PAYLOADS.index(column[0]), models.index(column[1]), *column[2:]))


def summarize(records: Sequence[Record]) -> Figures:
    """By peer and column. A column in which any round was rejected has no figure."""
    figures: Figures = {}
    for peer in dict.fromkeys(record["peer"] for record in records):
        mine = [record for record in records if record["peer"] == peer]
        figures[peer] = {}
        for column in columns(mine):
            rounds = [record for record in mine if column_of(record) == column]
            if not any("rejected" in record for record in rounds):
                figures[peer][column] = _figure(rounds)
    return figures


def _figure(rounds: Sequence[Record]) -> Figure:
    rates = [record["rate"] for record in rounds]
    p50, p99, cpu = (median(record[name] for record in rounds) for name in ("p50_ms", "p99_ms", "cpu_us"))
    return Figure(median(rates), min(rates), max(rates), p50, p99, cpu, len(rounds))


def ratios(records: Sequence[Record], peer: str, base: str, column: Column) -> list[float]:
    """How many times the base's rate the peer's is, round by round, each against the base of its own round."""
    ours, theirs = (
        {r["round"]: r["rate"] for r in records if (r["peer"], column_of(r)) == (name, column) and "rejected" not in r}
        for name in (peer, base)
    )
    return [ours[number] / theirs[number] for number in sorted(ours.keys() & theirs.keys()) if theirs[number]]


def rejections(records: Sequence[Record]) -> list[str]:
    """A line for each reason why a peer has no figure in some columns."""
    reasons: dict[tuple[str, Column], str] = {}
    for record in records:
        if "rejected" in record:
            reason = record["rejected"].partition("; see ")[0]  # the rest names files of the machine
            reasons.setdefault((record["peer"], column_of(record)), textwrap.shorten(reason, 160))
    places: dict[tuple[str, str], list[str]] = {}
    for (peer, column), reason in reasons.items():
        places.setdefault((peer, reason), []).append(f"{_name(column)}, {column[3]} heads")
    return [f"- {peer}, {'; '.join(where)}: **no figure**. {reason}" for (peer, reason), where in places.items()]


def _name(column: Column) -> str:
    payload, model, connections, _ = column
    return f"{model}, {connections}" + ("" if payload in ("json", model) else f", {payload}")


@dataclass(frozen=True)
class Tables:
    """The tables of one run."""

    results: Record

    @property
    def records(self) -> list[Record]:
        """One per round, peer, cell and kind of heads."""
        return list(self.results["records"])

    def _order(self) -> list[str]:
        measured = {record["peer"] for record in self.records}
        return [name for name in self.results["peers"] if name in measured]

    def _table(self, heads: str, titles: Sequence[str], cells: Callable[[str, Column], Sequence[str]]) -> str:
        shown = columns(self.records, heads)
        head = ["", *(title.format(_name(column)) for column in shown for title in titles)]
        rows = [
            [self.results["peers"][peer]["title"], *(text for column in shown for text in cells(peer, column))]
            for peer in self._order()
        ]
        return table(head, rows)

    def rates(self, heads: str) -> str:
        """Requests a second with their range, and µs of CPU a request."""
        figures = summarize(self.records)

        def cells(peer: str, column: Column) -> Sequence[str]:
            f = figures[peer].get(column)
            return (f"**{f.rate:,.0f}** ({f.low:,.0f}–{f.high:,.0f})", f"{f.cpu_us:,.0f}") if f else ("–", "–")

        return self._table(heads, ("{}: requests/s", "CPU µs"), cells)

    def latencies(self, heads: str) -> str:
        """p50 / p99."""
        figures = summarize(self.records)

        def cells(peer: str, column: Column) -> Sequence[str]:
            f = figures[peer].get(column)
            return (f"{f.p50_ms:.2f} / {f.p99_ms:.2f}" if f else "–",)

        return self._table(heads, ("{}",), cells)

    def times(self, heads: str, base: str) -> str:
        """Median and range of the ratios to a base in the same round."""

        def cells(peer: str, column: Column) -> Sequence[str]:
            return (_spread(ratios(self.records, peer, base, column)),)

        return self._table(heads, ("{}",), cells)

    def beside(self) -> str:
        """How many times the bases' rates our service's is, a row for each of ours, each base and kind of heads."""
        cells = list(dict.fromkeys(column[:3] for column in columns(self.records)))
        measured = {record["peer"] for record in self.records}
        rows = []
        for (name, workers), base in itertools.product(OURS.items(), BASES):
            for heads in self.kinds() if {base, name} <= measured else ():
                texts = [_spread(ratios(self.records, name, base, (*cell, heads))) for cell in cells]
                rows.append([f"{workers}{self.results['peers'][base]['title']}, {HEADS[heads].lower()}", *texts])
        return table(["Ekiben, V2, times", *(_name((*cell, "")) for cell in cells)], rows) if rows else ""

    def kinds(self) -> list[str]:
        """The kinds of heads that were measured, own first."""
        return [heads for heads in HEADS if columns(self.records, heads)]

    def conditions(self) -> str:
        """What has to be known to believe the figures."""
        settings, where = self.results["settings"], self.results["machine"]
        count, asked = settings["rounds"], {record["payload"] for record in self.records}
        return (
            f"A closed loop: wrk keeps so many connections (8 or 32, as the columns say) busy, each asking again once "
            f"it is answered. Median of {count} round{'s' * (count > 1)} of {settings['seconds']:g} s and the range, "
            f"the peers in another order each round; {self.processes()}; one sample a request, of 64 "
            "different ones, as JSON where the column names nothing else. CPU is the server's, all its processes "
            "together. As an ingress sends them: every request has an X-Request-ID, X-Forwarded-For, X-Real-IP and "
            "traceparent of its own, and V2's JSON an id. Triton runs its Python backend (nvidia-pytriton), since its "
            "C++ backends cannot be installed as a package; Mosec batches within 1 ms from 32 connections on. "
            f"{GRPC if 'grpc' in asked else ''}{SENTENCES if 'sentences' in asked else ''}"
            f"{where['cpu']}, {where['cores']} cores, Python {where['python']}."
        ).replace("8 or 32", " or ".join(map(str, settings["connections"])))

    def processes(self) -> str:
        """How many every peer had."""
        count = self.results["settings"].get("workers", 1)
        each = "one worker and one engine thread each"
        if "ekiben-two-workers" in self._order():
            each += ", but where the name says two"
        return each if count == 1 else f"{each}, but {count} workers of ours and {count} instances of Triton's models"

    def notes(self) -> list[str]:
        """Rejections, other programs, and whether wrk was the limit, as list items."""
        notes = rejections(self.records)
        if busy := busy_warning(max((r.get("background_cores", 0.0) for r in self.records), default=0.0)):
            notes.append(f"- {busy}")
        full = {r["peer"]: None for r in self.records if r.get("generator_cores", 0.0) > GENERATOR_FULL}
        if full:
            notes.append(f"- wrk itself used more than {GENERATOR_FULL:.0%} of a core against: {', '.join(full)}.")
        return notes


def _spread(times: Sequence[float]) -> str:
    low, middle, high = (
        f"{value:.2f}" if value < 10 else f"{value:.0f}"
        for value in ((min(times), median(times), max(times)) if times else (0, 0, 0))
    )
    return f"{middle} ({low}–{high})" if times else "–"


def markdown(results: Record) -> str:
    """bench.md: throughput and cost, ratios, latency, and what has to be known to believe them."""
    tables = Tables(results)
    parts = [tables.conditions()]
    for heads in tables.kinds():
        parts += [f"## {HEADS[heads]}: requests a second, CPU of the server", tables.rates(heads)]
        for base in BASES:
            if any(record["peer"] == base for record in tables.records):
                title = results["peers"][base]["title"]
                parts += [f"### Times {title}, of the same round", tables.times(heads, base)]
        parts += ["### Latency: p50 / p99, ms", tables.latencies(heads)]
    notes = tables.notes()
    return "\n\n".join(parts + (["## Notes", "\n".join(notes)] if notes else [])) + "\n"


def write_documents(results: Record, folder: Path) -> None:
    """The bench sections of README.md and docs/performance.md, and docs/bench.png."""
    tables = Tables(results)
    readme, performance = [tables.conditions()], []
    for heads in tables.kinds():
        readme += [f"**{HEADS[heads]}:**", tables.rates(heads)]
        performance += [f"{HEADS[heads]}, p50 / p99, ms:", tables.latencies(heads)]
    if ratio_table := tables.beside():
        readme += ["Against the same round, median and range:", ratio_table]
    readme += ["\n".join(tables.notes())] if tables.notes() else []
    readme.append("![The same as bars](docs/bench.png)")
    for document, parts in zip(DOCUMENTS, (readme, performance), strict=True):
        Section(folder / document, "bench").replace("\n\n".join(parts))
    draw(results, folder / "docs" / "bench.png")


def draw(results: Record, path: Path) -> None:
    """A panel per column, a bar per peer on a logarithmic scale, the limits as lines; own heads if there are any."""
    figures, peers = summarize(results["records"]), results["peers"]
    kind = Tables(results).kinds()[0]
    shown = columns(results["records"], kind)
    across = 2 if len(shown) > 1 else 1
    down = -(-len(shown) // across)
    bars = max(sum(1 for name in figures if not peers[name]["limit"]), 3)
    settings, machine = results["settings"], results["machine"]
    caption = (
        f"{HEADS[kind].lower()} · logarithmic scale · median and range of {settings['rounds']} rounds · closed loop by "
        f"wrk · {machine['cpu']}, {machine['cores']} cores"
    )
    size = (6.4 * across, down * (0.36 * bars + 1.1) + 0.9)
    title = f"Requests a second, {Tables(results).processes()}"
    with plots.figure(path, title, caption, size, nrows=down, ncols=across) as axes:
        for axis, column in zip(axes, shown, strict=False):
            _panel(axis, column, {name: row[column] for name, row in figures.items() if column in row}, peers)
        for axis in axes[len(shown) :]:
            axis.set_visible(False)


def _panel(axis: Any, column: Column, row: dict[str, Figure], peers: Record) -> None:
    """The fastest on top, the range of the rounds as a whisker, the value inside the bar's end."""
    axis.set_title(f"{_name(column)} connections" if column[0] == "json" else _name(column))
    if not row:
        return
    racing = sorted((name for name in row if not peers[name]["limit"]), key=lambda name: row[name].rate)
    for place, name in enumerate(racing):
        f, ours = row[name], peers[name]["title"].startswith("Ekiben")
        axis.barh(place, f.rate, color=plots.RED if ours else plots.PALE, height=0.68)
        axis.errorbar(f.rate, place, xerr=[[f.rate - f.low], [f.high - f.rate]], color=plots.INK, lw=1, capsize=2)
        axis.annotate(f"{f.rate:,.0f}", (f.low, place), (-6, 0), textcoords="offset points", ha="right", va="center",
                      weight="bold", color="white" if ours else plots.INK)  # fmt: skip
    axis.set_yticks(range(len(racing)), [peers[name]["title"] for name in racing])
    limits = [name for name in peers if peers[name]["limit"]]  # of all columns, so that each keeps its line
    for name, style in zip(limits, ("--", ":"), strict=False):
        if name in row:
            label = f"{peers[name]['title']}: {row[name].rate:,.0f}"
            axis.axvline(row[name].rate, color=plots.BLUE, linestyle=style, label=label)
    rates = [f.rate for f in row.values()]
    axis.set(xscale="log", xlim=(min(rates) / 5, max(rates) * 1.25))
    plots.plain_numbers(axis, x="{x:,.0f}")
    plots.bars_only(axis)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**plots.BELOW)
