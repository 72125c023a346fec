"""Drift in PromQL: what came in the last hour against what training saw, exact over workers and replicas.

Serving counts each value into its bin (`00`, `01`, … between the training deciles or one per class, and `missing`), and
exports the share that training had in each, and of how many rows. Plain bins, not cumulative ones: they add up over
workers, and make PSI a sum over bins. KS needs cumulative shares, which a sum over the bins up to each of ten gives.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploy.alerts import Alert, group, recording
from deploy.objectives import Slo

QUANTITY = "model, version, quantity"
BINS = 10  # between nine deciles
EMPTY = "0.0001"  # what an empty bin counts as: the logarithm of 0 is no number
# One false alarm in 100,000 looks at a quantity that has not drifted: the standard normal's quantile of 1 − 1e-5.
SURE = 4.265
SPARSE = 5  # rows in a bin, expected and observed, below which χ² leaves it out: it is no χ² there


def rules(slo: Slo) -> dict[str, Any]:
    """The one group of drift rules: counts, shares, distances, what chance makes of them, the alarms, the alerts."""
    distance = [*distances(), *chance(slo), *significance(), *alarms()]
    return group("drift", [*shares(slo), *independent(slo), *distance, *(alert.rule(slo) for alert in alerts(slo))])


def shares(slo: Slo) -> Iterable[dict[str, Any]]:
    """Shares of the window's rows, once there are enough of them, and those of training."""
    window, enough = slo.span(slo.drift.window), slo.drift.samples
    counted = f"increase(ekiben_drift_observed_total[{window}])"
    yield recording("ekiben:drift_observed:increase", f"sum by ({QUANTITY}, bin) ({counted})")
    yield recording("ekiben:drift_samples:increase", f"sum by ({QUANTITY}) (ekiben:drift_observed:increase)")
    yield recording("ekiben:drift_expected:ratio", f"max by ({QUANTITY}, bin) (ekiben_drift_reference_ratio)")
    yield recording(
        "ekiben:drift_share:ratio",
        f"ekiben:drift_observed:increase\n"
        f"  / on ({QUANTITY}) group_left () (ekiben:drift_samples:increase >= {enough:g})",
    )


def independent(slo: Slo) -> Iterable[dict[str, Any]]:
    """How many rows tell something by themselves: as many as there were requests, at most.

    Rows of one request may be alike (frames of a film, days of one patient), and ten alike say no more than one. How
    alike they are is not known here, so a request counts as one. Without the requests every row counts.
    """
    requests = f'increase(ekiben_request_seconds_count{{job="{slo.job}"}}[{slo.span(slo.drift.window)}])'
    yield recording("ekiben:drift_requests:increase", f"sum by (model, version) ({requests})")
    yield recording(
        "ekiben:drift_rows_per_request:ratio",
        "clamp_min(\n"
        "  ekiben:drift_samples:increase / on (model, version) group_left () ekiben:drift_requests:increase\n"
        "    or 0 * ekiben:drift_samples:increase,\n"
        "  1\n)",
    )
    yield recording(
        "ekiben:drift_independent:count", "ekiben:drift_samples:increase / ekiben:drift_rows_per_request:ratio"
    )


def distances() -> Iterable[dict[str, Any]]:
    """PSI = Σ (p − q) ln(p / q); KS = max |P − Q| over the bins in their order, `missing` behind the last."""
    p, q = (f"clamp_min(ekiben:drift_{side}:ratio, {EMPTY})" for side in ("share", "expected"))
    yield recording("ekiben:drift_psi", f"sum by ({QUANTITY}) (\n  ({p} - {q})\n  * ln({p} / {q})\n)")
    yield recording("ekiben:drift_difference:ratio", "ekiben:drift_share:ratio - ekiben:drift_expected:ratio")
    for upto in range(BINS):
        # Classes have no order, so no cumulative share.
        bins = "|".join(f"{i:02}" for i in range(upto + 1))
        difference = f'ekiben:drift_difference:ratio{{quantity!="prediction:class",bin=~"{bins}"}}'
        yield recording("ekiben:drift_cumulative:ratio", f"sum by ({QUANTITY}) ({difference})", upto=f"{upto:02}")
    yield recording("ekiben:drift_ks", f"max by ({QUANTITY}) (abs(ekiben:drift_cumulative:ratio))")


