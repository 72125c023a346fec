"""What the search found, in Markdown: the winner and its claim, every setting at its best, the Pareto front, notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtest import others
from loadtest.sections import table
from loadtest.service.run import Run
from loadtest.tune.bound import bound_by
from loadtest.tune.pareto import front
from loadtest.tune.rounds import Results
from loadtest.tune.slo import written
from loadtest.tune.space import Setting
from loadtest.tune.trials import Trial, Trials
from loadtest.tune.verdict import Verdict

MOST_FRONT = 10


@dataclass
class Findings:
    """Everything that a report is made of."""

    model: str
    trials: Trials
    results: Results
    machine: str
    pinned: str
    versions: dict[str, str]

    @property
    def winner(self) -> Setting:
        return self.results.winner

    @property
    def rate(self) -> float:
        """Requests a second that may be claimed of the winner; 0 if none may."""
        return self.results.rate(self.winner).mean or self.results.last(self.winner).passed

    def highest(self, setting: Setting) -> Trial | None:
        """The last trial that passed at the highest rate of the last round."""
        return self._at(setting, self.results.last(setting).passed, passed=True)

    def first_failing(self, setting: Setting) -> Trial | None:
        return self._at(setting, self.results.last(setting).failed, passed=False)

    def _at(self, setting: Setting, rate: float, passed: bool) -> Trial | None:
        for trial in reversed(self.trials.all):
            if (trial.setting, trial.rate, trial.verdict is Verdict.PASS) == (setting, rate, passed):
                return trial
        return None

    def named(self, setting: Setting) -> str:
        return setting.difference(self.results.default)


def headline(found: Findings) -> str:
    """The highest rate, what comes above it and why, and the gain."""
    winner, limit = found.winner, found.trials.limit
    rate = found.results.rate(winner)
    if not found.rate:
        first = f"**No rate met {written(limit)}**"
    else:
        claim = f"95 % interval over {rate.rounds} rounds" if rate.known else "too few rounds for an interval"
        interval = f" ({rate.low:,.0f}–{rate.high:,.0f}, {claim})" if rate.known else f" ({claim})"
        first = f"**{found.rate:,.0f} requests/s** of {found.model}-{winner.form} meet {written(limit)}{interval}"
    lines = [f"{first}, with {found.named(winner)}."]
    if trial := found.first_failing(winner):
        cores = found.trials.stand.cores.count
        lines.append(
            f"First rate that did not pass: {trial.rate:,.0f}/s ({trial.verdict}: {_slow(trial.run)}). "
            f"Bound by {bound_by(trial.run, cores, _workers(winner))}."
        )
    return " ".join([*lines, gain(found)])


def gain(found: Findings) -> str:
    results = found.results
    if found.winner != results.default:
        times = results.gain(found.winner)
        return (
            f"Gain over the defaults: × {times.mean:.2f} ({times.low:.2f}–{times.high:.2f}), measured side by side in "
            f"{times.rounds} rounds after the one that selected it."
        )
    best = next((setting for setting in results.ranked() if setting != results.default), None)
    if best is None:
        return "Nothing but the defaults was measured: the budget was too short for more."
    times = results.gain(best)
    if not times.known:
        return f"No gain over the defaults can be claimed: the budget was too short to repeat {found.named(best)}."
    return (
        f"No setting beats the defaults beyond doubt; the best other, {found.named(best)}, had × {times.mean:.2f} "
        f"({times.low:.2f}–{times.high:.2f}) of their rate."
    )


def settings_table(found: Findings) -> str:
    """A row per setting at the highest rate that passed in its last round, and the winner's first that did not."""
    head = ["setting", "requests/s, highest", "offered", "achieved", "p50", "p95", "p99 ms", "batch rows"]
    head += ["queue ms", "engine ms", "CPU cores", "MB", "verdict"]
    rows = []
    for setting in [*found.results.ranked(), *(s for s in found.results.brackets if not found.results.rates(s))]:
        trial = found.highest(setting) or found.first_failing(setting)
        if trial:
            rows.append([_bold(found, setting), str(found.results.rate(setting)), *_figures(trial.run), trial.verdict])
        if setting == found.winner and (failing := found.first_failing(setting)):
            rows.append(["… first not to pass", "", *_figures(failing.run), failing.verdict])
    return table(head, rows)


