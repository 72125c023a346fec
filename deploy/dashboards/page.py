"""A dashboard: its rows of panels, what may be chosen on it, and the links that all dashboards share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard, DashboardLink, QueryVariable, Row
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

TAG = "ekiben"
SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")  # compose/grafana-datasource.yml
EVERY = ".*"


@dataclass(frozen=True)
class Choice:
    """A variable, filled with the values that a label has. `several`: any number of them, and all at first."""

    name: str
    metric: str
    several: bool = True

    def variable(self) -> QueryVariable:
        """The variable as Grafana has it."""
        query = (
            QueryVariable(self.name)
            .label(self.name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values({self.metric}, {self.name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(self.several)
            .include_all(self.several)
        )
        if self.several:
            query.all_value(EVERY).current(VariableOption(selected=True, text="All", value="$__all"))
        return query


MODEL = Choice("model", "ekiben_model_info", several=False)
FORM = Choice("form", 'ekiben_model_info{model=~"$model"}')
INSTANCE = Choice("instance", "ekiben_workers")


def page(
    name: str, title: str, answers: str, rows: Mapping[str, Sequence[Any]], choices: Sequence[Choice], runbook: str
) -> Dashboard:
    """The dashboard `ekiben-<name>`; `answers` are the questions that it answers. A runbook's path is no link."""
    dashboard = (
        Dashboard(f"Ekiben · {title}")
        .uid(f"{TAG}-{name}")
        .description(answers)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(DashboardLink("Ekiben").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True).include_vars(True))
    )
    if "://" in runbook:
        dashboard.link(DashboardLink("Runbook").type(DashboardLinkType.LINK).url(runbook).target_blank(True))
    for choice in choices:
        dashboard.with_variable(choice.variable())
    for heading, panels in rows.items():
        dashboard.with_row(Row(heading))
        for panel in panels:
            dashboard.with_panel(panel.datasource(SOURCE))
    return dashboard
