"""Every request of a run, kept, so that percentiles are exact; the thresholds held against them; tables and a plot."""

from __future__ import annotations

import csv
import json
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import figures as plots
from loadtest.documents import CHECKOUT
from loadtest.load.plan import Plan
from loadtest.openloop import quantile

THRESHOLDS = CHECKOUT / "deploy" / "thresholds.json"  # of the objectives in deploy/slo.yaml
REASONS = 100  # different ones are kept
RECORD = struct.Struct("<dddHB")
RECORDS = np.dtype([("due", "<f8"), ("latency", "<f8"), ("lag", "<f8"), ("kind", "<u2"), ("failed", "?")])
SHOWN = (50.0, 90.0, 95.0, 99.0)
# A generator that sends later than this at its own p99 has measured itself.
LATE = 0.05  # seconds
MAX_REASONS = 5  # reasons of failures
MARKED = 120  # seconds that can be told from one another
COLUMNS = ("second", "offered", "answered", "failed", *(f"p{which:g}_seconds" for which in SHOWN))


class Records:
    """A column each of when a request was due (s after the start), its latency from then on and the generator's own
    lag in it (s), its kind (model, interface), and whether it failed; 27 bytes a request."""

    def __init__(self) -> None:
        self.kinds: dict[tuple[str, str], int] = {}  # and the number of each in its column
        self.reasons: Counter[str] = Counter()  # of failures
        self.merged = 0  # messages of other processes
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // RECORD.size

    def add(self, kind: tuple[str, str], due: float, latency: float, lag: float, reason: str = "") -> None:
        """One request; a reason says why it failed."""
        self._packed += RECORD.pack(due, latency, lag, self.kinds.setdefault(kind, len(self.kinds)), bool(reason))
        if reason and (reason in self.reasons or len(self.reasons) < REASONS):
            self.reasons[reason] += 1

    @property
    def seconds(self) -> float:
        """From the start to the last answer."""
        return float((self.column("due") + self.column("latency")).max(initial=0))

    def column(self, name: str) -> np.ndarray:
        """(requests,)"""
        return np.frombuffer(bytes(self._packed), RECORDS)[name]

    def message(self) -> dict[str, Any]:
        """What another process sends here."""
        return {"kinds": list(self.kinds), "reasons": dict(self.reasons), "records": bytes(self._packed)}

    def merge(self, message: dict[str, Any]) -> None:
        """Add what another process recorded."""
        places = np.array([self.kinds.setdefault(tuple(kind), len(self.kinds)) for kind in message["kinds"]], "u2")
        records = np.frombuffer(message["records"], RECORDS).copy()
        records["kind"] = places[records["kind"]]
        self._packed += records.tobytes()
        self.reasons.update(message["reasons"])
        self.merged += 1


@dataclass(frozen=True)
class Verdict:
    """One threshold: of whom (service, or a model), what, the measured value and its limit, both in the same unit."""

    whose: str
    what: str
    value: float  # NaN: nothing was measured, which is no success
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        value = "nothing was answered" if np.isnan(self.value) else f"{self.value:.4g} {self.unit}"
        word = "met   " if self.met else "MISSED"
        return f"{word}  {self.whose} {self.what}: {value}, limit {self.limit:g} {self.unit}"


def read_thresholds(path: Path = THRESHOLDS) -> dict[str, Any]:
    """Of the service, and of each model."""
    return dict(json.loads(path.read_text()))


def verdicts(thresholds: dict[str, Any], records: Records) -> list[Verdict]:
    """Each threshold of the service over all requests, and of a model over its own."""
    latency, failed, kind = (records.column(name) for name in ("latency", "failed", "kind"))
    result = list(_verdicts("service", thresholds["service"], latency, failed))
    for model, promised in thresholds["models"].items():
        if places := [place for (asked, _), place in records.kinds.items() if asked == model]:
            its = np.isin(kind, places)
            result += _verdicts(model, promised, latency[its], failed[its])
    return result


def _verdicts(whose: str, promised: dict[str, Any], latency: np.ndarray, failed: np.ndarray) -> Iterator[Verdict]:
    """Latency is of what was answered, failures are of all, as the objectives count them."""
    if "availability" in promised:
        value = 100 * failed.mean() if len(failed) else np.nan
        yield Verdict(whose, "failed requests", value, 100 * promised["availability"]["failed_ratio"], "%")
    if "latency" in promised:
        percentile, limit = promised["latency"]["percentile"], promised["latency"]["seconds"]
        yield Verdict(whose, f"p{percentile:g} latency", percentiles(latency[~failed], percentile)[0], limit, "s")


def percentiles(latency: np.ndarray, *which: float) -> list[float]:
    """Latencies that this many percent did not exceed; a measured one, never one in between. NaN of nothing"""
    return [quantile(latency, share / 100, float("nan")) for share in which]


@dataclass(frozen=True)
class Row:
    """Figures of some requests: seconds of latency since the intended time, of those that were answered."""

    name: str
    requests: int
    failed: int
    rate: float  # answered requests/s
    percentiles: tuple[float, ...]  # as in SHOWN

    def __str__(self) -> str:
        latencies = "".join(f"{1000 * value:>10.2f}" for value in self.percentiles)
        return f"{self.name:<24}{self.requests:>10,}{self.failed:>8,}{self.rate:>10,.1f}{latencies}"


HEAD = f"{'ms from the intended time':<24}{'requests':>9}{'failed':>8}{'answ./s':>10}" + "".join(
    f"{f'p{which:g}':>10}" for which in SHOWN
)


