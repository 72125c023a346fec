"""Does what comes in, and what goes out, still look like training?"""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.page import MODEL, Choice, page
from deploy.dashboards.panels import GREEN, RED, bars, lines, rows_of, tile
from deploy.dashboards.promql import mean, total
from deploy.objectives import Slo

QUANTITY = Choice("quantity", 'ekiben_drift_reference_ratio{model=~"$model"}', several=False)
OF = 'model=~"$model"'
ONE = 'model=~"$model",quantity=~"$quantity"'
KEY = "model, version, quantity"


def dashboard(slo: Slo) -> Dashboard:
    """The dashboard of drift."""
    rows = {
        "Has anything moved": moved(slo),
        "Distances from training": distances(),
        "One quantity": one(),
        "Inputs": inputs(),
    }
    answers = "Are inputs and predictions still those of training, which quantity moved, and where to?"
    return page("drift", "drift", answers, rows, (MODEL, QUANTITY), slo.runbook)


def moved(slo: Slo) -> list[Any]:
    """How many quantities have moved, and how many rows say so."""
    return [
        tile(
            "Quantities above the limit",
            "Inputs and predictions that have moved far, and surely: what the alert tells after 5 minutes.",
            f'count(ekiben:drift_alarm:bool{{{OF},by="effect"}} == 1) or vector(0)',
            "none",
            ((None, GREEN), (1.0, RED)),
            6,
            f"{slo.runbook}#inputdrift",
        ),
        tile(
            "Largest PSI over its limit",
            "100 % is the limit. PSI is the population stability index: 0 is no difference; the limit is "
            f"{slo.drift.psi:g}, or what chance alone may make of few rows or requests.",
            f"max(ekiben:drift_psi{{{OF}}} / ekiben:drift_limit:psi)",
            "percentunit",
            ((None, GREEN), (1.0, RED)),
            6,
        ),
        tile(
            f"Rows in {slo.drift.window}",
            f"Rows that the distances are made of. Below {slo.drift.samples} there is no distance, and no alert.",
            f"max(ekiben:drift_samples:increase{{{OF}}})",
            "short",
            ((None, RED), (slo.drift.samples, GREEN)),
            6,
        ),
        tile(
            "Fewest rows of reference",
            "Inputs are held against the rows of training, predictions against those held out of it. A few hundred "
            "scatter by themselves, and raise the limit.",
            f"min(ekiben_drift_reference_rows{{{OF}}})",
            "short",
            width=6,
        ),
    ]


def distances() -> list[Any]:
    """How far, how surely, and in which way."""
    return [
        lines(
            "PSI over its limit",
            "Population stability index between the last hour and training, by quantity, over what the alert allows: "
            "100 % is the line. Inputs that move explain predictions that do.",
            [(f"ekiben:drift_psi{{{OF}}} / ekiben:drift_limit:psi", "{{quantity}}")],
            "percentunit",
            8,
            limit=1.0,
        ),
        lines(
            "χ² over its quantile",
            "Whether it has moved at all: chance passes 100 % once in 100,000 looks. With many rows small "
            "shifts are beyond doubt, and no reason to get up: the alert asks for PSI, too.",
            [(f"ekiben:drift_chi_square{{{OF}}} / ekiben:drift_chi_square:quantile", "{{quantity}}")],
            "percentunit",
            8,
            limit=1.0,
        ),
        lines(
            "KS",
            "Kolmogorov–Smirnov: the largest gap between the two cumulative distributions, at the deciles of training. "
            "0.1 is a tenth of all rows on another side of some decile. Classes have no order, so no KS.",
            [(f"ekiben:drift_ks{{{OF}}}", "{{quantity}}")],
            "none",
            8,
        ),
    ]


def one() -> list[Any]:
    """One quantity, bin by bin."""
    observed = f"ekiben:drift_observed:increase{{{ONE}}}"
    return [
        bars(
            "$quantity: now and in training",
            "Share of rows in each bin. The bins of a number lie between the deciles of training (00 is the lowest "
            "tenth), those of a class are the classes in their order, c00 and on are codes and texts, the last of them "
            "all others; missing is NaN. The deciles stand in the certificate: bentoml models get MODEL-FORM:latest.",
            [
                (f"sum by (bin) ({observed}) / scalar(sum({observed}))", "now"),
                (f"max by (bin) (ekiben_drift_reference_ratio{{{ONE}}})", "training"),
            ],
            "bin",
            "percentunit",
            16,
        ),
        lines(
            "$quantity: mean",
            "Of the values that are there, as the model gets them. Predictions have theirs on the model's dashboard.",
            [(mean("ekiben_input_value", ONE, "quantity"), "{{quantity}}")],
            "short",
            8,
            zero=False,
            none="a prediction is no input",
        ),
    ]


def inputs() -> list[Any]:
    """What comes in, and what is left out."""
    missing = total("ekiben_drift_observed_total", f'{OF},quantity=~"input:.*",bin="missing"', KEY)
    rows = total("ekiben_drift_observed_total", f'{OF},quantity=~"input:.*"', KEY)
    usual = f'max by ({KEY}) (ekiben_drift_reference_ratio{{{OF},quantity=~"input:.*",bin="missing"}})'
    return [
        rows_of(
            "Inputs now",
            "Mean, share that is missing (and was in training), share outside what the model's page allows. The native "
            "route refuses what is outside; V2 takes any number.",
            [
                mean("ekiben_input_value", OF, KEY),
                f"{missing} / {rows}",
                usual,
                f"{total('ekiben_input_out_of_range_total', OF, KEY)} / {rows}",
            ],
            {
                "model": ("model", ""),
                "version": ("version", ""),
                "quantity": ("input", ""),
                "Value #A": ("mean", "short"),
                "Value #B": ("missing", "percentunit"),
                "Value #C": ("missing in training", "percentunit"),
                "Value #D": ("out of range", "percentunit"),
            },
            16,
        ),
        lines(
            "Rows left out",
            "Rows per second that were answered and not looked at: more came in a second than is looked at. Above "
            "0, all that this page and the predictions say is of a part of the rows.",
            [(total("ekiben_unwatched_rows_total", OF, "form"), "{{form}}")],
            "ops",
            8,
        ),
    ]
