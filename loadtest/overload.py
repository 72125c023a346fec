"""python -m loadtest.overload: three times as much as the service can take, and whether it keeps its promises.

Starts the service itself, one worker over the models in your BentoML store, pinned to all cores but the last, where the
generator is. It measures the capacity first (closed loop, answered requests a second), then sends Poisson arrivals
whether or not earlier ones were answered (open loop): half the capacity, three times the capacity, half the capacity.
Goodput, the slowest answer, how soon the rest is turned away, memory and recovery are held against the limits.

  make models                                    # once
  python -m loadtest.overload                    # 90 s; prints the verdict; exit code 1 if a promise is broken
  python -m loadtest.overload --write            # and writes table, verdict and plot into docs/reliability.md
  python -m loadtest.overload --model homes --form sklearn --rows 16 --write     # the other cases that are shown there
  python -m loadtest.overload --model homes --form sklearn --rows 16 --anew --write
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest import figures
from loadtest.documents import Progress, Promise, Section, command_line, conclude
from loadtest.machine import describe
from loadtest.measurement import ServicePool, Target
from loadtest.openloop import Burst, Load, LoadResult, quantile
from loadtest.service import run_command

FOLDER = Path("build/overload")
TIMES, CALM, CALM_SECONDS, PATIENCE = 3.0, 0.5, 6.0, 5.0
CONNECTIONS = 3000  # enough that nobody waits for one while the service's queue of 2,048 rows fills
DEADLINE_SECONDS = 1.0
GOODPUT = 0.9  # of the capacity
TURN_AWAY_SECONDS, RECOVERY_SECONDS, MEMORY_GROWTH = 0.05, 2.0, 0.02
SETTLING = 1.0  # seconds at the beginning of the overload that fill the queues
BIN, PLOT_BIN = 0.1, 0.25
TURNED_AWAY = (429, 503)
Memory = list[tuple[float, float]]  # (seconds since the start, bytes)


@dataclass(frozen=True)
class Overload:
    """A burst between two calms: when it begins and ends, in seconds; the capacity in requests a second."""

    capacity: float
    begins: float
    ends: float
    total: float

    @classmethod
    def of(cls, capacity: float, seconds: float) -> Overload:
        """Between calms of CALM_SECONDS."""
        return cls(capacity, CALM_SECONDS, CALM_SECONDS + seconds, 2 * CALM_SECONDS + seconds)

    def load(self, connections: int) -> Load:
        """Calm, burst, calm."""
        bursts = (Burst(TIMES * self.capacity, self.ends - self.begins), Burst(CALM * self.capacity, CALM_SECONDS))
        return Load(CALM * self.capacity, connections, CALM_SECONDS, 0.0, PATIENCE, bursts=bursts)


def main(words: Sequence[str] | None = None) -> int:
    """The command: 0 where every promise is kept, 1 where one is broken. ServiceError where nothing was measured"""
    parser = command_line("loadtest.overload", __doc__)
    add = parser.add_argument
    add("--model", default="digits", help="a model in the store (digits)")
    add("--form", default="onnx", help="its form (onnx)")
    add("--rows", type=int, default=32, help="rows of a request (32)")
    add("--anew", action="store_true", help="every request over a connection of its own")
    add("--seconds", type=float, default=30, help="how long the overload lasts (30)")
    add("--write", action="store_true", help="write into --doc, between <!-- overload-MODEL-FORM -->, -anew")
    add("--doc", type=Path, default=Path("docs/reliability.md"), help="(docs/reliability.md)")
    options = parser.parse_args(words)
    if options.seconds < 4 or options.rows < 1:
        parser.error(f"--seconds {options.seconds:g} must be at least 4, --rows {options.rows} at least 1")
    name = f"overload-{options.model}-{options.form}{'-anew' * options.anew}"
    section = Section(options.doc, name).check() if options.write else None
    picture = (options.doc.parent if section else FOLDER) / f"{name}.png"
    allow_connections()
    settings = {"EKIBEN_MAX_LATENCY_MS": f"{1e3 * DEADLINE_SECONDS:g}"}
    with ServicePool(options.model, FOLDER / "serve.log", options.rows, binary=True) as pool:
        target = pool.target(settings, options.form)
        overload = Overload.of(target.capacity(), options.seconds)
        result, memory = endure(target, overload.load(0 if options.anew else CONNECTIONS))
    how = f"{options.rows} rows a request{', each over a new connection' * options.anew}"
    caption = f"{options.model}-{options.form}, {how}, one worker; {pool.cores}; {describe()}"
    draw(result, overload, memory, caption, picture)
    load = f"At {TIMES:g} times its capacity of {overload.capacity:,.0f} requests/s"
    return conclude(judge(result, overload, memory), load, caption, picture, section)


def allow_connections() -> None:
    """As many open files as the system lets us have, for the service and the generator; both inherit it. SystemExit"""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if 0 < most < 2 * CONNECTIONS:
        raise SystemExit(f"the limit of open files is {most}; {2 * CONNECTIONS} are needed: ulimit -Hn")


def endure(target: Target, load: Load) -> tuple[LoadResult, Memory]:
    """What came of the load, and the service's memory meanwhile, once a second. ServiceError"""
    started, memory = time.monotonic(), []
    with ThreadPoolExecutor(1) as thread, Progress(load.measured_seconds) as progress:
        result = thread.submit(target.send, load, check=False)
        while not result.done():
            memory.append((time.monotonic() - started, float(target.service.memory_bytes())))
            progress.tell(f"{memory[-1][1] / 2**20:.0f} MiB", memory[-1][0])
            time.sleep(1)
    return result.result(), memory


