"""What the search found, in Markdown: the winner and its claim, every setting at its best, the Pareto front, notes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import le
from pathlib import Path
from statistics import median

from loadtest import figures as plots
from loadtest.documents import render
from loadtest.machine import busy_warning
from loadtest.measurement import Run
from loadtest.tune.search import LIMITS, Results, Trial, Trials
from loadtest.tune.space import Setting, slo_text
from loadtest.tune.verdict import GROWING, Estimate, Verdict, unseen

MAX_FRONT = 10
UNNAMED = "#d5dbe1"  # the best are named, the rest are drawn
FULL_CORE, HALF_CORE = 0.85, 0.5  # of a core: the rest goes to the kernel, and to the ends of the measurement


@dataclass
class Findings:
    """Everything that a report is made of."""

    model: str
    trials: Trials
    results: Results
    machine: str
    pinned: str

    @property
    def winner(self) -> Setting:
        """The setting that the report recommends."""
        return self.results.winner

    @property
    def rate(self) -> float:
        """Requests a second that may be claimed of the winner: what the next round passes with 95 % confidence, by the
        rounds that did not select it. 0 if none may be claimed, or there were too few rounds."""
        return self.estimate.bound

    @property
    def estimate(self) -> Estimate:
        """The winner's rate, without the first round, which another setting than the defaults has won by luck too."""
        return self.results.rate(self.winner, 1 if self.winner == self.results.default else 2)

    @property
    def watched(self) -> float:
        """Seconds of the loads at which the winner passed."""
        passed = [t for t in self.trials.all if t.setting == self.winner and t.verdict is Verdict.PASS]
        return sum(run.seconds for trial in passed for run in trial.runs if not run.rejected)

    @property
    def unusable(self) -> str:
        """Why nothing may be concluded; empty if something may."""
        thrown_away = [run for run in self.trials.runs if run.rejected]
        if 2 * len(thrown_away) <= len(self.trials.runs):
            return ""
        count = f"{len(thrown_away)} of {len(self.trials.runs)} loads were thrown away"
        return f"**Not usable, because {count}**, for example: {thrown_away[-1].rejected}."

    def highest(self, setting: Setting) -> Trial | None:
        """The last trial that passed at the highest rate of the last round."""
        return self._at(setting, self.results.last(setting).passed, passed=True)

    def first_failing(self, setting: Setting) -> Trial | None:
        """The last trial at the lowest rate above that, which did not pass."""
        return self._at(setting, self.results.last(setting).failed, passed=False)

    def _at(self, setting: Setting, rate: float, passed: bool) -> Trial | None:
        for trial in reversed(self.trials.all):
            if (trial.setting, trial.rate, trial.verdict is Verdict.PASS) == (setting, rate, passed):
                return trial
        return None

    def named(self, setting: Setting) -> str:
        """What is other in a setting than in the defaults."""
        return setting.difference(self.results.default)


def bound_by(run: Run, cores: int, workers: int) -> str:
    """CPU, engine, queue, generator, or none of them; with the figures that say so."""
    cpu, engine = run.cpu_cores / cores, run.engine_cores / workers
    used = f"{run.cpu_cores:.2f} of {cores} core{'s' if cores > 1 else ''} used"
    busy = f"the engine ran {100 * engine:.0f} % of the time"
    if run.rejected:
        return f"generator: {run.rejected}"
    if run.background_cores > HALF_CORE and cpu < FULL_CORE:
        return f"other programs: they took {run.background_cores:.1f} cores ({used}); measure again on a quiet machine"
    if engine >= FULL_CORE or (cpu >= FULL_CORE and run.engine_cores >= HALF_CORE * run.cpu_cores):
        return f"engine: {busy}, {used}"
    if cpu >= FULL_CORE:
        return f"CPU: {used}, {busy}: the rest is HTTP, parsing and writing"
    if run.queue >= HALF_CORE * run.mean:
        return f"queue: {run.queue:.1f} of {run.mean:.1f} ms a request, with {used}"
    return f"none of CPU, engine and queue was full ({used}, {busy}): requests waited outside the service's own clock"


def settings_rows(findings: Findings) -> list[tuple[str, Estimate | None, Trial]]:
    """A setting at the highest rate that passed in its last round, of each, and the winner's first that did not."""
    rows: list[tuple[str, Estimate | None, Trial]] = []
    results = findings.results
    for setting in [*results.ranked(), *(s for s in results.brackets if not results.rates(s))]:
        won, failing = setting == findings.winner, findings.first_failing(setting)
        name = f"**{findings.named(setting)}**" if won else findings.named(setting)
        if trial := findings.highest(setting) or failing:
            rows.append((name, results.rate(setting), trial))
        if won and failing:
            rows.append(("… first not to pass", None, failing))
    return rows


def _ms(value: float) -> str:
    return "–" if math.isinf(value) else f"{value:.3f}" if value < 1 else f"{value:.1f}"


def _why(run: Run) -> str:
    behind = "" if run.kept_up else f"{run.achieved:,.0f}/s answered, "
    grown = f", latencies grew by {run.growth:,.1f} ms" if run.trend <= GROWING else ""
    return f"{behind}{run.slow:,} of {run.count:,} requests slow or not answered{grown}"


