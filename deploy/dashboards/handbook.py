"""The parts of docs/monitoring.md that are generated: what is exported, and how each panel is read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.dashboards.exported import Family
from deploy.dashboards.prometheus import panels, variables
from deploy.objectives import HERE

PATH = "../docs/monitoring.md"
# Which of a dashboard's drawings the page shows, where there is one per model.
SHOWN = {"model": ("model-digits", "model-homes"), "drift": ("drift-iris",)}


def page(dashboards: Mapping[str, dict[str, Any]], families: Iterable[Family]) -> str:
    """The page as it should be: what stands between its markers is made anew, the rest is left."""
    text = (HERE / PATH).read_text()
    text = between(text, "metrics", metrics(families))
    return between(text, "dashboards", "\n\n".join(section(name, d) for name, d in dashboards.items()))


def between(text: str, marker: str, content: str) -> str:
    """The text with other content between its markers. OSError if they are not there once"""
    replaced, count = re.subn(
        rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.DOTALL
    )
    if count != 1:
        raise OSError(f"docs/monitoring.md must have one <!-- {marker} --> … <!-- /{marker} -->, not {count}")
    return replaced


def metrics(families: Iterable[Family]) -> str:
    """The table of what is exported."""
    lines = [f"| `{name}` | {kind} | {text} |" for name, kind, text in families]
    return "\n".join(["| metric | type | what |", "|---|---|---|", *lines])


def section(name: str, dashboard: Mapping[str, Any]) -> str:
    """A dashboard: its question, its picture, its panels."""
    title = dashboard["title"].rpartition(" · ")[2].capitalize()
    pictures = "\n\n".join(f"![{title}](monitoring/{file}.png)" for file in SHOWN.get(name, (name,)))
    choices = ", ".join(f"`{variable['name']}`" for variable in variables(dashboard))
    choice = f" It can be narrowed to a {choices}." if choices else ""
    rows = [f"| {panel['title']} | {panel['description']} |" for panel in panels(dashboard)]
    head = f"### {title}\n\n*{dashboard['description']}*{choice}\n\n{pictures}"
    return "\n".join([head, "", "| panel | how to read it |", "|---|---|", *rows])
