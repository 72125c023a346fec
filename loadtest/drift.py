"""python -m loadtest.drift: how often the drift alerts of a running service would cry wolf, and what they would miss.

Asks the service at --url what its models were trained on (shares per bin, rows: GET /metrics), and draws hours of
traffic from the distributions that may have given such a training: unshifted ones, to count the false alarms of a PSI
above 0.2 and of one above the limit that the rules use; and shifted ones, to count what is told. Nothing is sent to
the models, nothing is timed, and the same service gives the same figures.

  make serve                                  # elsewhere
  python -m loadtest.drift                    # about three minutes; writes docs/drift.md and docs/drift.png
  python -m loadtest.drift --looks 1000       # a first look; the rates are as coarse as that
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from loadtest import figures as plots
from loadtest.documents import Progress, add_section, command_line, render, table
from loadtest.measurement import samples
from loadtest.service import ServiceError, request, run_command

# As deploy/prometheus/rules/drift.yml has them; a test holds them together.
PSI = 0.2
EMPTY = 1e-4
SURE = 4.265

AT_ONCE = 2_000_000  # looks × bins held in memory
ROWS = (500, 1000, 5000, 10_000)  # in the window; below the first the rules tell nothing
SHIFTS = (0.25, 0.5, 0.75, 1.0)  # standard deviations
MONTH = 720  # windows of an hour
SHARES, ROWS_NAME = "ekiben_drift_reference_ratio", "ekiben_drift_reference_rows"
MIN_ROWS = ROWS[0]
TRAINED = np.geomspace(25, 20_000, 18).astype(int)
PLOTTED_SHIFTS = np.linspace(0, 1.5, 31)
DECILES = np.append(np.full(10, 0.1), 0.0)  # the usual quantity: ten bins alike, none missing


def main(words: Sequence[str] | None = None) -> None:
    """The command. ServiceError where the service has no references"""
    parser = command_line("loadtest.drift", __doc__)
    parser.add_argument("--url", default="http://localhost:3000", help="the service (http://localhost:3000)")
    parser.add_argument("--looks", type=int, default=20_000, metavar="N", help="at each quantity (20000)")
    add_section(parser, "drift", "docs/drift.md", "--doc")
    options = parser.parse_args(words)
    if options.looks < 100:
        parser.error(f"--looks {options.looks}: fewer than 100 say nothing")
    references = read_references(options.url.rstrip("/"))
    with Progress(len(references)) as progress:
        models, quantities = measure(references, options.looks, progress.tell)
    picture = options.doc.path.with_suffix(".png")
    draw(quantities, options.looks, picture)
    options.doc.publish(markdown(models, quantities, options.looks, picture.name), picture)


# What chance makes of PSI: rows drawn from the distribution that training's rows were drawn from, again and again.
#
# That distribution is not known; training only had a sample of it. What the sample leaves open is Dirichlet's: between
# order statistics of a sample lies a share of the whole that is distributed so (the coverages of S. S. Wilks,
# Mathematical Statistics, 1962), whatever the distribution. So each look draws a distribution that may have given this
# training, and from it the rows that come in.


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


def read_references(url: str) -> list[Reference]:
    """The references of a running service. ServiceError if it does not answer, or has none."""
    if references := parse(request(f"{url}/metrics")[1].decode()):
        return references
    raise ServiceError(f"{url}/metrics has no {SHARES} and {ROWS_NAME}: no model there was trained with a reference")


def parse(text: str) -> list[Reference]:
    """The references in a scrape, by model and quantity."""
    shares: dict[tuple[str, ...], dict[str, float]] = {}
    rows: dict[tuple[str, ...], int] = {}
    for sample in samples(text):
        key = tuple(sample.labels.get(name, "") for name in ("model", "version", "quantity"))
        if sample.name == ROWS_NAME:
            rows[key] = int(sample.value)
        elif sample.name == SHARES:
            shares.setdefault(key, {})[sample.labels["bin"]] = sample.value
    references = []
    for key in sorted(shares.keys() & rows.keys()):
        names = sorted(shares[key], key=lambda name: (name == "missing", name))
        values = np.array([shares[key][name] for name in names])
        references.append(Reference(key[0], key[2], values / values.sum(), rows[key]))
    return references


def psi(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Σ (p − q) ln(p / q) over the last axis. (…, bins), (bins,) → (…)"""
    p, q = np.maximum(observed, EMPTY), np.maximum(expected, EMPTY)
    return ((p - q) * np.log(p / q)).sum(-1)


def limit(reference: Reference, rows: int) -> float:
    """The PSI above which the alert fires, with this many rows in the window."""
    degrees = max(reference.filled - 1, 1)
    quantile = degrees * (1 - 2 / (9 * degrees) + SURE * sqrt(2 / (9 * degrees))) ** 3
    return max(PSI, (1 / rows + 1 / reference.rows) * quantile)


