"""Promtool tests of drift: ten bins that training filled alike, and values worked out from the shares by plain sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import log, sqrt

from deploy.drift import EMPTY, QUANTITY, SPARSE, SURE, alerts
from deploy.objectives import Slo, seconds
from deploy.promtests import Case, growing, series

EVEN = [0.1] * 10
INPUT, CLASS = "input:petal_length", "prediction:class"
FEW = 90  # rows of training, so few that they scatter by themselves
PLACES = 0.000001


class Stream:
    """Rows per minute into the bins `00`, `01`, … and `missing`, for somewhat longer than drift's window."""

    def __init__(
        self,
        slo: Slo,
        quantity: str,
        per_minute: Sequence[float],
        reference: Sequence[float] = EVEN,
        missing: float = 0,
        trained: int = 0,
        requests: float = 0,
    ) -> None:
        self.slo, self.quantity, self.trained, self.requests = slo, quantity, trained, requests
        self.observed, self.reference = [*per_minute, missing], [*reference, 0.0]
        self.minutes = round(seconds(slo.drift.window) / 60)
        self.at = self.minutes + 5

    @property
    def labels(self) -> dict[str, str]:
        """Of what is recorded of it."""
        return {"model": "iris", "version": "v1", "quantity": self.quantity}

    def series(self, replica: str = "a") -> dict[str, str]:
        """What a replica exports."""
        where, length = {"job": self.slo.job, "instance": replica}, self.at + 5
        rows = {}
        bins = [*(f"{i:02}" for i in range(len(self.reference) - 1)), "missing"]
        for name, step, share in zip(bins, self.observed, self.reference, strict=True):
            labels = self.labels | {"bin": name} | where
            rows[series("ekiben_drift_observed_total", **labels)] = growing(step, length)
            rows[series("ekiben_drift_reference_ratio", **labels)] = f"{share:.12g}+0x{length}"
        if self.trained:
            rows[series("ekiben_drift_reference_rows", **self.labels, **where)] = f"{self.trained}+0x{length}"
        if self.requests:
            served = {"model": "iris", "form": "onnx", "version": "v1"}
            rows[series("ekiben_request_seconds_count", **where, **served)] = growing(self.requests, length)
        return rows

    @property
    def shares(self) -> list[float]:
        """Of the rows in each bin."""
        return [rows / sum(self.observed) for rows in self.observed]

    @property
    def independent(self) -> float:
        """Rows in the window, or requests where they are fewer."""
        rows = sum(self.observed)
        return self.minutes * (min(rows, self.requests) if self.requests else rows)

    @property
    def psi(self) -> float:
        """Σ (p − q) ln(p / q)."""
        pairs = [(max(p, float(EMPTY)), max(q, float(EMPTY))) for p, q in zip(self.shares, self.reference, strict=True)]
        return sum((p - q) * log(p / q) for p, q in pairs)

    @property
    def gaps(self) -> list[float]:
        """Differences of the cumulative shares."""
        return list(accumulate(p - q for p, q in zip(self.shares[:-1], self.reference[:-1], strict=True)))

    @property
    def degrees(self) -> int:
        """Bins that training filled, less one."""
        return max(sum(share > 0 for share in self.reference) - 1, 1)

    @property
    def quantile(self) -> float:
        """Of χ², by Wilson and Hilferty."""
        part = 2 / 9 / self.degrees
        return float(self.degrees * (1 - part + SURE * sqrt(part)) ** 3)

    @property
    def scatter(self) -> tuple[float, float]:
        """1/n of the rows observed, 1/m of those of training."""
        return 1 / self.independent, 1 / self.trained if self.trained else 0.0

    @property
    def limit(self) -> float:
        """The PSI above which it has drifted."""
        return max(sum(self.scatter) * self.quantile, self.slo.drift.psi)

    @property
    def chi_square(self) -> float:
        """Σ (p − q)² / (p/m + q/n) over the bins that are not sparse."""
        observed, trained = self.scatter
        pairs = zip(self.shares, self.reference, strict=True)
        pooled = [(p - q, p * trained + q * observed, (p + q) * self.independent) for p, q in pairs]
        return sum(gap**2 / variance for gap, variance, rows in pooled if variance and rows >= SPARSE)

    def case(self, name: str, further: dict[str, str] | None = None) -> Case:
        """A case that knows every recorded value."""
        case = Case(name, self.series() | (further or {}))
        recorded = {
            "ekiben:drift_psi": self.psi,
            "ekiben:drift_limit:psi": self.limit,
            "ekiben:drift_chi_square": self.chi_square,
            "ekiben:drift_chi_square:quantile": self.quantile,
            "ekiben:drift_independent:count": self.independent,
            "ekiben:drift_samples:increase": sum(self.observed) * self.minutes,
        }
        if self.quantity != CLASS:
            recorded["ekiben:drift_ks"] = max(map(abs, self.gaps))
        for expr, value in recorded.items():
            case.gives(self.at, f"round({expr}, {PLACES:f})", (series("", **self.labels), _round(value)))
        sure = self.chi_square > self.quantile
        alarms = {"effect": sure and self.psi > self.limit, "significance": sure}
        for by, alarm in alarms.items():
            case.gives(self.at, f'sum(ekiben:drift_alarm:bool{{by="{by}"}})', ("{}", int(alarm)))
        return case

    def few(self, name: str) -> Case:
        """A case of too few rows to have any distance."""
        case = Case(name, self.series())
        for expr in ("ekiben:drift_psi", "ekiben:drift_ks", "ekiben:drift_chi_square"):
            case.gives(self.at, expr)
        return case.silent(self.at, *alerts(self.slo))