def _bold(found: Findings, setting: Setting) -> str:
    return f"**{found.named(setting)}**" if setting == found.winner else found.named(setting)


def _figures(run: Run) -> list[str]:
    times = [_ms(value) for value in (run.p50, run.p95, run.p99)]
    inner = [f"{run.batch_rows:.1f}", _ms(run.queue), _ms(run.infer), f"{run.cpu_cores:.2f}", f"{run.memory_mb:.0f}"]
    return [f"{run.rate:,.0f}", f"{run.achieved:,.0f}", *times, *inner]


def _ms(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _slow(run: Run) -> str:
    alone = f", which say as much as {run.count / run.effect:,.0f} on their own" if run.effect > 1.1 else ""
    return f"{run.slow:,} of {run.count:,} requests slow or not answered{alone}"


def pareto_table(found: Findings) -> str:
    """The runs of which no other is faster, sooner and cheaper at once."""
    passed = [trial for trial in found.trials.all if trial.verdict is Verdict.PASS and not trial.run.rejected]
    points = [(-trial.run.achieved, trial.run.at_percentile, trial.run.cpu_us) for trial in passed]
    best = sorted((passed[place] for place in front(points)), key=lambda trial: -trial.run.achieved)
    percentile = f"p{100 * found.trials.limit.percentile:g} ms"
    rows = [
        [found.named(t.setting), f"{t.run.achieved:,.0f}", _ms(t.run.at_percentile), f"{t.run.cpu_us:.0f}"]
        for t in best[:: max(1, math.ceil(len(best) / MOST_FRONT))]
    ]
    return table(["setting", "requests/s", percentile, "CPU µs a request"], rows)


def notes(found: Findings) -> list[str]:
    trials = found.trials
    every = [run for trial in trials.all for run in trial.runs]
    rejected = [run for run in every if run.rejected]
    said = [
        f"{found.machine}; {found.pinned}. Poisson arrivals, one row a request as V2 JSON, shots of "
        f"{trials.seconds:g} s after 0.5 s of warm-up; {len(every)} shots, {len(rejected)} thrown away.",
        "Latency counts from the time a request should have been sent. A pass is claimed with 99 % confidence "
        "(MLPerf's early stopping, with each count divided by its design effect).",
    ]
    said += [f"Thrown away, for example: {rejected[0].rejected}."] if rejected else []
    busy = others.warning(max((run.other_cores for run in every), default=0.0))
    said += [busy] if busy else []
    said += [f"{found.named(setting)}: {why}" for setting, why in trials.broken.items()]
    return said


def _workers(setting: Setting) -> int:
    values: dict[str, Any] = dict(setting.values)
    return int(values.get("workers", 1))


def markdown(found: Findings, plot: str) -> str:
    return "\n\n".join(
        [
            headline(found),
            settings_table(found),
            f"![Latency against throughput]({plot})",
            "Nothing measured was at once faster, sooner and cheaper than these (the Pareto front):",
            pareto_table(found),
            "\n".join(f"- {note}" for note in notes(found)),
        ]
    )


def comment(found: Findings) -> Sequence[str]:
    """What the settings file says of itself."""
    winner = found.winner
    rate = found.results.rate(winner)
    return [
        "Written by python -m loadtest.tune --write; the environment wins over this file.",
        f"{found.model}-{winner.form}, {written(found.trials.limit)}: {rate} requests/s.",
        f"{found.machine}; {found.pinned}.",
        f"The form is chosen by the name that is asked: /v2/models/{found.model}-{winner.form}/infer",
    ]
