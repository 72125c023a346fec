"""What a service's models were trained on, as it says itself at /metrics: shares per bin, and of how many rows."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.request import urlopen

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

SHARES, ROWS = "ekiben_drift_reference_ratio", "ekiben_drift_reference_rows"
MISSING = "missing"


class NoReference(Exception):
    """The service does not say what its models were trained on."""


@dataclass(frozen=True)
class Reference:
    """One quantity at training: shares of the bins in their order, `missing` last, that add up to 1."""

    model: str
    quantity: str
    shares: np.ndarray  # (bins,)
    rows: int

    @property
    def filled(self) -> int:
        """Bins that training had rows in."""
        return int((self.shares > 0).sum())


def of_service(url: str) -> list[Reference]:
    """The references of a running service. NoReference if it does not answer, or has none."""
    try:
        with urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - the operator's own address
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        raise NoReference(f"{url}/metrics: {error}") from None
    if found := parsed(text):
        return found
    raise NoReference(f"{url}/metrics has no {SHARES} and {ROWS}: no model there was trained with a reference")


def parsed(text: str) -> list[Reference]:
    """The references in a scrape, by model and quantity."""
    shares: dict[tuple[str, str, str], dict[str, float]] = {}
    rows: dict[tuple[str, str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples if family.name in (SHARES, ROWS) else ():
            key = (sample.labels["model"], sample.labels["version"], sample.labels["quantity"])
            if family.name == ROWS:
                rows[key] = sample.value
            else:
                shares.setdefault(key, {})[sample.labels["bin"]] = sample.value
    return [_reference(key, shares[key], rows[key]) for key in sorted(shares.keys() & rows.keys())]


def _reference(key: tuple[str, str, str], shares: dict[str, float], rows: float) -> Reference:
    bins = sorted(shares, key=lambda name: (name == MISSING, name))
    values = np.array([shares[name] for name in bins])
    return Reference(key[0], key[2], values / values.sum(), int(rows))