def judge(result: LoadResult, overload: Overload, memory: Memory) -> list[Promise]:
    """What an overload must leave intact, held against what came of it."""
    settled = overload.begins + SETTLING
    during = (result.due >= settled) & (result.due < overload.ends)
    good = result.done[result.status == 200]
    goodput = ((good >= settled) & (good < overload.ends)).sum() / (overload.ends - settled) / overload.capacity
    answered = result.response_seconds[during & (result.status == 200)]
    away = during & np.isin(result.status, TURNED_AWAY)
    neither = int((during & ~np.isin(result.status, (200, *TURNED_AWAY))).sum())
    mute = int((away & ~result.retry).sum())
    back, growth = recovery(result, overload), memory_growth(memory, settled, overload.ends)
    worst = float(answered.max()) if len(answered) else float("inf")
    p99, most, least = quantile(result.response_seconds[away], 0.99), DEADLINE_SECONDS, TURN_AWAY_SECONDS
    return [
        Promise("goodput", f"≥ {GOODPUT:.0%} of the capacity", f"{goodput:.0%}", bool(goodput >= GOODPUT)),
        Promise("slowest answer", f"≤ {most * 1e3:.0f} ms", f"{worst * 1e3:.0f} ms", worst <= most),
        Promise("turned away, p99", f"≤ {least * 1e3:.0f} ms", f"{p99 * 1e3:.0f} ms", p99 <= least),
        Promise("neither answered nor turned away", "0", f"{neither:,}", neither == 0),
        Promise("turned away without Retry-After", "0", f"{mute:,}", mute == 0),
        Promise("growth of memory", f"≤ {MEMORY_GROWTH:.0%}", f"{growth:+.1%}", growth <= MEMORY_GROWTH),
        Promise("recovery", f"≤ {RECOVERY_SECONDS:g} s", f"{back:.1f} s", back <= RECOVERY_SECONDS),
    ]


def recovery(result: LoadResult, overload: Overload) -> float:
    """Seconds from the overload's end until all are answered again, within twice the calm's p99 or 10 ms more.

    Now and then a request is slow in the calm as well: a tenth of a second is bad if more than one in twenty are, and
    bad tenths belong together if less than half a second lies between them.
    """
    due, seconds = result.due, result.response_seconds
    usual = quantile(seconds[(due < overload.begins) & (due > overload.begins / 2)], 0.99)
    after = due >= overload.ends
    bad = after & ((result.status != 200) | (seconds > max(2 * usual, usual + 0.01)))
    bins = ((due[after] - overload.ends) / BIN).astype(int)
    slow = np.flatnonzero(np.bincount(bins, weights=bad[after]) / np.maximum(1, np.bincount(bins)) > 0.05)
    last = -1
    for place in slow:
        if place - last > 5:
            break
        last = int(place)
    return (last + 1) * BIN


