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
from loadtest.documents import Section, render, table
from loadtest.machine import busy_warning
from loadtest.peers.payloads import MAKERS, PAYLOADS

Record = dict[str, Any]
Column = tuple[str, str, int, str]  # payload, model, connections, heads
DOCUMENTS = (Path("README.md"), Path("docs/performance.md"))
HEADS = {"own": "Heads as an ingress sends them", "fixed": "One fixed head"}
OURS = {"ekiben": "", "ekiben-two-workers": "two workers, "}
BASES = ("triton", "bentoml", "ekiben-single")
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
    rounds: dict[tuple[str, Column], list[Record]] = {}
    for record in records:
        rounds.setdefault((record["peer"], column_of(record)), []).append(record)
    figures: Figures = {peer: {} for peer, _ in rounds}
    for (peer, column), own in rounds.items():
        if not any("rejected" in record for record in own):
            figures[peer][column] = _figure(own)
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


class Tables:
    """The tables of one run; `kinds` are the kinds of heads that were measured, own first."""

    def __init__(self, results: Record) -> None:
        self.results, self.records = results, results["records"]
        self.figures = summarize(self.records)
        self.kinds = [heads for heads in HEADS if columns(self.records, heads)]

    def title(self, peer: str) -> str:
        """As it is shown."""
        return str(self.results["peers"][peer]["title"])

    def _table(self, heads: str, titles: Sequence[str], cells: Callable[[str, Column], Sequence[str]]) -> str:
        shown = columns(self.records, heads)
        head = ["", *(title.format(_name(column)) for column in shown for title in titles)]
        measured = [peer for peer in self.results["peers"] if peer in self.figures]
        rows = [[self.title(peer), *(text for column in shown for text in cells(peer, column))] for peer in measured]
        return table(head, rows)

    def rates(self, heads: str) -> str:
        """Requests a second with their range, and µs of CPU a request."""

        def cells(peer: str, column: Column) -> Sequence[str]:
            f = self.figures[peer].get(column)
            return (f"**{f.rate:,.0f}** ({f.low:,.0f}–{f.high:,.0f})", f"{f.cpu_us:,.0f}") if f else ("–", "–")

        return self._table(heads, ("{}: requests/s", "CPU µs"), cells)

    def latencies(self, heads: str) -> str:
        """p50 / p99."""

        def cells(peer: str, column: Column) -> Sequence[str]:
            f = self.figures[peer].get(column)
            return (f"{f.p50_ms:.2f} / {f.p99_ms:.2f}" if f else "–",)

        return self._table(heads, ("{}",), cells)

    def times(self, heads: str, base: str) -> str:
        """Median and range of the ratios to a base in the same round."""
        return self._table(heads, ("{}",), lambda peer, column: (_spread(ratios(self.records, peer, base, column)),))

    def beside(self) -> str:
        """How many times the bases' rates our service's is, a row for each of ours, each base and kind of heads."""
        cells = list(dict.fromkeys(column[:3] for column in columns(self.records)))
        rows = []
        for (name, workers), base in itertools.product(OURS.items(), BASES):
            for heads in self.kinds if {base, name} <= self.figures.keys() else ():
                texts = [_spread(ratios(self.records, name, base, (*cell, heads))) for cell in cells]
                rows.append([f"{workers}{self.title(base)}, {HEADS[heads].lower()}", *texts])
        return table(["Ekiben, V2, times", *(_name((*cell, "")) for cell in cells)], rows) if rows else ""

    def processes(self) -> str:
        """How many every peer had."""
        count = self.results["settings"].get("workers", 1)
        each = "one worker and one engine thread each"
        if "ekiben-two-workers" in self.figures:
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
    if not times:
        return "–"
    low, middle, high = (f"{t:.2f}" if t < 10 else f"{t:.0f}" for t in (min(times), median(times), max(times)))
    return f"{middle} ({low}–{high})"


def markdown(results: Record, template: str = "report.md") -> str:
    """bench.md: throughput and cost, ratios, latency, and what has to be known to believe them; or another template."""
    tables, asked = Tables(results), {record["payload"] for record in results["records"]}
    values = {"heads": HEADS, "bases": BASES, "notes": "\n".join(tables.notes())}
    return render(Path(__file__).with_name(template), tables=tables, asked=asked, **values, **results)


def write_documents(results: Record, folder: Path) -> None:
    """The bench sections of README.md and docs/performance.md, and docs/bench.png."""
    for document in DOCUMENTS:
        Section(folder / document, "bench").replace(markdown(results, document.name.lower()))
    draw(results, folder / "docs" / "bench.png")


def draw(results: Record, path: Path) -> None:
    """A panel per column, a bar per peer on a logarithmic scale, the limits as lines; own heads if there are any."""
    tables, peers = Tables(results), results["peers"]
    figures, kind = tables.figures, tables.kinds[0]
    shown = columns(tables.records, kind)
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    bars = max(sum(1 for name in figures if not peers[name]["limit"]), 3)
    settings, machine = results["settings"], results["machine"]
    caption = (
        f"{HEADS[kind].lower()} · logarithmic scale · median and range of {settings['rounds']} rounds · closed loop by "
        f"wrk · {machine['cpu']}, {machine['cores']} cores"
    )
    size = (6.4 * across, down * (0.36 * bars + 1.1) + 0.9)
    title = f"Requests a second, {tables.processes()}"
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
