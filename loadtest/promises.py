"""What a service must keep under a load: promises, each with what was found, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.sections import table


@dataclass(frozen=True)
class Promise:
    """One line of the verdict."""

    what: str
    limit: str
    found: str
    kept: bool


def verdict(promises: Sequence[Promise], load: str, caption: str) -> str:
    """Markdown: which load it was, which promises it broke, where that was, and a row for each promise."""
    broken = [promise.what for promise in promises if not promise.kept]
    said = f"Broken: {', '.join(broken)}." if broken else "Every promise is kept."
    rows = [[p.what, p.limit, p.found, "yes" if p.kept else "**no**"] for p in promises]
    return f"{load} (open loop). {said} {caption}.\n\n{table(['', 'promised', 'found', 'kept'], rows)}"
