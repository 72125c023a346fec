"""Promtool tests of drift, with values worked out by hand from ten bins that training filled alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from deploy.drift import alerts
from deploy.objectives import Slo
from deploy.promtests import Case, growing, series

EVEN = [0.1] * 10
LABELS = 'model="iris",quantity="{}",version="v1"'


def stream(
    quantity: str,
    per_minute: Sequence[float],
    reference: Sequence[float] = EVEN,
    missing: float = 0,
    replica: str = "a",
) -> dict[str, str]:
    """Rows per minute into the bins `00`, `01`, … and `missing`, for 90 minutes."""
    given = {}
    bins = [f"{i:02}" for i in range(len(reference))] + ["missing"]
    for name, rows, share in zip(bins, [*per_minute, missing], [*reference, 0], strict=True):
        labels = {"model": "iris", "version": "v1", "quantity": quantity, "bin": name, "instance": replica}
        given[series("ekiben_drift_observed_total", **labels)] = growing(rows, 90)
        given[series("ekiben_drift_reference_ratio", **labels)] = f"{share:g}+0x90"
    return given


def distance(case: Case, quantity: str, psi: float, ks: float | None) -> Case:
    """PSI and KS to four places at 80 minutes."""
    labels = "{" + LABELS.format(quantity) + "}"
    case.gives(80, "round(ekiben:drift_psi, 0.0001)", (labels, psi))
    return case.gives(80, "round(ekiben:drift_ks, 0.0001)", *([] if ks is None else [(labels, ks)]))


def cases(slo: Slo) -> Iterable[Case]:
    came_in, predicted = alerts(slo)
    quantity, silent = "input:petal_length", (came_in, predicted)
    labels = {"model": "iris", "version": "v1", "quantity": quantity}

    even = distance(Case("what training saw is no drift", stream(quantity, [10] * 10)), quantity, 0, 0)
    yield even.silent(80, *silent)

    # p is .02 in the lower half and .18 in the upper, q is .1:
    # PSI = 5 (.02 − .1) ln .2 + 5 (.18 − .1) ln 1.8 = .4 ln 9 = .8789; KS = 5 × .08 = .4.
    shifted = Case("values that moved up", stream(quantity, [2] * 5 + [18] * 5))
    distance(shifted, quantity, 0.8789, 0.4).fires(80, came_in.name, came_in.fired(slo, labels, "0.88"))
    yield shifted.fires(80, predicted.name)

    # p is .08 and .12: PSI = 5 (−.02) ln .8 + 5 (.02) ln 1.2 = .1 ln 1.5 = .0405, KS = .1: seen, not told.
    slight = distance(Case("a slight shift", stream(quantity, [8] * 5 + [12] * 5)), quantity, 0.0405, 0.1)
    yield slight.silent(80, *silent)

    # p is .055 and .145: PSI = 5 × .045 ln(.145 / .055) = .2181, KS = .225. Told, unless training had only 90 rows:
    # with the quantile 9 (1 − 2/81 + 4.265 √(2/81))³ = 40.10, those and 6000 observed make .45 by chance.
    some = distance(Case("just enough of a shift", stream(quantity, [5.5] * 5 + [14.5] * 5)), quantity, 0.2181, 0.225)
    limit, limited = "round(ekiben:drift_limit:psi, 0.01)", "{" + LABELS.format(quantity) + "}"
    some.gives(80, limit, (limited, slo.drift.psi))
    yield some.fires(80, came_in.name, came_in.fired(slo, labels, "0.22"))
    rows = {series("ekiben_drift_reference_rows", **labels, instance="a"): "90+0x90"}
    scattered = Case("few training rows scatter", stream(quantity, [5.5] * 5 + [14.5] * 5) | rows)
    scattered.gives(80, limit, (limited, 0.45))
    yield distance(scattered, quantity, 0.2181, 0.225).silent(80, *silent)

    # 300 rows an hour, moved as above.
    few = Case("too few rows to tell", stream(quantity, [0.1] * 5 + [0.9] * 5))
    few.gives(80, "ekiben:drift_psi").gives(80, "ekiben:drift_ks")
    yield few.silent(80, *silent)

    # Each replica alone has moved, one up and one down; together they have not.
    replicas = stream(quantity, [2] * 5 + [18] * 5) | stream(quantity, [18] * 5 + [2] * 5, replica="b")
    yield distance(Case("replicas add up", replicas), quantity, 0, 0).silent(80, *silent)

    # Half is missing, where training (q = 0, taken as .0001) missed none. PSI = 10 (.05 − .1) ln .5
    # + (.5 − .0001) ln 5000 = .3466 + 4.2577 = 4.6043; KS: nine bins lack .05 each, and the last .05 too: .5.
    missing = Case("values that are missing", stream(quantity, [5] * 10, missing=50))
    yield distance(missing, quantity, 4.6043, 0.5).fires(80, came_in.name, came_in.fired(slo, labels, "4.60"))

    # An empty bin counts as .0001. PSI = (.0001 − .1) ln .001 + (.2 − .1) ln 2 = .6901 + .0693 = .7594.
    empty = Case("a bin that nothing falls into", stream(quantity, [0, 20] + [10] * 8))
    yield distance(empty, quantity, 0.7594, 0.1).fires(80, came_in.name, came_in.fired(slo, labels, "0.76"))

    # Classes have no order, so no KS. PSI = (.8 − .5) ln 1.6 + (.2 − .5) ln .4 = .1410 + .2749 = .4159.
    quantity = "prediction:class"
    classes = distance(Case("predicted classes", stream(quantity, [80, 20], [0.5, 0.5])), quantity, 0.4159, None)
    yield classes.fires(80, predicted.name, predicted.fired(slo, labels | {"quantity": quantity}, "0.42"))

    idle = Case("no traffic", dict.fromkeys(stream("input:petal_length", [0] * 10), "7+0x90"))
    yield idle.gives(80, "ekiben:drift_psi").silent(80, *silent)