def chance(slo: Slo) -> Iterable[dict[str, Any]]:
    """The PSI above which a quantity has drifted: that of slo.yaml, or what chance alone may make of few rows.

    Between n rows observed and m of training, out of one distribution over k bins, PSI is (1/n + 1/m) χ² with k − 1
    degrees of freedom (B. Yurdakul, Statistical Properties of Population Stability Index, 2018); the quantile of χ² is
    that of E. B. Wilson and M. M. Hilferty, The Distribution of Chi-Square, 1931. docs/drift.md has both measured.
    """
    degrees = "ekiben:drift_degrees:count"
    filled = f"count by ({QUANTITY}) (ekiben:drift_expected:ratio > 0)"
    yield recording(degrees, f"clamp_min({filled} - 1, 1)")
    cube_root = f"1 - 2 / (9 * {degrees}) + {SURE:g} * sqrt(2 / (9 * {degrees}))"
    yield recording("ekiben:drift_chi_square:quantile", f"{degrees} * ({cube_root}) ^ 3")
    yield recording("ekiben:drift_observed:inverse", "1 / ekiben:drift_independent:count")
    trained = f"1 / max by ({QUANTITY}) (ekiben_drift_reference_rows) or 0 * {degrees}"
    yield recording("ekiben:drift_trained:inverse", trained)
    scatter = "(ekiben:drift_observed:inverse + ekiben:drift_trained:inverse)"
    yield recording(
        "ekiben:drift_limit:psi", f"clamp_min(\n  {scatter} * ekiben:drift_chi_square:quantile,\n  {slo.drift.psi:g}\n)"
    )


def significance() -> Iterable[dict[str, Any]]:
    """Pearson's χ² of two samples, n rows with shares p and m of training with shares q: Σ (p − q)² / (p/m + q/n)."""
    p, q = "ekiben:drift_share:ratio", "ekiben:drift_expected:ratio"
    both = f"on ({QUANTITY}) group_left ()"
    pooled = f"{p} * {both} ekiben:drift_trained:inverse + {q} * {both} ekiben:drift_observed:inverse"
    yield recording(
        "ekiben:drift_chi_square",
        f"sum by ({QUANTITY}) (\n"
        f"  ekiben:drift_difference:ratio ^ 2\n"
        f"  / ({pooled} > 0)\n"
        f"  and ({p} + {q}) * {both} ekiben:drift_independent:count >= {SPARSE}\n)\n"
        "or 0 * ekiben:drift_psi",  # every bin is sparse: nothing is known
    )


def alarms() -> Iterable[dict[str, Any]]:
    """1 where a quantity has drifted, by `effect` (it moved far, and surely) and by `significance` (however little).

    Of few independent rows some bins are empty by chance, which PSI takes for far: so the one asks for the other too.
    """
    far = "ekiben:drift_psi > bool ekiben:drift_limit:psi"
    sure = "ekiben:drift_chi_square > bool ekiben:drift_chi_square:quantile"
    yield recording("ekiben:drift_alarm:bool", f"({far}) * ({sure})", by="effect")
    yield recording("ekiben:drift_alarm:bool", sure, by="significance")


def alerts(slo: Slo) -> list[Alert]:
    """What comes in, and what goes out: the one explains the other, so it silences it."""
    return [alert(slo, "input", "come in"), alert(slo, "prediction", "are predicted")]


def alert(slo: Slo, side: str, happens: str) -> Alert:
    """The ticket of one side, `input` or `prediction`."""
    return Alert(
        name=f"{side.capitalize()}Drift",
        severity="ticket",
        expr=f'ekiben:drift_psi{{quantity=~"{side}:.+"}} > ekiben:drift_limit:psi\n'
        "  and ekiben:drift_chi_square > ekiben:drift_chi_square:quantile",
        summary=f"{slo.service} {{{{ $labels.model }}}}: {{{{ $labels.quantity }}}} is not what training saw",
        description=(
            f'PSI {{{{ $value | printf "%.2f" }}}} over the last {slo.drift.window} between the values that {happens} '
            f"and those of training, version {{{{ $labels.version }}}}; above {slo.drift.psi:g} is drift, "
            "more where training had few rows, or requests were few."
        ),
        pending="5m",
    )