def _round(value: float) -> float:
    return round(round(value / PLACES) * PLACES, 9)


def cases(slo: Slo) -> Iterable[Case]:
    """Distances, limits and alarms of streams that have moved and of such as have not."""
    yield from moved(slo)
    yield from scattered(slo)
    yield from volume(slo)
    yield from bins(slo)


def moved(slo: Slo) -> Iterable[Case]:
    """How far values may move until somebody is told, and after how long."""
    came_in, predicted = alerts(slo)
    even = Stream(slo, INPUT, [10] * 10)
    yield even.case("what training saw is no drift").silent(even.at, came_in, predicted)
    # p is .02 in the lower half and .18 in the upper, q is .1:
    # PSI = 5 (.02 − .1) ln .2 + 5 (.18 − .1) ln 1.8 = .4 ln 9 = .8789; KS = 5 × .08 = .4.
    up = Stream(slo, INPUT, [2] * 5 + [18] * 5)
    expected = came_in.fired(slo, up.labels, "0.88")
    shifted = up.case("values that moved up").fires(up.at, came_in.name, expected).fires(up.at, predicted.name)
    # 100 rows a minute: enough after 5 minutes, told when that has stood for 5 more.
    enough = slo.drift.samples / 100
    yield shifted.silent(enough + 4, came_in).fires(enough + 6, came_in.name, expected)
    # p is .08 and .12: PSI = 5 (−.02) ln .8 + 5 (.02) ln 1.2 = .1 ln 1.5 = .0405, KS = .1: sure, but not far.
    slight = Stream(slo, INPUT, [8] * 5 + [12] * 5)
    yield slight.case("a slight shift").silent(slight.at, came_in, predicted)
    classes = Stream(slo, CLASS, [80, 20], [0.5, 0.5])
    other = classes.case("predicted classes").fires(
        classes.at, predicted.name, predicted.fired(slo, classes.labels, "0.42")
    )
    firing = f'count(ALERTS{{alertname="{predicted.name}",alertstate="firing"}})'
    other.silent(enough + 4, predicted).gives(enough + 6, firing, ("{}", 1))
    yield other.fires(classes.at, came_in.name)
    down = Stream(slo, INPUT, [18] * 5 + [2] * 5).series("b")
    both = Case("replicas add up, one moved up and one down", up.series() | down)
    yield both.near(up.at, "ekiben:drift_psi + 1", 1).silent(up.at, came_in, predicted)


