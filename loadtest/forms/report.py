"""The forms side by side: one table and one plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from loadtest import others
from loadtest.forms.measure import BATCHES, BUSY_CONNECTIONS, ROUNDS, SECONDS, Form
from loadtest.sections import table

COLOURS = ("#2b2f36", "#3d6b8e", "#6aa36f", "#c8442e", "#a9b4c0")


def markdown(model: str, forms: Sequence[Form], where: str, picture: str) -> str:
    """Rate at each batch, p50 / p99 at each batch, and what a form weighs and is worth."""
    head = [model, *(f"rows/s, batch {batch}" for batch in BATCHES), *(f"ms, batch {batch}" for batch in BATCHES)]
    score = next(iter(forms[0].certificate["metrics"]))
    rows = [
        [
            f"`{form.name}`",
            *(f"**{form.rows_per_second(batch):,.0f}**" for batch in BATCHES),
            *(f"{form.latency(batch):.2f} / {form.latency(batch, 'p99'):.2f}" for batch in BATCHES),
            f"{form.memory_mb:.0f}",
            f"{form.bytes / 1024:,.0f}",
            f"{form.certificate['metrics'][score]:.4f}",
        ]
        for form in forms
    ]
    busy = max(run.other_cores for form in forms for runs in form.busy.values() for run in runs)
    how = (
        f"One worker, one engine thread; rows as V2 binary tensors, one engine call a request. Rows/s with "
        f"{BUSY_CONNECTIONS} connections that are never idle, median of {ROUNDS} interleaved rounds of {SECONDS:g} s; "
        f"ms are p50 / p99 of one request at a time. Memory is of the whole service with this form alone, {score} is "
        f"the certificate's. {where}. {others.warning(busy)}"
    ).rstrip()
    return f"{table([*head, 'memory, MB', 'file, KiB', score], rows)}\n\n{how}\n\n![The same as lines]({picture})"


def draw(model: str, forms: Sequence[Form], path: Path, caption: str) -> None:
    with plt.rc_context({"font.size": 9.5}):
        figure, axes = plt.subplots(1, 2, figsize=(10.4, 4.2), layout="constrained")
        for form, colour in zip(forms, COLOURS, strict=False):
            axes[0].plot(BATCHES, [form.rows_per_second(b) for b in BATCHES], "o-", color=colour, label=form.name)
            axes[1].plot(BATCHES, [form.latency(b) for b in BATCHES], "o-", color=colour, label=form.name)
        finish(axes[0], "rows a second, busy engine", "{:,.0f}")
        finish(axes[1], "median latency of one request, ms", "{:g}")
        axes[0].legend(frameon=False)
        figure.suptitle(f"{model}: the forms under load", fontsize=12, weight="bold")
        figure.supxlabel(caption, fontsize=8, color="#6b7480")
        figure.savefig(path, dpi=150, facecolor="white")
        plt.close(figure)


def finish(axes: Axes, title: str, shape: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: shape.format(value))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("rows of a request, and of an engine call")
    axes.set_title(title, loc="left", fontsize=10.5)
    axes.grid(which="both", color="#eef0f2")
    axes.spines[["top", "right"]].set_visible(False)
