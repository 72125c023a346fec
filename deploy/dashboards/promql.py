"""Fragments of PromQL that several panels share. Windows are Grafana's: four scrapes, or a pixel where that is more."""

from __future__ import annotations

WINDOW = "$__rate_interval"
OF_A_MODEL = 'model=~"$model",form=~"$form",instance=~"$instance"'


def rate(series: str, matchers: str = "") -> str:
    """Per second, series by series."""
    return f"rate({series}{f'{{{matchers}}}' if matchers else ''}[{WINDOW}])"


def total(series: str, matchers: str = "", by: str = "") -> str:
    """Per second, summed over workers, replicas and whatever else is not in `by`."""
    return f"sum{f' by ({by})' if by else ''} ({rate(series, matchers)})"


def quantile(q: float, histogram: str, matchers: str = "", by: str = "") -> str:
    """Of a histogram."""
    return f"histogram_quantile({q:g}, {total(f'{histogram}_bucket', matchers, f'{by}, le' if by else 'le')})"


def quantiles(histogram: str, matchers: str, *of: float) -> list[tuple[str, str]]:
    """A query for each quantile, and its legend."""
    return [(quantile(q, histogram, matchers), "median" if q == 0.5 else f"p{q * 100:g}") for q in of]


def buckets(histogram: str, matchers: str) -> str:
    """Observations of the window in each bucket, for a heat map."""
    return f"sum by (le) (increase({histogram}_bucket{{{matchers}}}[{WINDOW}]))"


def mean(family: str, matchers: str = "", by: str = "") -> str:
    """Of a histogram or a summary."""
    return f"{total(f'{family}_sum', matchers, by)} / {total(f'{family}_count', matchers, by)}"
