"""A Prometheus server, asked over its HTTP API as Grafana asks it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
Series = tuple[dict[str, str], list[tuple[float, float]]]  # labels, (time, value) each
Values = dict[str, str]  # of a dashboard's variables


class QueryError(ValueError):
    """Prometheus refused a query; the message is its own, with the query."""


@dataclass
class Prometheus:
    """One server; `points` are what a panel's width has room for."""

    url: str
    points: int = 200
    begin: float = field(init=False)
    end: float = field(init=False)

    def __post_init__(self) -> None:
        """The last hour, or what there is of it; a minute at least."""
        self.end = time.time()
        first = self._get("status/tsdb")["headStats"]["minTime"] / 1e3
        self.begin = min(self.end - 60, max(self.end - 3600, first))
        config = yaml.safe_load(self._get("status/config")["yaml"])
        self._scrape = seconds(config["global"]["scrape_interval"])

    @property
    def step(self) -> float:
        """Seconds between two values."""
        return max((self.end - self.begin) / self.points, self._scrape)

    def ask(self, target: Mapping[str, Any], values: Values) -> list[Series]:
        """The series of a panel's target: over the whole time, or at its end where the target is instant."""
        expr = self.filled(target["expr"], values)
        if target.get("instant"):
            return self.now(expr)
        result = self._get("query_range", query=expr, start=self.begin, end=self.end, step=self.step)["result"]
        return [(row["metric"], [(float(t), float(v)) for t, v in row["values"]]) for row in result]

    def now(self, expr: str) -> list[Series]:
        """The samples of an expression at this moment."""
        result = self._get("query", query=expr, time=self.end)
        if result["resultType"] == "scalar":
            moment, value = result["result"]
            return [({}, [(float(moment), float(value))])]
        return [(row["metric"], [(float(row["value"][0]), float(row["value"][1]))]) for row in result["result"]]

    def filled(self, text: str, values: Values) -> str:
        """The text with its variables; the window of a rate is at least four scrapes, as Grafana has it."""
        window = max(4 * self._scrape, self.step + self._scrape)
        substitutions = {"__rate_interval": f"{window * 1e3:.0f}ms", **values}
        return re.sub(r"\$(\w+)", lambda match: substitutions[match[1]], text)

    def choices(self, dashboard: Mapping[str, Any]) -> list[Values]:
        """Each way to choose the variables of a dashboard: all of what may be several, each of what is one."""
        combinations: list[Values] = [{}]
        for variable in variables(dashboard):
            combinations = [
                {**values, variable["name"]: value}
                for values in combinations
                for value in self._chosen(variable, values)
            ]
        return combinations

    def _chosen(self, variable: Mapping[str, Any], values: Values) -> Iterator[str]:
        if variable["multi"]:
            yield variable["allValue"]
            return
        match = LABEL_VALUES.fullmatch(variable["query"])
        assert match, f"variable {variable['name']}: {variable['query']!r} is no label_values(metric, label)"
        metric, label = match.groups()
        result = self.now(f"group by ({label}) ({self.filled(metric, values)})")
        yield from sorted(labels[label] for labels, _ in result if label in labels)

    def _get(self, path: str, **parameters: Any) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except HTTPError as error:
            reason = json.load(error).get("error", "")
            raise QueryError(f"{parameters.get('query', path)}: {reason}") from None


def seconds(duration: str) -> float:
    """`1m30s` or `200ms`, as Prometheus writes durations."""
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    return sum(float(n) * units[u] for n, u in re.findall(r"(\d+)(ms|s|m|h|d)", duration))


def variables(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What may be chosen on a dashboard, in its order."""
    result: list[dict[str, Any]] = dashboard["templating"].get("list", [])
    return result


def panels(dashboard: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard's JSON that ask something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def silent(dashboard: Mapping[str, Any], server: Prometheus) -> list[str]:
    """`title: query` of what returns nothing but NaN, or nothing at all, whatever is chosen."""
    quiet = {(p["title"], t["expr"]): (p, t) for p in panels(dashboard) for t in p["targets"]}
    for values in server.choices(dashboard):
        for key, (_, target) in list(quiet.items()):
            if any(v == v for _, points in server.ask(target, values) for _, v in points):
                del quiet[key]
    return [f"{dashboard['title']} · {title}: {expr}" for title, expr in quiet]