def pareto(findings: Findings) -> list[Trial]:
    """At most MAX_FRONT of the trials that passed of which no other is faster, sooner and cheaper at once."""
    passed = [trial for trial in findings.trials.all if trial.verdict is Verdict.PASS and not trial.run.rejected]
    points = [(-trial.run.achieved, trial.run.at_percentile, trial.run.cpu_us) for trial in passed]
    best = sorted((passed[place] for place in front(points)), key=lambda trial: -trial.run.achieved)
    return best[:: max(1, math.ceil(len(best) / MAX_FRONT))]


def front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Places of the points that are not dominated, where less is better in every coordinate."""

    def dominated(point: tuple[float, ...]) -> bool:
        return any(other != point and all(map(le, other, point)) for other in points)

    return [place for place, point in enumerate(points) if not dominated(point)]


def markdown(findings: Findings, plot: str) -> str:
    """The whole report; of a search that is not usable, why, and nothing else."""
    trials, results, winner = findings.trials, findings.results, findings.winner
    failing, best = findings.first_failing(winner), results.finalist
    of_search = {
        "findings": findings, "trials": trials, "results": results, "winner": winner, "failing": failing, "best": best,
        "estimate": findings.estimate, "gain": results.gain(best) if best else None, "slo": slo_text(trials.limit),
        "rejected": [run for run in trials.runs if run.rejected], "apart": unseen(findings.watched), "plot": plot,
        "shortest": max(trials.seconds, LIMITS * trials.limit.seconds),
        "busy": busy_warning(max((run.background_cores for run in trials.runs), default=0.0)),
    }  # fmt: skip
    if not findings.unusable:
        of_search |= {"settings": settings_rows(findings), "pareto": pareto(findings), "ms": _ms}
    if failing:
        cores, workers = trials.pool.cores.count, int(dict(winner.values).get("workers", 1))
        of_search |= {"why": _why(failing.run), "bound_by": bound_by(failing.run, cores, workers)}
    return render(Path(__file__).with_name("report.md"), **of_search)


def comment(findings: Findings) -> Sequence[str]:
    """What the settings file says of itself."""
    winner = findings.winner
    return [
        "Written by python -m loadtest.tune --write; the environment wins over this file.",
        f"{findings.model}-{winner.form}, {slo_text(findings.trials.limit)}: {findings.estimate} requests/s.",
        f"{findings.machine}; {findings.pinned}.",
        f"The form is chosen by the name that is asked: /v2/models/{findings.model}-{winner.form}/infer",
    ]


def draw(findings: Findings, path: Path) -> None:
    """The objective's percentile against the rate, a line per setting, and where the objective is crossed.

    Loads that were thrown away are not in it; an unanswered percentile is at the upper edge.
    """
    default, winner, limit = findings.results.default, findings.winner, findings.trials.limit
    ranked = findings.results.ranked()
    colours = dict(zip([setting for setting in ranked if setting != default], plots.SERIES[1:], strict=False))
    colours |= {default: plots.INK, winner: plots.RED}
    caption = f"circles passed, crosses did not · {findings.machine} · {findings.pinned}"
    with plots.figure(path, f"{findings.model}: latency against throughput", caption, (8.4, 5.2)) as (axes,):
        for setting in [*(s for s in reversed(ranked) if s not in (winner, default)), *{default: 0, winner: 0}]:
            _line(axes, findings, setting, colours.get(setting, UNNAMED))
        axes.axhline(1e3 * limit.seconds, color=plots.INK, linestyle="--", linewidth=1)
        axes.annotate(slo_text(limit), (0.01, 1e3 * limit.seconds), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", fontsize=8.5)  # fmt: skip
        axes.set(yscale="log", xlabel="offered, requests/s (Poisson)", ylabel=f"p{100 * limit.percentile:g}, ms")
        axes.set_ylim(top=25e3 * limit.seconds)
        axes.set_xlim(left=0)
        plots.plain_numbers(axes, "{x:,.0f}", "{x:g}")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _line(axes: plots.Axes, findings: Findings, setting: Setting, colour: str) -> None:
    """The median of the loads at each rate."""
    trials = [trial for trial in findings.trials.all if trial.setting == setting and not trial.run.rejected]
    at: dict[float, list[float]] = {}
    for trial in trials:
        at.setdefault(trial.rate, []).append(trial.run.at_percentile)
    passed = {trial.rate: trial.verdict is Verdict.PASS for trial in trials}
    top = 20e3 * findings.trials.limit.seconds
    values = {rate: min(top, median(at[rate])) for rate in sorted(at)}
    mine = setting in (findings.winner, findings.results.default)
    label = findings.named(setting) + (" (winner)" if setting == findings.winner else "")
    order, width = (3, 1.8) if mine else (2, 1.0)
    named = None if colour == UNNAMED or not trials else label
    axes.plot(list(values), list(values.values()), color=colour, linewidth=width, zorder=order, label=named)
    for good, marker in ((True, "o"), (False, "x")):
        marked = {rate: value for rate, value in values.items() if passed[rate] is good}
        axes.scatter(list(marked), list(marked.values()), s=22, color=colour, marker=marker, zorder=order)