def memory_growth(memory: Memory, begins: float, ends: float) -> float:
    """The last quarter of the overload's memory against its first, as a share."""
    sizes = [size for at, size in memory if begins <= at < ends]
    quarter = max(1, len(sizes) // 4)
    return float(np.mean(sizes[-quarter:]) / np.mean(sizes[:quarter]) - 1) if sizes else 0.0


def draw(result: LoadResult, overload: Overload, memory: Memory, caption: str, path: Path) -> None:
    """What came and what became of it, how long it took, and memory, second by second."""
    grid = {"nrows": 3, "sharex": True, "height_ratios": [3, 3, 1.4]}
    at, sizes = [at for at, _ in memory], [size / 2**20 for _, size in memory]
    with figures.figure(path, "Three times as much as it can take", caption, (8.5, 8.2), **grid) as axes:
        _rates(axes[0], result, overload.capacity)
        _latencies(axes[1], result)
        axes[2].plot(at, sizes, color=figures.BLUE)
        axes[2].set(ylabel="memory, MiB", ylim=(0, 1.15 * max(sizes, default=1)))
        axes[2].set(xlabel="seconds", xlim=(0, overload.total))
        for axis in axes:
            axis.axvspan(overload.begins, overload.ends, color="#f3ece6", zorder=0)


def _rates(axis: figures.Axes, result: LoadResult, capacity: float) -> None:
    edges = np.arange(0, result.due[-1] + PLOT_BIN, PLOT_BIN)
    for times, colour, label, style in (
        (result.due, figures.INK, "offered", ":"),
        (result.done[result.status == 200], figures.BLUE, "answered", "-"),
        (result.done[np.isin(result.status, TURNED_AWAY)], figures.RED, "turned away", "-"),
    ):
        counts = np.histogram(times, edges)[0] / PLOT_BIN
        axis.plot(edges[:-1] + PLOT_BIN / 2, counts, color=colour, linestyle=style, label=label)
    axis.axhline(capacity, color=figures.GREY, linewidth=1, linestyle="--", label=f"capacity, {capacity:,.0f}/s")
    axis.set(ylabel="requests a second", ylim=(0, None))
    axis.legend(**figures.ABOVE)


def _latencies(axis: figures.Axes, result: LoadResult) -> None:
    """Median and p99 of those answered and those turned away, by the time they were due."""
    edges = np.arange(0, result.due[-1] + PLOT_BIN, PLOT_BIN)
    for statuses, colour, label in (((200,), figures.BLUE, "answered"), (TURNED_AWAY, figures.RED, "turned away")):
        mask = np.isin(result.status, statuses)
        bins = np.split(result.response_seconds[mask], np.searchsorted(result.due[mask], edges[1:]))
        filled = {edge + PLOT_BIN / 2: values for edge, values in zip(edges, bins, strict=True) if len(values)}
        for share, style, name in ((0.5, "-", "median"), (0.99, ":", "p99")):
            line = [quantile(values, share) * 1e3 for values in filled.values()]
            axis.plot(list(filled), line, color=colour, linestyle=style, label=f"{label}, {name}")
    axis.axhline(DEADLINE_SECONDS * 1e3, color=figures.GREY, linewidth=1, linestyle="--", label="deadline")
    axis.axhline(TURN_AWAY_SECONDS * 1e3, color=figures.RED, linewidth=1, linestyle="--", label="to turn away")
    axis.set(yscale="log", ylabel="ms from sending to the answer")
    axis.legend(**figures.ABOVE | {"ncols": 3})


if __name__ == "__main__":
    run_command(main)
