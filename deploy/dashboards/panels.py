"""The few kinds of panels that the dashboards are made of; each says in words what it shows and how it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.dashboard import DashboardLink, FieldColor, ThresholdsConfig
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

GREEN, ORANGE, RED = "green", "orange", "red"
Steps = Sequence[tuple[float | None, str]]  # from this value on, in this colour; None is the start
Queries = Sequence[tuple[str, str]]  # PromQL, and the legend of its series


def tile(
    title: str, description: str, expr: str, unit: str, steps: Steps = ((None, GREEN),), width: int = 4, link: str = ""
) -> Any:
    """One number, now, in the colour of what it means; `link` is the runbook's section, if it has an address."""
    panel = (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(thresholds(steps))
    )
    if "://" in link:
        panel.links([DashboardLink("Runbook").type(DashboardLinkType.LINK).url(link).target_blank(True)])
    return finished(panel, title, description, [target(expr, "", "A")], unit, width, 4)


def lines(
    title: str,
    description: str,
    queries: Queries,
    unit: str,
    width: int = 12,
    stacked: bool = False,
    log: bool = False,
    limit: float | None = None,
    zero: bool = True,
    none: str = "",
) -> Any:
    """Series over time, from `zero` on; `limit` is drawn as a dashed line, `none` says why there may be no series."""
    style = common.StackingConfig().mode(kinds.StackingMode.NORMAL if stacked else kinds.StackingMode.NONE)
    legend = common.VizLegendOptions().show_legend(True).display_mode(kinds.LegendDisplayMode.TABLE)
    panel = (
        timeseries.Panel()
        .stacking(style)
        .fill_opacity(30 if stacked else 0)
        .line_width(1)
        .span_nulls(False)
        .show_points(kinds.VisibilityMode.NEVER)
        .legend(legend.placement(kinds.LegendPlacement.BOTTOM).calcs(["mean", "lastNotNull"]))
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))
    )
    if log:
        panel.scale_distribution(common.ScaleDistributionConfig().type(kinds.ScaleDistribution.LOG).log(10))
    elif zero:
        panel.axis_soft_min(0)
    if limit is not None:
        dashed = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(thresholds(((None, "transparent"), (limit, RED)))).thresholds_style(dashed)
        panel.axis_soft_max(limit)  # the line is seen also while all is far below it
    if none:
        panel.no_value(none)
    return finished(panel, title, description, targets(queries), unit, width, 8)


def heat(title: str, description: str, expr: str, unit: str, width: int = 12, none: str = "") -> Any:
    """How many observations fell into each bucket of a histogram, over time."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_gap(1)
    )
    if none:
        panel.no_value(none)
    query = target(expr, "{{le}}", "A").format(PromQueryFormat.HEATMAP)
    return finished(panel, title, description, [query], unit, width, 8)


def rows_of(
    title: str, description: str, exprs: Sequence[str], columns: Mapping[str, tuple[str, str]], width: int = 24
) -> Any:
    """A table, a row per set of labels; `columns` says in which order: label or `Value #A` → (heading, unit)."""
    order: dict[str, dict[str, Any]] = {"renameByName": {}, "indexByName": {}, "excludeByName": {"Time": True}}
    panel = table.Panel()
    for place, (column, (heading, unit)) in enumerate(columns.items()):
        order["renameByName"][column], order["indexByName"][column] = heading, place
        if unit:
            panel.override_by_name(heading, [DynamicConfigValue("unit", unit)])
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=order))
    return finished(panel, title, description, [instant(e, i) for i, e in enumerate(exprs)], "", width, 9)


def bars(title: str, description: str, queries: Queries, by: str, unit: str, width: int = 24) -> Any:
    """Now, side by side: a group per value of the label `by`, a bar per query."""
    names = {f"Value #{letter(i)}": legend for i, (_, legend) in enumerate(queries)}
    fields = {"include": {"names": [by, *names]}}
    panel = (
        barchart.Panel()
        .x_field(by)
        .group_width(0.7)
        .legend(common.VizLegendOptions().show_legend(True).placement(kinds.LegendPlacement.BOTTOM))
        .with_transformation(DataTransformerConfig(id_val="joinByField", options={"byField": by, "mode": "outer"}))
        .with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=fields))
        .with_transformation(DataTransformerConfig(id_val="organize", options={"renameByName": names}))
    )
    return finished(panel, title, description, [instant(e, i) for i, (e, _) in enumerate(queries)], unit, width, 8)


def finished(panel: Any, title: str, description: str, queries: list[Any], unit: str, width: int, height: int) -> Any:
    """What every kind has."""
    if unit:
        panel.unit(unit)
    return panel.title(title).description(description).targets(queries).span(width).height(height)


def targets(queries: Queries) -> list[Any]:
    """Queries over time, lettered."""
    return [target(expr, legend, letter(i)) for i, (expr, legend) in enumerate(queries)]


def target(expr: str, legend: str, ref: str) -> prometheus.Dataquery:
    """One query over time."""
    return prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(ref).range()


def instant(expr: str, place: int) -> prometheus.Dataquery:
    """One query of this moment, as a table."""
    return prometheus.Dataquery().expr(expr).ref_id(letter(place)).instant().format(PromQueryFormat.TABLE)


def letter(place: int) -> str:
    """0 is A."""
    return chr(ord("A") + place)


def thresholds(steps: Steps) -> ThresholdsConfig:
    """Where a value takes another colour."""
    return (
        ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=color) for value, color in steps])
    )