def looks(
    reference: Reference, rows: int, count: int, random: np.random.Generator, *, each: int = 1, shift: float = 0.0
) -> np.ndarray:
    """PSI of windows of `rows` rows: `count` trainings, `each` windows after every one. (count, each)

    `shift` moves what comes in by so many standard deviations, were the quantity a normal one; classes in their order.
    """
    filled = reference.shares > 0
    moved = shifted(reference.shares, shift)[filled] / reference.shares[filled]
    chunk = max(1, AT_ONCE // (each * len(filled)))
    values = []
    for start in range(0, count, chunk):
        trainings = min(chunk, count - start)
        truth = np.zeros((trainings, len(filled)))
        truth[:, filled] = random.dirichlet(reference.shares[filled] * reference.rows, trainings) * moved
        truth /= truth.sum(1, keepdims=True)
        observed = random.multinomial(rows, truth[:, None, :], (trainings, each)) / rows
        values.append(psi(observed, reference.shares))
    return np.concatenate(values)


def shifted(shares: np.ndarray, by: float) -> np.ndarray:
    """The shares of bins once a normal quantity has moved up by so many standard deviations; `missing` stays."""
    missing = shares[-1]
    if missing == 1:
        return shares
    upper = np.append((np.cumsum(shares[:-2]) / (1 - missing)).clip(1e-12, 1 - 1e-12), 1)
    return np.append(np.diff(norm.cdf(norm.ppf(upper) - by), prepend=0) * (1 - missing), missing)


@dataclass(frozen=True)
class Measured:
    """How often the limits are passed by one model, or by one quantity of it.

    alarms: by rows in the window, and by 0 for a month of windows of the fewest, which looks were alarms though nothing
    had drifted, with 0.2 alone and with the limit of the rules: (2, looks). power: by shift, the share of looks at a
    quantity that tell it, with the fewest rows.
    """

    model: str
    references: list[Reference]
    alarms: dict[int, np.ndarray]
    power: dict[float, float]

    def alone(self, rows: int) -> float:
        """Share of the looks above 0.2."""
        return float(self.alarms[rows][0].mean())

    def limited(self, rows: int) -> float:
        """Share of the looks above the limit of the rules."""
        return float(self.alarms[rows][1].mean())

    def both(self, rows: int) -> str:
        """`100 % → **1.7 %**`"""
        return f"{share(self.alone(rows))} → **{share(self.limited(rows))}**"


def measure(
    references: Iterable[Reference], count: int, tell: Callable[[str], None]
) -> tuple[list[Measured], list[Measured]]:
    """The figures of each model, and of each quantity. Quantities are drawn apart, as if they were independent."""
    random, quantities = np.random.default_rng(0), []
    for reference in references:
        tell(f"{reference.model} {reference.quantity}")
        alarms = {rows: _alarms(reference, rows, count, random) for rows in ROWS}
        alarms[0] = _alarms(reference, MIN_ROWS, max(count // 10, 1), random, each=MONTH)
        power = {shift: float(_alarms(reference, MIN_ROWS, count, random, shift=shift)[1].mean()) for shift in SHIFTS}
        quantities.append(Measured(reference.model, [reference], alarms, power))
    models = []
    for name in dict.fromkeys(each.model for each in quantities):
        own = [each for each in quantities if each.model == name]
        any_of = {rows: np.any([each.alarms[rows] for each in own], axis=0) for rows in own[0].alarms}
        models.append(Measured(name, [reference for each in own for reference in each.references], any_of, {}))
    return models, quantities


def _alarms(
    reference: Reference, rows: int, count: int, random: np.random.Generator, each: int = 1, shift: float = 0.0
) -> np.ndarray:
    values = looks(reference, rows, count, random, each=each, shift=shift)
    return np.stack([(values > above).any(1) for above in (PSI, limit(reference, rows))])


# What is said of it


def markdown(models: Sequence[Measured], quantities: Sequence[Measured], count: int, picture: str) -> str:
    """The whole block: conclusion, plot, a table per model, power, a table per quantity."""
    sides: dict[str, list[Measured]] = {}
    for each in quantities:
        sides.setdefault(f"{each.model}, {each.references[0].quantity.split(':')[0]}", []).append(each)
    of_models = [[m.model, f"{len(m.references)}", trained(m), *(m.both(n) for n in (*ROWS, 0))] for m in models]
    of_sides, of_quantities = [], []
    for side, own in sides.items():
        powers = [share(min(m.power[shift] for m in own)) for shift in SHIFTS]
        of_sides.append([side, trained(own[0]), f"{max(limit_of(m) for m in own):.2f}", *powers])
    for m in quantities:
        figures = [str(m.references[0].filled), trained(m), f"{limit_of(m):.2f}", m.both(MIN_ROWS)]
        of_quantities.append([m.model, m.references[0].quantity, *figures, *(share(m.power[s]) for s in SHIFTS)])
    windows, sigmas = [f"{rows:,}" for rows in ROWS], [f"{shift:g} σ" for shift in SHIFTS]
    blind = min(quantities, key=lambda quantity: quantity.power[SHIFTS[-1]])
    tables = {
        "of_models": table(
            ["", "quantities", "rows of training", *windows, f"months of {MONTH} × {MIN_ROWS}"], of_models
        ),
        "of_sides": table(["", "rows of training", "limit", *sigmas], of_sides),
        "of_quantities": table(["", "", "bins", "rows", "limit", "false alarms", *sigmas], of_quantities),
    }
    values = {"quantities": quantities, "worst": max(models, key=lambda model: model.alone(0)), "blind": blind,
            "still": max(models, key=lambda model: model.limited(0)), "limit": limit_of(blind), "share": share,
            "single": max(model.limited(MIN_ROWS) for model in models), "count": count, "picture": picture}  # fmt: skip
    return render(Path(__file__).with_suffix(".md"), **tables, **values, psi=PSI, fewest=MIN_ROWS, shift=SHIFTS[-1])


def share(value: float) -> str:
    """0.0012 → `0.12 %`, in two digits."""
    return f"{value * 100:.2g} %" if value < 0.995 else f"{value * 100:.0f} %"


def trained(measured: Measured) -> str:
    """`36 / 142`: the rows of training of its quantities."""
    return " / ".join(f"{rows:,}" for rows in sorted({reference.rows for reference in measured.references}))


def limit_of(measured: Measured) -> float:
    """The limit of a quantity at the fewest rows."""
    return limit(measured.references[0], MIN_ROWS)


def draw(quantities: Sequence[Measured], count: int, path: Path) -> None:
    """What chance makes of PSI where training had few rows, the limits above it, and what they let pass."""
    random = np.random.default_rng(1)
    with plots.figure(path, "", "", (11, 4.4), ncols=2) as (left, right):
        _chance(left, count, random)
        _power(right, sorted({q.references[0].rows for q in quantities}), count, random)


def _chance(axis: plots.Axes, count: int, random: np.random.Generator) -> None:
    """What a quantity of ten bins that has not drifted shows, and the limits above it."""
    references = [Reference("", "", DECILES, int(rows)) for rows in TRAINED]
    low, median, high, rare = np.array(
        [np.quantile(looks(r, MIN_ROWS, count, random), (0.05, 0.5, 0.95, 0.999)) for r in references]
    ).T
    axis.fill_between(TRAINED, low, high, color=plots.PALE, alpha=0.5, linewidth=0, label="9 of 10 looks")
    axis.plot(TRAINED, median, color=plots.GREY, label="the median look")
    axis.plot(TRAINED, rare, color=plots.GREY, linestyle=":", label="one look of 1,000 is above")
    axis.axhline(PSI, color=plots.INK, linestyle="--", linewidth=1, label=f"{PSI:g} alone")
    limits = [limit(reference, MIN_ROWS) for reference in references]
    axis.plot(TRAINED, limits, color=plots.RED, linewidth=2, label="the limit of the rules")
    axis.set(
        xscale="log", yscale="log", xlabel="rows of training", title=f"PSI of {MIN_ROWS} rows that have not drifted"
    )
    plots.plain_numbers(axis, "{x:,.0f}", "{x:g}")
    axis.legend(loc="upper right")


def _power(axis: plots.Axes, trained: Sequence[int], count: int, random: np.random.Generator) -> None:
    """Which shifts are told, by the rows of training that the service's quantities have."""
    for rows, colour in zip(trained, plt.colormaps["viridis"](np.linspace(0, 0.85, len(trained))), strict=True):
        reference = Reference("", "", DECILES, rows)
        above = limit(reference, MIN_ROWS)
        values = [looks(reference, MIN_ROWS, count // 4, random, shift=shift) for shift in PLOTTED_SHIFTS]
        alarms = [100 * (each > above).mean() for each in values]
        axis.plot(PLOTTED_SHIFTS, alarms, color=colour, label=f"{rows:,} rows, limit {above:.2f}")
    axis.set(xlabel="shift, in standard deviations of a normal quantity", xlim=(0, 2.15), ylim=(-2, 102))
    axis.set_title(f"Looks at {MIN_ROWS} rows that tell a shift, %")
    axis.legend(loc="lower right")


if __name__ == "__main__":
    run_command(main)
