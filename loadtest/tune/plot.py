"""latency.png: the objective's percentile against the rate, a line per setting, and where the objective is crossed."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from loadtest.tune.report import Findings
from loadtest.tune.slo import written
from loadtest.tune.space import Setting
from loadtest.tune.verdict import Verdict

WINNER, DEFAULT, UNNAMED, INK = "#c8442e", "#2b2f36", "#d5dbe1", "#2b2f36"
OTHERS = ("#3d6b8e", "#6aa36f", "#b08d3c", "#8a6fb0", "#5fa8a8", "#93a0ad")  # the best are named, the rest are drawn


def draw(found: Findings, path: Path) -> None:
    """Writes the plot. Runs that were thrown away are not in it; an unanswered percentile is at the upper edge."""
    with plt.rc_context({"font.size": 9.5, "text.color": INK, "axes.labelcolor": INK}):
        figure, axes = plt.subplots(figsize=(8.4, 5.2), layout="constrained")
        best = found.results.ranked()
        colours = dict(zip([s for s in best if s != found.results.default], OTHERS, strict=False))
        colours |= {found.results.default: DEFAULT, found.winner: WINNER}
        order = [*(s for s in reversed(best) if s not in (found.winner, found.results.default))]
        order += [found.results.default, found.winner] if found.winner != found.results.default else [found.winner]
        for setting in order:
            line(axes, found, setting, colours.get(setting, UNNAMED))
        limit = 1e3 * found.trials.limit.seconds
        axes.axhline(limit, color=INK, linestyle="--", linewidth=1)
        axes.annotate(written(found.trials.limit), (0.01, limit), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", fontsize=8.5)  # fmt: skip
        finish(axes, found)
        caption = f"circles passed, crosses did not · {found.machine} · {found.pinned}"
        figure.supxlabel(caption, fontsize=8, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def line(axes: Axes, found: Findings, setting: Setting, colour: str) -> None:
    """The median of the shots at each rate."""
    at: dict[float, list[float]] = {}
    passed: dict[float, bool] = {}
    for trial in found.trials.all:
        if trial.setting == setting and not trial.run.rejected:
            at.setdefault(trial.rate, []).append(trial.run.at_percentile)
            passed[trial.rate] = trial.verdict is Verdict.PASS
    rates = sorted(at)
    if not rates:
        return
    top = 20e3 * found.trials.limit.seconds
    values = [min(top, median(at[rate])) for rate in rates]
    mine = setting in (found.winner, found.results.default)
    label = found.named(setting) + (" (winner)" if setting == found.winner else "")
    order, width = (3, 1.8) if mine else (2, 1.0)
    axes.plot(rates, values, color=colour, linewidth=width, zorder=order, label=None if colour == UNNAMED else label)
    for good, marker in ((True, "o"), (False, "x")):
        chosen = [place for place, rate in enumerate(rates) if passed[rate] is good]
        across, up = [rates[place] for place in chosen], [values[place] for place in chosen]
        axes.scatter(across, up, s=22, color=colour, marker=marker, zorder=order)


def finish(axes: Axes, found: Findings) -> None:
    axes.set_yscale("log")
    axes.set_ylim(top=25e3 * found.trials.limit.seconds)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(left=0)
    axes.set_xlabel("offered, requests/s (Poisson)")
    axes.set_ylabel(f"p{100 * found.trials.limit.percentile:g}, ms")
    axes.set_title(f"{found.model}: latency against throughput", loc="left", weight="bold")
    axes.grid(which="major", color="#e3e7eb")
    axes.spines[["top", "right"]].set_visible(False)
    if not math.isinf(found.rate) and axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))