def scattered(slo: Slo) -> Iterable[Case]:
    """What chance alone may make of few rows of training, and of rows that came together."""
    came_in, _ = alerts(slo)
    # p is .055 and .145: PSI = 5 × .045 ln(.145 / .055) = .2181. Told, unless training had only 90 rows: with the
    # quantile 9 (1 − 2/81 + 4.265 √(2/81))³ = 40.10, those and 6000 observed make .45 by chance.
    shares = [5.5] * 5 + [14.5] * 5
    some = Stream(slo, INPUT, shares, trained=20_000)
    yield some.case("just enough of a shift").fires(some.at, came_in.name, came_in.fired(slo, some.labels, "0.22"))
    few = Stream(slo, INPUT, shares, trained=FEW)
    yield few.case("few training rows scatter").silent(few.at, came_in)
    alike = Stream(slo, INPUT, shares, trained=20_000, requests=1)
    yield alike.case("a hundred rows a request count as one").silent(alike.at, came_in)
    # Two bins that are empty by chance: PSI takes that for far, .69 each, χ² for nothing, 4.8 rows being due in each.
    empty = Stream(slo, INPUT, [0, 0, *[12.5] * 8], trained=20_000, requests=0.8)
    yield empty.case("bins that are empty of few requests").silent(empty.at, came_in)
    hardly = Stream(slo, INPUT, shares, trained=20_000, requests=0.1)
    yield hardly.case("so few requests that no bin says anything").silent(hardly.at, came_in)
    unseen = Stream(slo, INPUT, shares, trained=20_000, requests=200)
    expected = came_in.fired(slo, unseen.labels, "0.22")
    yield unseen.case("more requests than rows that were looked at").fires(unseen.at, came_in.name, expected)


def volume(slo: Slo) -> Iterable[Case]:
    """Rows in the window, 2 % either side of what it takes."""
    came_in, predicted = alerts(slo)
    minutes = round(seconds(slo.drift.window) / 60)
    for share, name in ((0.98, "too few rows to tell"), (1.02, "just enough rows to tell")):
        rows = slo.drift.samples * share / minutes
        stream = Stream(slo, INPUT, [rows * 0.02] * 5 + [rows * 0.18] * 5)
        if share < 1:
            yield stream.few(name)
        else:
            yield stream.case(name).fires(stream.at, came_in.name, came_in.fired(slo, stream.labels, "0.88"))
    still = Stream(slo, INPUT, [0] * 10)
    idle = Case("no traffic", dict.fromkeys(still.series(), f"7+0x{still.at}"))
    yield idle.gives(still.at, "ekiben:drift_psi").silent(still.at, came_in, predicted)


def bins(slo: Slo) -> Iterable[Case]:
    """Bins that are empty, sparse, missing, or all there is."""
    came_in, _ = alerts(slo)
    # Half is missing, where training (q = 0, taken as .0001) missed none. PSI = 10 (.05 − .1) ln .5
    # + (.5 − .0001) ln 5000 = .3466 + 4.2577 = 4.6043; KS: nine bins lack .05 each, and the last .05 too: .5.
    missing = Stream(slo, INPUT, [5] * 10, missing=50)
    expected = came_in.fired(slo, missing.labels, "4.60")
    yield missing.case("values that are missing").fires(missing.at, came_in.name, expected)
    # An empty bin counts as .0001. PSI = (.0001 − .1) ln .001 + (.2 − .1) ln 2 = .6901 + .0693 = .7594.
    empty = Stream(slo, INPUT, [0, 20] + [10] * 8)
    expected = came_in.fired(slo, empty.labels, "0.76")
    yield empty.case("a bin that nothing falls into").fires(empty.at, came_in.name, expected)
    slope = Stream(slo, INPUT, range(1, 11))
    cumulative = slope.case("each bin has another share")
    for upto, gap in enumerate(slope.gaps):
        expr = f'sum by ({QUANTITY}) (round(ekiben:drift_cumulative:ratio{{upto="{upto:02}"}}, {PLACES:f}))'
        cumulative.gives(slope.at, expr, (series("", **slope.labels), _round(gap)))
    yield cumulative
    for rows in (SPARSE - 0.4, SPARSE + 0.4):
        sparse = Stream(slo, INPUT, [10] * 10, missing=rows / 60, trained=20_000)
        yield sparse.case(f"{rows:g} rows where training had none")
    yield Stream(slo, CLASS, [100], [1.0]).case("a single class")
