"""Dashboards as pictures: each panel where Grafana has it, drawn by matplotlib from what a Prometheus answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from deploy.dashboards import drawing
from deploy.dashboards.prometheus import Prometheus, Values, panels, variables

WIDTH, UNIT, DPI = 16.0, 0.36, 90  # inches of 24 columns, inches of a unit of height
GAP = 0.12  # inches
LEGEND = 0.24  # of a panel's height


def draw(dashboards: Mapping[str, dict[str, Any]], server: Prometheus, folder: Path) -> int:
    """A PNG for each dashboard, and for each value of its first variable where only one can be chosen."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [
        (name + suffix, dashboard, values)
        for name, dashboard in dashboards.items()
        for suffix, values in selections(dashboard, server)
    ]
    begun = time.monotonic()
    for done, (name, dashboard, values) in enumerate(pictures):
        remaining = (time.monotonic() - begun) / done * (len(pictures) - done) if done else 0.0
        print(f"{name}.png, {done + 1} of {len(pictures)}, {remaining:.0f} s left", file=sys.stderr)
        figure = picture(dashboard, server, values)
        figure.savefig(folder / f"{name}.png", dpi=DPI)
        plt.close(figure)
    return 0


def selections(dashboard: Mapping[str, Any], server: Prometheus) -> list[tuple[str, Values]]:
    """(suffix of the file's name, variables): what Grafana would choose first, for each value of the first variable."""
    choices = server.choices(dashboard)
    first = next((v["name"] for v in variables(dashboard) if not v["multi"]), "")
    results: dict[str, Values] = {}
    for values in choices:
        results.setdefault(f"-{values[first]}" if first else "", values)
    return list(results.items())


def picture(dashboard: Mapping[str, Any], server: Prometheus, values: Values) -> Figure:
    """The whole dashboard."""
    height = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) * UNIT + 0.6
    figure = plt.figure(figsize=(WIDTH, height), facecolor="#f4f5f5")
    choices = ", ".join(f"{name} {value}" for name, value in values.items() if value != ".*")
    figure.text(0.01, 1 - 0.3 / height, dashboard["title"], fontsize=15, weight="bold", va="center")
    figure.text(0.99, 1 - 0.3 / height, choices, fontsize=11, va="center", ha="right")
    for row in (panel for panel in dashboard["panels"] if panel["type"] == "row"):
        y = 1 - (0.6 + (row["gridPos"]["y"] + 0.5) * UNIT) / height
        figure.text(0.01, y, row["title"], fontsize=11, weight="bold", color="#555", va="center")
    for panel in panels(dashboard):
        place(figure, panel, server, values, height)
    return figure


def place(figure: Figure, panel: Mapping[str, Any], server: Prometheus, values: Values, height: float) -> None:
    """A white card with the panel's title, and the panel drawn in it."""
    grid = panel["gridPos"]
    left, width = grid["x"] / 24 + GAP / WIDTH / 2, grid["w"] / 24 - GAP / WIDTH
    top, tall = 1 - (0.6 + grid["y"] * UNIT) / height, (grid["h"] * UNIT - GAP) / height
    card = figure.add_axes((left, top - tall, width, tall), facecolor="white", xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color("#d8d9da")
    inch = 1 / height
    title = server.filled(panel["title"], values)
    figure.text(left + 0.06 / WIDTH, top - 0.14 * inch, title, fontsize=9, weight="bold", va="center")
    results = [(target, server.ask(target, values)) for target in panel["targets"]]
    results = [(target, [s for s in series if any(v == v for _, v in s[1])]) for target, series in results]
    if not any(series for _, series in results):
        why = panel["fieldConfig"]["defaults"].get("noValue", "no data")
        card.text(0.5, 0.45, why, ha="center", va="center", color="#999", transform=card.transAxes)
        return
    kind = panel["type"]
    margins = {"timeseries": (0.62, 0.22, LEGEND), "heatmap": (0.62, 0.22, 0.0), "barchart": (0.62, 0.22, LEGEND)}
    beside, below, legend = margins.get(kind, (0.05, 0.05, 0.0))
    bottom = top - tall + below * inch + legend * tall
    inner = (left + beside / WIDTH, bottom, width - (beside + 0.1) / WIDTH, top - 0.32 * inch - bottom)
    axes = figure.add_axes(inner)
    drawing.KINDS[kind](axes, panel, results)
    if kind in ("timeseries", "heatmap"):
        axes.set_xlim(*drawing.moments((server.begin, server.end)))
