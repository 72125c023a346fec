"""How each kind of panel is drawn on matplotlib's axes: tiles, lines, heat maps, tables, bars."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from math import inf, isfinite, log2
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullFormatter
from matplotlib.transforms import Bbox

from deploy.dashboards.prometheus import Series
from deploy.dashboards.units import shown

COLORS = {"green": "#3a8a3f", "orange": "#d9822b", "red": "#c4162a", "transparent": "none"}
PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")
LEGEND_ROWS = 4
Results = list[tuple[Mapping[str, Any], list[Series]]]  # a panel's targets, and what each returned


def tile(axes: Axes, panel: Mapping[str, Any], results: Results) -> None:
    """One number."""
    value = results[0][1][0][1][-1][1]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    color = [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    text = shown(value, panel["fieldConfig"]["defaults"].get("unit", ""))
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=22, weight="bold", color=COLORS[color])
    axes.axis("off")


def lines(axes: Axes, panel: Mapping[str, Any], results: Results) -> None:
    """Series over time."""
    defaults = panel["fieldConfig"]["defaults"]
    named = [pair for t, series in results for pair in sorted((legend(t, labels), points) for labels, points in series)]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        stack(axes, named)
    else:
        for (name, points), color in zip(named, PALETTE * len(named), strict=False):
            values = [v if isfinite(v) else np.nan for _, v in points]  # no axis holds an infinity
            axes.plot(moments(t for t, _ in points), values, label=name, color=color, linewidth=1.1)
    for step in defaults.get("thresholds", {}).get("steps", [])[1:]:
        axes.axhline(step["value"], color=COLORS[step["color"]], linestyle="--", linewidth=1)
    if defaults["custom"].get("scaleDistribution", {}).get("type") == "log":
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif "axisSoftMin" in defaults["custom"]:
        nothing = not any(v for _, points in named for _, v in points)
        lowest, highest = (0.0, 1.0) if nothing else axes.get_ylim()
        axes.set_ylim(min(0.0, lowest), max(highest, 1.05 * defaults["custom"].get("axisSoftMax", 0.0)))
    over_time(axes, defaults.get("unit", ""))
    listed(axes, panel)


def stack(axes: Axes, named: list[tuple[str, list[tuple[float, float]]]]) -> None:
    """Areas on top of one another."""
    times = sorted({t for _, points in named for t, _ in points})
    rows = [[dict(points).get(t, 0.0) for t in times] for _, points in named]
    colors = (PALETTE * len(named))[: len(named)]
    axes.stackplot(moments(times), np.nan_to_num(rows), labels=[name for name, _ in named], colors=colors, alpha=0.75)


def heat(axes: Axes, panel: Mapping[str, Any], results: Results) -> None:
    """Cumulative buckets become counts between two boundaries; those outside of all that was seen are not drawn."""
    rows = sorted((float(labels["le"]), dict(points)) for labels, points in results[0][1])
    times = sorted({t for _, points in rows for t in points})
    counts = np.diff([[points.get(t, 0.0) for t in times] for _, points in rows], axis=0, prepend=0).clip(0)
    occupied = np.flatnonzero(counts.sum(1))
    low, high = (occupied[0], occupied[-1] + 1) if len(occupied) else (0, len(rows))
    shade = np.ma.masked_equal(counts[low:high], 0)
    axes.pcolormesh(moments(times), np.arange(high - low), shade, cmap="Blues", vmin=0, shading="nearest")
    unit = panel["options"]["yAxis"].get("unit", "")
    over_time(axes, "")
    every = max(1, (high - low) // 8)
    axes.set_yticks(np.arange(0, high - low, every) + 0.5)
    bounds = [le for le, _ in rows[low:high:every]]
    axes.set_yticklabels([shown(le, unit) if le < inf else "above" for le in bounds])
    axes.grid(False)


def table(axes: Axes, panel: Mapping[str, Any], results: Results) -> None:
    """A row per set of labels."""
    options = panel["transformations"][-1]["options"]
    columns = sorted(options["indexByName"], key=options["indexByName"].get)
    units = {o["matcher"]["options"]: o["properties"][0]["value"] for o in panel["fieldConfig"]["overrides"]}
    rows: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for place, (_, series) in enumerate(results):
        for labels, points in series:
            key = tuple(sorted((k, v) for k, v in labels.items() if k in ("model", "form", "version", "quantity")))
            row = rows.setdefault(key, {})
            unit = units.get(options["renameByName"][f"Value #{chr(65 + place)}"], "")
            row |= {**labels, f"Value #{chr(65 + place)}": shown(points[-1][1], unit)}
    text = [[row.get(column, "–") for column in columns] for row in rows.values()]
    axes.axis("off")
    text.sort()
    cells = axes.table(text, colLabels=[options["renameByName"][c] for c in columns], bbox=Bbox.unit(), cellLoc="left")
    cells.auto_set_font_size(False)
    cells.set_fontsize(7.5)
    for (line, _), cell in cells.get_celld().items():
        cell.set_edgecolor("#e4e5e6")
        cell.set_text_props(weight="bold" if line == 0 else "normal")


def bars(axes: Axes, panel: Mapping[str, Any], results: Results) -> None:
    """Groups of bars."""
    by = panel["options"]["xField"]
    names = panel["transformations"][-1]["options"]["renameByName"]
    groups = sorted({labels[by] for _, series in results for labels, _ in series})
    wide = 0.7 / len(results)
    for place, (_, series) in enumerate(results):
        values = {labels[by]: points[-1][1] for labels, points in series}
        at = np.arange(len(groups)) + (place - (len(results) - 1) / 2) * wide
        heights = [values.get(group, 0.0) for group in groups]
        axes.bar(at, heights, wide, label=names[f"Value #{chr(65 + place)}"], color=PALETTE[place])
    axes.set_xticks(np.arange(len(groups)), groups)
    scaled(axes, panel["fieldConfig"]["defaults"].get("unit", ""))
    listed(axes, panel)


def over_time(axes: Axes, unit: str) -> None:
    """The axis of time."""
    locator = AutoDateLocator(maxticks=10)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    scaled(axes, unit)


def scaled(axes: Axes, unit: str) -> None:
    """The axis of values, in the panel's unit."""
    if unit == "bytes":
        axes.yaxis.set_major_locator(MultipleLocator(2.0 ** round(log2(max(axes.get_ylim()[1] / 5, 1)))))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.tick_params(labelsize=7, length=2)
    axes.grid(True, color="#eceded", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def listed(axes: Axes, panel: Mapping[str, Any]) -> None:
    """The legend below, as far as it has room."""
    handles, names = axes.get_legend_handles_labels()
    inches = panel["gridPos"]["w"] * 0.62
    columns = max(1, min(len(names), int(inches / (0.4 + 0.06 * max(map(len, names))))))
    space = columns * LEGEND_ROWS
    if len(names) > space:
        names = [*names[: space - 1], f"… {len(names) - space + 1} more"]
    axes.legend(
        handles[: len(names)],
        names,
        loc="upper left",
        bbox_to_anchor=(-0.06, -0.11),
        ncols=columns,
        fontsize=6.5,
        frameon=False,
        handlelength=1,
        columnspacing=1,
    )


def legend(target: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """What a series is called."""
    return re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), target["legendFormat"]) or "value"


def moments(times: Iterable[float]) -> np.ndarray:
    """Seconds since 1970 as dates of this machine's clock."""
    return np.array([datetime.fromtimestamp(t) for t in times], "datetime64[ms]")


KINDS: dict[str, Callable[[Axes, Mapping[str, Any], Results], None]] = {
    "stat": tile,
    "timeseries": lines,
    "heatmap": heat,
    "table": table,
    "barchart": bars,
}