def rows(records: Records) -> list[Row]:
    """One row per model and interface, in alphabetical order, and one of all."""
    latency, failed, kind = (records.column(name) for name in ("latency", "failed", "kind"))
    masks = {" ".join(name): kind == place for name, place in records.kinds.items()}
    result = []
    for name, mask in [*sorted(masks.items()), ("all", np.ones(len(records), bool))]:
        answered = latency[mask & ~failed]
        rate, quantiles = len(answered) / (records.seconds or 1), percentiles(answered, *SHOWN)
        result.append(Row(name, int(mask.sum()), int((mask & failed).sum()), rate, tuple(quantiles)))
    return result


def by_second(records: Records) -> dict[str, np.ndarray]:
    """A column each of what was due, answered and failed in each second, and the latency of what was due in it."""
    order = np.argsort(records.column("due"))
    due, latency, failed = (records.column(name)[order] for name in ("due", "latency", "failed"))
    seconds = np.arange(int(due.max(initial=0)) + 1)
    edges = np.searchsorted(due, np.append(seconds, len(seconds)))
    answered = np.bincount((due + latency)[~failed].astype(int), minlength=len(seconds))[: len(seconds)]
    counts = (seconds, np.diff(edges), answered, np.bincount(due[failed].astype(int), minlength=len(seconds)))
    latencies = [percentiles(latency[start:end][~failed[start:end]], *SHOWN) for start, end in pairwise(edges)]
    return dict(zip(COLUMNS, (*counts, *np.array(latencies).T), strict=True))


def lag(records: Records) -> float:
    """p99 of how late the generator itself was, in seconds."""
    return percentiles(records.column("lag"), 99)[0]


def highlight(plan: Plan, table: list[Row]) -> str:
    """The figure that the scenario is about, or nothing."""
    if plan.tells == "rows/s":
        return f"{plan.scenario}: {table[-1].rate * plan.rows:,.0f} rows/s"
    if plan.tells:
        value = table[-1].percentiles[SHOWN.index(float(plan.tells[1:]))]
        return f"{plan.scenario}: {plan.tells} latency {1000 * value:.2f} ms"
    return ""


def text(plan: Plan, records: Records, verdicts: list[Verdict]) -> str:
    """The report for the terminal."""
    table, late = rows(records), lag(records)
    lines = ["", str(plan), "", HEAD, *map(str, table), ""]
    if records.reasons:
        lines += [f"{count:>8,} × {reason}" for reason, count in records.reasons.most_common(MAX_REASONS)] + [""]
    if late > LATE:
        lines += [
            f"The load generator was late: {1000 * late:.0f} ms at its p99, which is in the latencies above.",
            "Ask for less, give it more processes (--processes 4), or a machine of its own.",
            "",
        ]
    if figure := highlight(plan, table):
        lines += [figure, ""]
    return "\n".join([*lines, *map(str, verdicts)])


def write(folder: Path, plan: Plan, records: Records, verdicts: list[Verdict]) -> None:
    """load.json and seconds.csv in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "seconds.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *zip(*by_second(records).values(), strict=True)])
    summary: dict[str, Any] = {
        "plan": asdict(plan),
        "seconds": records.seconds,
        "generator_lag_p99_seconds": lag(records),
        "rows": [asdict(row) for row in rows(records)],
        "thresholds": [{**asdict(verdict), "met": bool(verdict.met)} for verdict in verdicts],
    }
    (folder / "load.json").write_text(json.dumps(summary, indent=1) + "\n")


def draw(plan: Plan, records: Records, verdicts: list[Verdict], path: Path) -> None:
    """Throughput, latency and failures over time, if anything was asked; limits are those of the service."""
    if not len(records):
        return
    columns = by_second(records)
    second, edges = columns["second"], np.append(columns["second"], len(columns["second"]))
    share = 100 * columns["failed"] / np.maximum(columns["offered"], 1)
    missed = [f"{verdict.whose} {verdict.what}" for verdict in verdicts if not verdict.met]
    title = f"Missed: {', '.join(missed)}" if missed else "Every threshold met"
    caption = f"{plan}; latency counts from the intended send time"
    grid = {"nrows": 3, "sharex": True, "height_ratios": (1, 1.3, 0.8)}
    with plots.figure(path, title, caption, (9, 8), **grid) as (rates, latencies, failures):
        rates.stairs(columns["offered"], edges, label="sent", baseline=None, color=plots.PALE, linewidth=3)
        rates.stairs(columns["answered"], edges, label="answered rightly", baseline=None, color=plots.RED)
        rates.set(ylabel="requests/s", ylim=(0, max(columns["offered"].max(), columns["answered"].max()) * 1.15))
        mark = ".-" if len(second) <= MARKED else "-"
        for name, colour in (("p50", "#e8a598"), ("p95", plots.RED), ("p99", "#7a2316")):
            latencies.plot(second + 0.5, 1000 * columns[f"{name}_seconds"], mark, color=colour, label=name)
        latencies.set(yscale="log", ylabel="latency, ms")
        plots.plain_numbers(latencies, y="{x:g}")
        failures.stairs(share, edges, fill=True, color=plots.RED, alpha=0.8)
        top = share.max()
        for verdict in (verdict for verdict in verdicts if verdict.whose == "service"):
            axis, limit, unit = (latencies, 1000 * verdict.limit, "ms")
            if verdict.unit == "%":
                axis, limit, unit = failures, verdict.limit, "%"
                top = max(top, limit)
            label = f"limit of {verdict.what}: {limit:g} {unit}"
            axis.axhline(limit, color=plots.BLUE, linestyle="--", linewidth=1.2, label=label)
        failures.set(ylabel="failed, %", xlabel="seconds", ylim=(0, top * 1.3 or 1))
        for axis in (rates, latencies, failures):
            axis.legend(**plots.ABOVE)
